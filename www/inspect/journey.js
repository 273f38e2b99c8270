// @ts-check
// What is behind a message: its journey from step to step, and what became of it at each client.

import { draw, make, setText } from "../dom.js";
import { ask, messageOf } from "./server.js";
import { count, milliseconds, plural } from "./words.js";

/** @import { Delivery, Happening, Journey, Step } from "./types.js" */

const AGAIN_MS = 500; // until the server is asked again for a journey that is not over
const MOST_TIMES = 20; // that it is asked again

/** @type {Record<string, string>} */
const STEPS = {
  typed: "sent by the browser or the bot",
  read: "its read pump has read it",
  broadcast: "it is in the channel to the hub",
  said: "it is in the channel to the log writer",
  grouped: "the log writer has it, with all else that waited",
  stored: "the store has it, and the hub may get it",
  returned: "the log reader has it back from the store",
  buffered: "the hub has put it into every send channel",
  coalesced: "a write pump has put it into a frame, with all else that was pending",
  written: "the kernel has the frame",
};

export class JourneyDetail {
  kind = "message";
  name = ""; // no thread or channel
  title = "The journey of a message";
  lead = make("p", { class: "lead" });
  body = make("div", { class: "detail-body of-message" }, note("Asking the server…"));
  client = undefined;

  #id;
  #closed = false;
  #timer = 0;

  /** @param {Happening} event */
  constructor({ id, text }) {
    this.#id = id;
    setText(this.lead, `“${text}”`);
    this.#ask(0);
  }

  /** A journey does not depend on the picture. */
  render() {}

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** @param {number} times it was asked before */
  async #ask(times) {
    /** @type {Journey} */
    let journey;
    try {
      journey = await ask(
        `inspect/message/${this.#id}`,
        "This message is too old: the server has forgotten its journey.",
      );
    } catch (error) {
      if (!times) this.body.replaceChildren(note(messageOf(error)));
      return;
    }
    if (this.#closed) return;
    this.#draw(journey);
    if (!isOver(journey) && times < MOST_TIMES) this.#timer = setTimeout(() => this.#ask(times + 1), AGAIN_MS);
  }

  /** @param {Journey} journey */
  #draw({ text, client, group, steps, deliveries }) {
    setText(this.lead, `“${text}”, from client ${client}`);
    const first = steps[0]?.t ?? 0;
    const last = Math.max(first, ...steps.map(({ t }) => t));
    const scrolled = this.body.querySelector(".deliveries")?.scrollTop ?? 0;
    const table = makeDeliveries(deliveries, first);
    this.body.replaceChildren(
      make(
        "div",
        { class: "journey", tabindex: "0", role: "group", "aria-label": "Steps" },
        makeRuler(steps, first, last),
        makeSteps(steps, first),
        note(
          `${milliseconds(last - first)} ms from the first step to the last. The bar is drawn to scale.` +
            (group ? ` The log writer had a group of ${plural(group, "entry", "entries")}.` : ""),
        ),
      ),
      table,
    );
    table.scrollTop = scrolled;
  }
}

/** @param {string} text */
function note(text) {
  return make("p", { class: "note" }, text);
}

/** @param {Journey} journey */
const isOver = ({ steps, deliveries }) =>
  deliveries.every(({ written, evicted }) => written !== null || evicted) &&
  steps.some(({ step }) => step === "written");

/**
 * @param {number | null} t
 * @param {number} first the time of the first step
 */
const since = (t, first) => (t === null ? "" : milliseconds(t - first));

/**
 * @param {Step[]} steps
 * @param {number} first
 */
function makeSteps(steps, first) {
  const items = steps.map(({ step, t, thread, file, line }, i) =>
    make(
      "li",
      { "data-step": step },
      make("span", { class: "at" }, make("b", {}, since(t, first)), " ms"),
      make("strong", {}, step),
      make("span", { class: "means" }, STEPS[step] ?? ""),
      make("span", { class: "by" }, [thread, file && `${file}:${line}`].filter(Boolean).join("\n")),
      i ? make("span", { class: "delta" }, `+${milliseconds(t - steps[i - 1].t)} ms`) : null,
    ),
  );
  return make("ol", { class: "steps" }, ...items);
}

/**
 * A bar with a part for each step, drawn to scale.
 *
 * @param {Step[]} steps
 * @param {number} first
 * @param {number} last
 */
function makeRuler(steps, first, last) {
  /** @param {number} t */
  const x = (t) => (last > first ? (t - first) / (last - first) : 0) * 1000;
  const parts = steps.slice(1).map(({ step, t }, i) => {
    const [from, to] = [x(steps[i].t), x(t)];
    const width = Math.max(1.5, to - from).toFixed(1);
    return draw("rect", { x: from.toFixed(1), y: 3, width, height: 8, "data-step": step });
  });
  const attributes = { class: "ruler", viewBox: "0 0 1000 14", preserveAspectRatio: "none", "aria-hidden": "true" };
  return draw("svg", attributes, ...parts);
}

/**
 * @param {Delivery[]} deliveries
 * @param {number} first
 */
function makeDeliveries(deliveries, first) {
  const heads = ["client", "buffered", "in a frame", "of", "written"].map((word) => make("th", { scope: "col" }, word));
  const rows = deliveries.map(({ client, name, buffered, coalesced, with: many, written, evicted }) =>
    make(
      "tr",
      { "data-evicted": evicted },
      make("th", { scope: "row" }, `${client} ${name}`),
      make("td", {}, since(buffered, first)),
      make("td", {}, since(coalesced, first)),
      make("td", {}, many === null ? "" : count(many)),
      make("td", {}, evicted ? "evicted" : written === null ? "waits" : since(written, first)),
    ),
  );
  const caption = `Delivered to ${plural(deliveries.length, "client")}, in ms`;
  return make(
    "div",
    { class: "deliveries", tabindex: "0", role: "group", "aria-label": "Deliveries" },
    make(
      "table",
      {},
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads)),
      make("tbody", {}, ...rows),
    ),
  );
}
