// @ts-check
// The log writer of a server with a store: its channel, its thread, and how far it and the hub are behind. Where several
// processes share the store, the log reader too, by which the hub gets what was written.

import { make, setData, setText } from "../dom.js";
import { Gauge } from "./gauge.js";
import { hinted } from "./hints.js";
import { ThreadButton } from "./thread.js";
import { count, plural, rate, short } from "./words.js";

/** @import { LogReader, LogWriter, Picture, Rates } from "./types.js" */

/** @type {{ word: string, tell: (writer: LogWriter, rates: Rates) => string }[]} */
const FIGURES = [
  { word: "to be stored", tell: (writer) => short(onTheirWay(writer)) },
  { word: "not passed on", tell: ({ behind }) => short(behind) },
  { word: "a group", tell: (_, { entries_a_group: entries }) => rate(entries) },
  { word: "ms a group", tell: (_, { append }) => rate(append * 1000) },
  { word: "failures", tell: ({ failures }) => short(failures) },
];

export class LogWriterBox {
  said = new Gauge("said");
  thread = new ThreadButton("hub");
  reader = new ThreadButton("hub");
  #waiting = make("span", { class: "waiting" });
  #back = make("b");
  #values = FIGURES.map(({ word, tell }) => ({ word, tell, value: make("b") }));

  /** @type {LogWriter | null} as it was drawn last */
  #writer = null;

  /** @type {LogReader | null} as it was drawn last */
  #reader = null;

  constructor() {
    this.said.element.prepend(make("span", { class: "title" }, "said"));
    this.said.element.append(this.#waiting);
    this.thread.element.id = "log-writer";
    this.thread.element.prepend(make("span", { class: "title" }, "log writer"));
    const values = this.#values.map(({ word, value }) => make("span", {}, value, ` ${word}`));
    const figures = make("span", { class: "hub-figures" }, ...values);
    hinted(figures, () => (this.#writer ? tellWriter(this.#writer) : ""));
    this.thread.element.append(figures);
    this.reader.element.id = "log-reader";
    this.reader.element.prepend(make("span", { class: "title" }, "log reader"));
    const back = make("span", { class: "hub-figures" }, make("span", {}, this.#back, " to come"));
    hinted(back, () => (this.#reader ? tellReader(this.#reader) : ""));
    this.reader.element.append(back);
    this.elements = [
      make("div", { class: "inbox of-writer", hidden: true }, this.said.element, this.reader.element),
      make("div", { class: "core of-writer", hidden: true }, this.thread.element),
    ];
  }

  /** Whether there is a log writer, and a log reader. */
  get shown() {
    return { writer: this.#writer !== null, reader: this.#reader !== null };
  }

  /**
   * @param {Picture} picture
   * @param {string} selected the name of what is looked into
   */
  render({ log_writer: writer, log_reader: reader, rates }, selected) {
    this.#writer = writer ?? null;
    this.#reader = reader ?? null;
    for (const element of this.elements) element.hidden = !writer;
    this.reader.element.hidden = !reader;
    if (reader) {
      this.reader.render(reader.thread, selected);
      setText(this.#back, short(reader.behind));
    }
    if (!writer) return;
    const { said, thread } = writer;
    this.said.render(said, selected);
    setText(this.#waiting, said.senders ? `${short(said.senders)} wait to send` : "");
    setData(this.said.element, "blocked", said.senders ? "yes" : "");
    this.thread.render(thread, selected);
    for (const { value, tell } of this.#values) setText(value, tell(writer, rates));
  }
}

/**
 * How many entries have been said that the store does not have yet.
 * @param {LogWriter} writer
 */
const onTheirWay = ({ said, in_hand: hand }) => said.pending + hand;

/**
 * Sentences about the log writer.
 * @param {LogWriter} writer
 */
export function tellWriter(writer) {
  const { groups, entries, failures, behind } = writer;
  const coming = onTheirWay(writer);
  return (
    `Since the start it has written ${plural(entries, "entry", "entries")} in ${plural(groups, "group")}; the store ` +
    `has failed ${plural(failures, "time")}. Now ${coming ? count(coming) : "none"} of all rooms’ entries wait for the ` +
    `store, and ${behind ? count(behind) : "none"} that this room’s log has wait for its hub.`
  );
}

/**
 * Sentences about the log reader.
 * @param {LogReader} reader
 */
export const tellReader = ({ entries, behind }) =>
  `Since the start it has brought ${plural(entries, "entry", "entries")} from the store, of all rooms and processes. ` +
  `${behind ? count(behind) : "None"} of those that were written here for this room ${behind > 1 ? "are" : "is"} still to come.`;
