// @ts-check
// The room's log, beside the hub: what it keeps, and its newest entries.

import { make, setText } from "../dom.js";
import { hinted } from "./hints.js";
import { emit } from "./signals.js";
import { count, plural, short } from "./words.js";

/** @import { RoomLog } from "./types.js" */

const LINES = 3; // entries

export class LogBox {
  #range = make("span", { class: "range" });
  #lines = Array.from({ length: LINES }, () => ({
    id: make("b"),
    kind: make("span", { class: "kind" }),
    said: make("span", { class: "said" }),
  }));

  /** @type {RoomLog | null} as it was drawn last */
  #log = null;
  #stored = false;

  constructor() {
    const open = { type: "button", onclick: () => emit(this.element, "open-log", null) };
    this.element = make(
      "div",
      { class: "room-log" },
      make("button", open, make("span", { class: "title" }, "log"), " ", this.#range),
      make("ol", {}, ...this.#lines.map(({ id, kind, said }) => make("li", {}, id, kind, said))),
    );
    hinted(this.element, () => (this.#log ? `${tellKept(this.#log)} ${tellWritten(this.#stored)}` : ""));
  }

  /**
   * @param {RoomLog} log
   * @param {boolean} stored whether a log writer writes it
   * @param {string} selected the name of what is looked into
   */
  render(log, stored, selected) {
    this.#log = log;
    this.#stored = stored;
    this.element.toggleAttribute("data-selected", selected === "log");
    setText(this.#range, log.top < log.first ? "empty" : `${idsOf(log.first, log.top)} · ${short(log.bytes)} bytes`);
    this.#lines.forEach(({ id, kind, said }, line) => {
      const entry = log.newest.at(-1 - line);
      setText(id, entry ? String(entry.id) : "");
      setText(kind, entry?.kind ?? "");
      setText(said, entry ? [entry.name, entry.text].filter(Boolean).join(": ") : "");
    });
  }
}

/** @param {boolean} stored */
const tellWritten = (stored) =>
  stored
    ? "The log writer has it number each message, and has the store keep it, before the hub gets it. Press it to see what one who joins reads."
    : "The hub has it number each message before the clients get it. Press it to see what one who joins reads.";

/**
 * @param {number} first
 * @param {number} last
 */
export const idsOf = (first, last) =>
  first === last ? `id ${count(first)}` : `ids ${count(first)} to ${count(last)}`;

/**
 * A sentence about what a log keeps.
 * @param {RoomLog} log
 */
export const tellKept = ({ first, top, bytes }) =>
  top < first
    ? "The room’s log keeps nothing yet."
    : `The room’s log keeps ${idsOf(first, top)}: ${plural(top - first + 1, "entry", "entries")}, ${plural(bytes, "byte")} of text.`;
