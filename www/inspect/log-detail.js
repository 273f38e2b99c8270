// @ts-check
// What is behind the log of a room: its newest entries, and what one who joins would read.

import { make, setText } from "../dom.js";
import { idsOf, tellKept } from "./room-log.js";
import { SourceView } from "./source.js";
import { count } from "./words.js";

/** @import { Sources } from "./source.js" */
/** @import { LogEntry, LogWriter, Picture, RoomLog } from "./types.js" */

const TAG = 6; // characters of a session's public tag; enough to tell those of a room apart

/** The functions that write and read a log. @type {Record<"write" | "store" | "read", [file: string, name: string]>} */
const CALLS = {
  write: ["room.py", "Room.record"],
  store: ["stored_room.py", "StoredRoom._pass_on"],
  read: ["protocols/v1.py", "V1._catch_up"],
};

export class LogDetail {
  kind = "log";
  name = "log";
  title = "The log of the room";
  lead = make("p", { class: "lead" });
  client = undefined;

  /** @type {"write" | "read"} */
  #end = "write";
  #stored = false; // whether a log writer writes it
  #buttons = { write: this.#makeButton("write", "what writes it"), read: this.#makeButton("read", "what reads it") };
  #source;
  #rows = make("tbody");
  #facts = make("dl", { class: "facts" });
  #drawn = "";

  /** @param {Sources} sources */
  constructor(sources) {
    this.#source = new SourceView(sources);
    const heads = ["id", "kind", "who", "n", "text"].map((word) => make("th", { scope: "col" }, word));
    const table = make(
      "table",
      {},
      make("caption", {}, "The newest entries, the last one first"),
      make("thead", {}, make("tr", {}, ...heads)),
      this.#rows,
    );
    const ends = { class: "ends", role: "group", "aria-label": "Show the source of" };
    this.body = make(
      "div",
      { class: "detail-body of-log" },
      make("div", { class: "entries", tabindex: "0", role: "group", "aria-label": "Entries" }, table),
      this.#source.elements[0],
      make(
        "div",
        { class: "aside" },
        make("div", ends, this.#buttons.write, this.#buttons.read),
        this.#facts,
        make("p", { class: "note" }, make("a", { href: "guide#a-room-is-a-log" }, "A room is a log"), ", says the guide."),
      ),
    );
    this.#renderButtons();
  }

  /** @param {Picture} picture */
  render({ log, log_writer: writer }) {
    this.#stored = Boolean(writer);
    this.#follow();
    const drawn = JSON.stringify([log, writer?.behind]);
    if (this.#drawn === drawn) return;
    this.#drawn = drawn;
    setText(this.lead, tellKept(log));
    this.#rows.replaceChildren(...log.newest.map(makeEntry).reverse());
    this.#facts.replaceChildren(...factsOf(log, writer).flatMap(([what, is]) => [make("dt", {}, what), make("dd", {}, is)]));
  }

  close() {}

  #follow() {
    const [file, name] = CALLS[this.#end === "write" && this.#stored ? "store" : this.#end];
    this.#source.follow(file, 0, name);
  }

  /**
   * @param {"write" | "read"} end
   * @param {string} words
   */
  #makeButton(end, words) {
    const onclick = () => {
      this.#end = end;
      this.#source.hurry();
      this.#follow();
      this.#renderButtons();
    };
    return make("button", { type: "button", onclick }, words);
  }

  #renderButtons() {
    for (const [end, button] of Object.entries(this.#buttons)) {
      button.setAttribute("aria-pressed", String(end === this.#end));
    }
  }
}

/** @param {LogEntry} entry */
function makeEntry({ id, kind, by, name, n, text }) {
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, count(id)),
    make("td", {}, kind),
    make("td", {}, name ?? "(no name)", make("span", { class: "tag" }, ` ${by.slice(0, TAG)}`)),
    make("td", {}, n === null ? "" : String(n)),
    make("td", { class: "said" }, text),
  );
}

/**
 * What is kept, and what one who joins would read, as pairs of a question and its answer.
 *
 * @param {RoomLog} log
 * @param {LogWriter | null} [writer]
 * @returns {[string, string][]}
 */
function factsOf({ epoch, first, top, keep, history, recoverable, newcomer }, writer) {
  const past = newcomer < top ? idsOf(newcomer + 1, top) : "nothing";
  return [
    ["epoch", epoch],
    ["ids that are kept", top < first ? "none" : `${count(first)} to ${count(top)}, of at most ${count(keep)}`],
    ...(writer ? [/** @type {[string, string]} */ (["the hub has passed on", tellPassed(top, writer.behind)])] : []),
    ["a newcomer reads", `${past} (the last ${count(history)} messages)`],
    [
      "one who comes back reads",
      recoverable
        ? `what came after its token, from id ${count(first - 1)} of this epoch on; with any other token it is told of a gap`
        : "as a newcomer, after a gap: nothing is kept for it",
    ],
  ];
}

/**
 * @param {number} top
 * @param {number} behind
 */
const tellPassed = (top, behind) =>
  behind ? `what came until id ${count(top - behind)}; it is ${count(behind)} behind` : "all of it";
