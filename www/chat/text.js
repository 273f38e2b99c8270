// @ts-check
// What a message's text becomes: text nodes, and links for addresses. Never HTML, because messages come from strangers.

import { make } from "../dom.js";

const ADDRESS = /\bhttps?:\/\/[^\s<>"]+/gi;
const CLOSING = /[.,:;!?'"*_~\]}»”’]+$/; // what follows an address rather than ends it

/**
 * The text as nodes.
 * @param {string} text
 */
export function nodesOf(text) {
  /** @type {Node[]} */
  const nodes = [];
  let done = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = trimmed(found);
    if (!URL.canParse(address)) continue;
    if (index > done) nodes.push(document.createTextNode(text.slice(done, index)));
    nodes.push(make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address));
    done = index + address.length;
  }
  if (done < text.length) nodes.push(document.createTextNode(text.slice(done)));
  return nodes;
}

/**
 * The address without the punctuation of the sentence around it. A closing parenthesis belongs to it if it opens one.
 * @param {string} address
 */
function trimmed(address) {
  for (;;) {
    let shorter = address.replace(CLOSING, "");
    if (shorter.endsWith(")") && count(shorter, ")") > count(shorter, "(")) shorter = shorter.slice(0, -1);
    if (shorter === address) return address;
    address = shorter;
  }
}

/**
 * @param {string} text
 * @param {string} letter
 */
const count = (text, letter) => text.split(letter).length - 1;
