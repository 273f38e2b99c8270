// @ts-check
// The middle of the drawing: the log writer where there is one, the channels into the hub, the hub's thread, the run
// queue, and the log.

import { make, setData, setText } from "../dom.js";
import { Gauge } from "./gauge.js";
import { hinted } from "./hints.js";
import { LogWriterBox } from "./log-writer.js";
import { LogBox } from "./room-log.js";
import { ThreadButton } from "./thread.js";
import { plural, short } from "./words.js";

/** @import { Picture, RunQueue } from "./types.js" */

const INBOX = ["register", "broadcast", "unregister"];
const FIGURES = /** @type {const} */ (["clients", "messages", "batches", "evicted"]);
const MOST_DOTS = 24; // of threads in the run queue

export class Hub {
  /** @type {Record<string, Gauge>} the channels into the hub, by name */
  inbox = {};
  thread = new ThreadButton("hub");
  writer = new LogWriterBox();
  #log = new LogBox();

  /** @type {Record<string, HTMLElement>} */
  #waiting = {};
  #figures = FIGURES.map((name) => ({ name, value: make("b") }));
  #queueDots = make("span", { class: "queue-dots", "aria-hidden": "true" });
  #queueText = make("span");

  /** @type {RunQueue | null} as it was drawn last */
  #runQueue = null;

  constructor() {
    for (const name of INBOX) {
      const gauge = (this.inbox[name] = new Gauge(name));
      const waiting = (this.#waiting[name] = make("span", { class: "waiting" }));
      gauge.element.prepend(make("span", { class: "title" }, name));
      gauge.element.append(waiting);
    }
    this.thread.element.id = "hub";
    this.thread.element.prepend(make("span", { class: "title" }, "hub"));
    const figures = this.#figures.map(({ name, value }) => make("span", {}, value, ` ${name}`));
    this.thread.element.append(make("span", { class: "hub-figures" }, ...figures));
    const title = make("span", { class: "title" }, "run queue");
    const queue = make("div", { id: "queue" }, title, this.#queueDots, this.#queueText);
    hinted(queue, () => (this.#runQueue ? tellQueue(this.#runQueue) : ""));
    const inbox = make("div", { class: "inbox" }, ...Object.values(this.inbox).map(({ element }) => element));
    const core = make("div", { class: "core" }, this.thread.element, queue);
    this.parts = [...this.writer.elements, inbox, core, this.#log.element];
    this.element = make("div", {}, ...this.parts);
  }

  /**
   * @param {Picture} picture
   * @param {string} selected the name of what is looked into
   */
  render(picture, selected) {
    const { channels, hub, log, log_writer: writer, run_queue: queue } = picture;
    for (const name of INBOX) {
      const { senders } = channels[name];
      this.inbox[name].render(channels[name], selected);
      setText(this.#waiting[name], senders ? `${short(senders)} wait to send` : "");
      setData(this.inbox[name].element, "blocked", senders ? "yes" : "");
    }
    this.thread.render(hub.paused ? { ...hub.thread, state: "paused" } : hub.thread, selected);
    for (const { name, value } of this.#figures) setText(value, short(hub[name]));
    this.#renderQueue(queue);
    this.#log.render(log, Boolean(writer), selected);
    this.writer.render(picture, selected);
  }

  /** @param {RunQueue} queue */
  #renderQueue(queue) {
    this.#runQueue = queue;
    const { waiting, turns, free } = queue;
    const idle = free === turns ? "empty" : "a pump has the turn";
    setText(this.#queueText, waiting ? `${plural(waiting, "thread")} in line` : idle);
    const dots = Math.min(waiting, MOST_DOTS);
    while (this.#queueDots.childElementCount < dots) this.#queueDots.append(make("i"));
    while (this.#queueDots.childElementCount > dots) this.#queueDots.lastChild?.remove();
  }
}

/** @param {RunQueue} queue */
function tellQueue({ turns, free, waiting }) {
  const wanted = turns === 1 ? "the one turn" : `one of ${turns} turns`;
  return (
    `Run queue: ${plural(waiting, "thread")} ready, each waiting for ${wanted}; ` +
    `${free ? `${free} free` : "none free"}. If all woke at once, they would fight over Python's one lock.`
  );
}
