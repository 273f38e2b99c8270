// @ts-check
// The rows of the log: a message, a notice, and the lines between days.

import { make } from "../dom.js";
import { colourOf, nameOf } from "./people.js";
import { nodesOf } from "./text.js";

/** @import { Message } from "./types.js" */

const TOGETHER_S = 300; // messages of one person within this time stand below one name

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const sortable = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" }); // 2026-11-29 13:00:00
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** @param {number} at seconds since 1970 */
export const dayOf = (at) => date.format(at * 1000);

/** Clients that know nothing of names may talk too. @param {Message} message */
export const nameIn = ({ name }) => name ?? "somebody";

/** A message's line in a text file. @param {Message} message */
export function lineOf(message) {
  return `[${sortable.format(message.at * 1000)}] ${nameIn(message)}: ${message.text}`;
}

/**
 * Whether the message stands below the name of the one before it.
 *
 * @param {Message} message
 * @param {Message | null} before
 */
function continues(message, before) {
  return (
    before !== null && message.by === before.by && message.name === before.name && message.at - before.at < TOGETHER_S
  );
}

/**
 * @param {Message} message
 * @param {Message | null} before the message in the row above
 * @param {{ me: string, mine: boolean, mentioned: boolean }} seen what it is to the reader
 */
export function messageRow(message, before, { me, mine, mentioned }) {
  const { at, text } = message;
  const name = nameIn(message);
  const time = { datetime: new Date(at * 1000).toISOString(), title: full.format(at * 1000) };
  const kinds = ["message", mine && "mine", mentioned && "mentioned", continues(message, before) && "again"];
  return make(
    "div",
    { class: kinds.filter(Boolean).join(" "), "data-colour": colourOf(name) },
    make("p", { class: "from" }, nameOf(name), " ", make("time", time, clock.format(at * 1000))),
    make("div", { class: "text" }, ...nodesOf(text, me)),
  );
}

/**
 * @param {string} text
 * @param {"notice" | "gap" | "day" | "joined"} kind
 */
export const noticeRow = (text, kind) => make("div", { class: `notice ${kind}` }, text);
