// @ts-check
// What is behind a thread: its source, its stack and its last minute.

import { draw, make, setText } from "../dom.js";
import { KEPT_SECONDS } from "./history.js";
import { icon } from "./icon.js";
import { tellReader, tellWriter } from "./log-writer.js";
import { SourceView } from "./source.js";
import { duration, family, tellThread } from "./words.js";

/** @import { Change, History } from "./history.js" */
/** @import { Sources } from "./source.js" */
/** @import { Client, Frame, Picture, Thread } from "./types.js" */

const CHANGES = 6; // of its state, in the list

export class ThreadDetail {
  kind = "thread";
  lead = make("p", { class: "lead" });

  /** @type {Client | undefined} the client that the thread belongs to */
  client;

  #history;
  #source;
  #stack = make("ol", { class: "frames" });
  #stackDrawn = "";
  #note = make("p", { class: "note" });
  #strip = makeStrip();
  #changes = make("ul", { class: "changes" });
  #changesDrawn = "";

  /**
   * @param {string} name the thread's
   * @param {History} history
   * @param {Sources} sources
   */
  constructor(name, history, sources) {
    this.name = this.title = name;
    this.#history = history;
    this.#source = new SourceView(sources);
    this.body = make(
      "div",
      { class: "detail-body of-thread" },
      ...this.#source.elements,
      make(
        "div",
        { class: "aside" },
        make("h3", {}, "Its stack"),
        this.#stack,
        this.#note,
        make("h3", {}, "Its last minute"),
        this.#strip,
        this.#changes,
      ),
    );
  }

  /** @param {Picture} picture */
  render(picture) {
    const { thread, client } = findThread(picture, this.name);
    this.client = client;
    if (!thread) {
      setText(this.lead, "It is not in this picture.");
      return;
    }
    setText(this.lead, tellThread(thread).slice(thread.name.length + 1));
    const { log_writer: writer, log_reader: reader } = picture;
    const figures = writer?.thread === thread ? tellWriter(writer) : reader?.thread === thread ? tellReader(reader) : "";
    setText(this.#note, figures);
    this.#source.followStack(thread.stack);
    this.#renderStack(thread.stack);
    this.#renderMinute(picture.t);
  }

  close() {}

  /** @param {Frame[]} stack */
  #renderStack(stack) {
    const drawn = JSON.stringify([stack, this.#source.shown]);
    if (this.#stackDrawn === drawn) return;
    this.#stackDrawn = drawn;
    const focused = [...this.#stack.querySelectorAll("button")].findIndex((each) => each === document.activeElement);
    const frames = stack.map((frame) => {
      const [file, line, name] = frame;
      const onclick = () => {
        this.#source.pick(frame);
        this.#source.followStack(stack);
        this.#renderStack(stack);
      };
      const attributes = { type: "button", "aria-pressed": String(this.#source.shows(frame)), onclick };
      return make("li", {}, make("button", attributes, make("b", {}, name), ` ${file}:${line}`));
    });
    this.#stack.replaceChildren(...frames);
    this.#stack.querySelectorAll("button")[focused]?.focus();
  }

  /** @param {number} now the picture's time */
  #renderMinute(now) {
    const changes = this.#history.threadChanges(this.name).filter(([t]) => t <= now);
    /** @param {number} t */
    const x = (t) => Math.max(0, stripX(t, now));
    this.#strip.replaceChildren(
      ...changes.map(([t, state], i) => {
        const end = changes[i + 1]?.[0] ?? now;
        const width = Math.max(1, x(end) - x(t));
        return draw("rect", {
          x: x(t).toFixed(1),
          y: 2,
          width: width.toFixed(1),
          height: 22,
          "data-family": family(state),
        });
      }),
    );
    const latest = changes.slice(-CHANGES).reverse();
    const drawn = JSON.stringify(latest);
    if (this.#changesDrawn === drawn) return;
    this.#changesDrawn = drawn;
    this.#changes.replaceChildren(...latest.map((change, i) => changeItem(change, latest[i - 1]?.[0])));
  }
}

/**
 * @param {Change} change
 * @param {number | undefined} end when the next one came; undefined: it lasts
 */
function changeItem([t, state, on], end) {
  const lasted = end === undefined ? "now" : `for ${duration(end - t)}`;
  return stateItem(state, make("b", {}, state), on ? ` ${on}` : "", make("span", {}, lasted));
}

/**
 * An item of a list of states, with the state's colour and shape.
 *
 * @param {string} state
 * @param {...(Node | string)} children
 */
export const stateItem = (state, ...children) =>
  make("li", { "data-family": family(state) }, icon(family(state)), ...children);

/** The drawing of the last minute. */
export const makeStrip = () =>
  draw("svg", { class: "strip", viewBox: "0 0 600 26", preserveAspectRatio: "none", "aria-hidden": "true" });

/**
 * Where a time is in it.
 *
 * @param {number} t
 * @param {number} now its right end
 */
export const stripX = (t, now) => ((t - (now - KEPT_SECONDS)) / KEPT_SECONDS) * 600;

/**
 * @param {Picture} picture
 * @param {string} name
 * @returns {{ thread?: Thread, client?: Client }}
 */
function findThread({ hub, log_writer: writer, log_reader: reader, clients }, name) {
  for (const own of [hub, writer, reader]) if (own?.thread.name === name) return { thread: own.thread };
  for (const client of clients) {
    for (const thread of [client.read_pump, client.write_pump]) if (thread.name === name) return { thread, client };
  }
  return {};
}
