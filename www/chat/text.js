// @ts-check
// What a message's text becomes: text, links, `code` and mentions. Never HTML, because messages come from strangers.

import { make } from "../dom.js";

const ADDRESS = /\bhttps?:\/\/[^\s<>"]+/gi;
const CLOSING = /[.,:;!?'"*_~\]}»”’]+$/; // what follows an address rather than ends it
const CODE = /```\n?([\s\S]+?)\n?```|`([^`\n]+)`/g;
const WORD = /[\p{L}\p{N}\p{M}_]/u;

/**
 * The text as nodes.
 *
 * @param {string} text
 * @param {string} me the reader's name: where it is mentioned, it is marked
 */
export function nodesOf(text, me = "") {
  return split(text, CODE, codeOf, (plain) => split(plain, ADDRESS, linkOf, (rest) => marked(rest, me)));
}

/**
 * Whether the text addresses this name: `@Ann`, or `Ann:` and `Ann,` at the beginning of a line.
 *
 * @param {string} text
 * @param {string} name
 */
export function mentions(text, name) {
  return placesOf(text, name).length > 0;
}

/**
 * The nodes of a text: those that `make` makes of each match, and those that `others` makes of what is between. A link
 * may stand for less than its match; the rest counts as between.
 *
 * @param {string} text
 * @param {RegExp} pattern
 * @param {(match: RegExpMatchArray) => HTMLElement | null} make
 * @param {(text: string) => Node[]} others
 */
function split(text, pattern, make, others) {
  /** @type {Node[]} */
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(pattern)) {
    const node = make(match);
    if (!node) continue;
    if (Number(match.index) > done) nodes.push(...others(text.slice(done, match.index)));
    nodes.push(node);
    done = Number(match.index) + (node instanceof HTMLAnchorElement ? node.text : match[0]).length;
  }
  if (done < text.length) nodes.push(...others(text.slice(done)));
  return nodes;
}

/** @param {RegExpMatchArray} match */
function codeOf([, block, inline]) {
  return block === undefined ? make("code", {}, inline) : make("pre", {}, make("code", {}, block));
}

/** @param {RegExpMatchArray} match */
function linkOf([found]) {
  const address = trimmed(found);
  if (!URL.canParse(address)) return null;
  return make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address);
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

/**
 * The text with each mention of the name marked.
 *
 * @param {string} text
 * @param {string} name
 */
function marked(text, name) {
  /** @type {Node[]} */
  const nodes = [];
  let done = 0;
  for (const [start, end] of placesOf(text, name)) {
    if (start > done) nodes.push(document.createTextNode(text.slice(done, start)));
    nodes.push(make("mark", {}, text.slice(start, end)));
    done = end;
  }
  if (done < text.length) nodes.push(document.createTextNode(text.slice(done)));
  return nodes;
}

/**
 * Where the text addresses the name: begin and end of each place.
 *
 * @param {string} text
 * @param {string} name
 */
function placesOf(text, name) {
  /** @type {[number, number][]} */
  const places = [];
  if (!name) return places;
  const [small, wanted] = [text.toLowerCase(), name.toLowerCase()];
  for (let start = small.indexOf(wanted); start >= 0; start = small.indexOf(wanted, start + 1)) {
    const end = start + wanted.length;
    const [before, after] = [text[start - 1] ?? "\n", text[end] ?? ""];
    if (before === "@" && !WORD.test(after)) places.push([start - 1, end]);
    else if (before === "\n" && (after === ":" || after === ",")) places.push([start, end]);
  }
  return places;
}
