// @ts-check
// A client's row: its two threads, the send channel between hub and write pump, and buttons for what may be done to it.

import { make, setData, setText } from "../dom.js";
import { briefly, fully } from "./evictions.js";
import { Gauge } from "./gauge.js";
import { hinted } from "./hints.js";
import { icon } from "./icon.js";
import { Kernel } from "./kernel.js";
import { emit } from "./signals.js";
import { ThreadButton } from "./thread.js";
import { plural, short } from "./words.js";

/** @import { Client, Eviction, Thread } from "./types.js" */

/**
 * What a row shows: a client, and its eviction if it was evicted.
 * @typedef {{ client: Client, evicted: Partial<Eviction> | null }} Entry
 */

export class Row {
  #number = make("span", { class: "nr" });
  #name = make("b");
  #verdict = make("span", { class: "verdict" });
  #pin = this.#makeTool("pin", (called) => `Pin ${called}: keep it in the drawing, however many clients there are.`, {
    onclick: () => emit(this.element, "pin", this.number),
  });
  #tools = [
    this.#pin,
    this.#makeTool("vanish", (called) => `Make ${called}, vanish: its packets stop, without a goodbye.`, {
      onclick: () => this.#act("vanish", `Client ${this.number} has vanished.`),
    }),
    this.#makeTool("×", (called) => `Have ${called}, leave, with a proper goodbye.`, {
      onclick: () => this.#act("remove", `Client ${this.number} leaves.`),
    }),
  ];

  #namedAs = "";
  read = new ThreadButton("read");
  write = new ThreadButton("write");
  send = new Gauge("send");
  #out = make("span", { class: "out" });
  #kernel = new Kernel();
  peer = make("span", { class: "peer" }, this.#kernel.element, this.#out);

  /** @type {Entry} */
  entry;

  /** @param {Entry} entry */
  constructor(entry) {
    this.entry = entry;
    const who = make("div", { class: "who" }, this.#number, this.#name);
    const tools = make("span", { class: "tools" }, ...this.#tools.map(({ button }) => button));
    this.element = make(
      "div",
      { class: "row", role: "group" },
      who,
      this.read.element,
      this.send.element,
      this.write.element,
      this.peer,
      this.#verdict,
      tools,
    );
    hinted(who, () => `${this.#called("Client")}, has said ${plural(this.entry.client.messages_in, "message")}.`);
    hinted(this.#out, () => {
      const { messages_out: messages, frames_out: frames } = this.entry.client;
      const each = (frames ? messages / frames : 0).toFixed(1);
      return `${plural(messages, "message")} in ${plural(frames, "frame")} went to its peer: ${each} messages a frame.`;
    });
    hinted(this.#verdict, () => {
      const event = this.entry.evicted?.event;
      return `Client ${this.number} was evicted${event ? `: ${fully(event)}` : ""}.`;
    });
  }

  /** The number of the client that has this row. */
  get number() {
    return this.entry.client.number;
  }

  /** How the wires to this client look: "evicted", "stuck" or "". */
  get trouble() {
    const { client, evicted } = this.entry;
    return evicted ? "evicted" : client.write_pump.state === "stuck" || client.away ? "stuck" : "";
  }

  /**
   * @param {boolean} pinned
   * @param {string} selected the name of the thread or channel that is looked into
   */
  render(pinned, selected) {
    const { client, evicted } = this.entry;
    const called = this.#called("client");
    if (this.#namedAs !== called) this.#nameAs(called);
    setText(this.#name, client.name);
    setText(this.#out, short(client.messages_out));
    setData(this.element, "trouble", this.trouble);
    this.element.toggleAttribute("data-gone", Boolean(evicted));
    setText(this.#verdict, evicted ? ["evicted", evicted.event && briefly(evicted.event)].filter(Boolean).join(": ") : "");
    // It was evicted because its channel was full. That is the last that is known of the channel.
    const pending = evicted?.event?.waiting ?? client.send.capacity;
    const send = evicted ? { ...client.send, pending, closed: true } : client.send;
    this.read.render(evicted ? ended(client.read_pump) : client.read_pump, selected);
    this.write.render(evicted ? ended(client.write_pump) : client.write_pump, selected);
    this.send.render(send, selected);
    this.#kernel.render(client);
    this.#pin.button.setAttribute("aria-pressed", String(pinned));
  }

  /** @param {string} called the client's number and name */
  #nameAs(called) {
    const { number } = this;
    this.#namedAs = called;
    this.element.setAttribute("aria-label", called);
    setText(this.#number, String(number));
    for (const { words, tell } of this.#tools) setText(words, tell(called));
    this.read.nameAs(`read pump of client ${number}`);
    this.write.nameAs(`write pump of client ${number}`);
    this.send.nameAs(`send channel of client ${number}`);
  }

  /**
   * @param {string} shape
   * @param {(called: string) => string} tell says what the button does to the client called so
   * @param {{ onclick: () => void }} listeners
   */
  #makeTool(shape, tell, listeners) {
    const words = make("span", { class: "unseen" });
    const drawn = shape === "×" ? shape : icon(shape);
    const button = make("button", { type: "button", class: "tool", ...listeners }, drawn, words);
    hinted(button, () => tell(this.#called("client")));
    return { button, words, tell };
  }

  /**
   * @param {string} action
   * @param {string} said
   */
  #act(action, said) {
    emit(this.element, "act", { action, details: { client: this.number }, said });
  }

  /** @param {string} noun "client" or "Client" */
  #called(noun) {
    return `${noun} ${this.number}, ${this.entry.client.name}`;
  }
}

/**
 * @param {Thread} thread
 * @returns {Thread}
 */
const ended = (thread) => ({ ...thread, state: "gone", for: 0 });
