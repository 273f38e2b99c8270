// @ts-check
// Things to do to the server: anywhere, say something; in the demo, add clients and disturb it.

import { byId, make } from "../dom.js";
import { hinted } from "./hints.js";
import { LOBBY } from "./rooms.js";
import { act, messageOf } from "./server.js";
import { count } from "./words.js";

/** @import { Picture } from "./types.js" */

/** @type {[kind: string, word: string, means: string][]} */
const KINDS = [
  ["chatty", "talks", "A client that talks: its messages go to the hub, and from there to everybody."],
  ["slow", "reads slowly", "A client that reads a few thousand bytes a second: its messages share frames."],
  ["stuck", "stops reading", "A client that stops reading. Watch the kernel’s buffers fill, then its send channel, and what happens to it."],
  ["quiet", "only listens", "A client that listens and says nothing."],
];
const BURST = 1000; // messages

export class Controls {
  room = LOBBY; // the one to which something is done

  #done = byId("done");
  #demo = byId("bots");
  #hubPaused = false;
  #hold = this.#makeButton("Hold the hub", () => this.#toggleHub());
  #buffer = this.#makeNumber({ min: 1, max: 100_000, value: 256 }, (messages) =>
    this.run("buffer", { messages }, `From now on every send channel holds ${count(messages)} messages.`),
  );
  #pace = this.#makeNumber({ min: 0, max: 1000, step: "any" }, (pace) =>
    this.run("pace", { messages_a_second: pace }, `Together the talkers now say ${count(pace)} messages a second.`),
  );

  constructor() {
    const text = byId("say-text", HTMLInputElement);
    byId("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say(text.value.trim());
      text.value = "";
    });
    this.#hold.setAttribute("aria-pressed", "false");
    hinted(
      this.#hold,
      () =>
        "While you hold the hub, its channel fills; then the read pumps stop reading, and TCP slows the senders down.",
    );
    const burst = this.#makeButton(`Burst of ${count(BURST)}`, () =>
      this.run("burst", { messages: BURST }, `${count(BURST)} messages at once.`),
    );
    hinted(
      burst,
      () =>
        `${count(BURST)} messages at once from one client. The hub waits for the pumps of clients that read; ` +
        "a client that reads too slowly is evicted.",
    );
    this.#demo.append(
      make("p", { class: "lead" }, "Add a client that…"),
      make("ul", { class: "kinds" }, ...KINDS.map((kind) => this.#makeKind(...kind))),
      make("div", { class: "pair" }, burst, this.#hold),
      make(
        "div",
        { class: "numbers" },
        make("label", {}, make("span", {}, "Talkers say"), this.#pace, make("span", {}, "a second")),
        make("label", {}, make("span", {}, "Send buffer"), this.#buffer, make("span", {}, "messages")),
      ),
    );
  }

  /** @param {Picture} picture */
  render({ demo, hub, clients, pace }) {
    this.#demo.hidden = !demo;
    document.body.toggleAttribute("data-demo", demo); // for the style sheet
    if (this.#hubPaused !== hub.paused) {
      this.#hubPaused = hub.paused;
      this.#hold.textContent = hub.paused ? "Release the hub" : "Hold the hub";
      this.#hold.setAttribute("aria-pressed", String(hub.paused));
    }
    follow(this.#buffer, clients.at(-1)?.send.capacity);
    follow(this.#pace, pace);
  }

  /**
   * Have the server do something, and tell what came of it.
   *
   * @param {string} action
   * @param {object} details
   * @param {string} said what to say when it is done
   */
  async run(action, details, said) {
    try {
      await act(action, this.room === LOBBY ? details : { ...details, room: this.room });
      this.#tell(said, false);
    } catch (error) {
      this.#tell(messageOf(error), true);
    }
  }

  /**
   * @param {string} text
   * @param {boolean} failed
   */
  #tell(text, failed) {
    this.#done.textContent = text;
    this.#done.toggleAttribute("data-failed", failed);
  }

  /** @param {string} text */
  #say(text) {
    if (text) this.run("say", { text, typed: Date.now() }, "Said. Follow it below.");
  }

  #toggleHub() {
    if (this.#hubPaused) this.run("resume", {}, "The hub goes on.");
    else this.run("pause", {}, "The hub is held still.");
  }

  /**
   * @param {string} kind
   * @param {string} word
   * @param {string} means
   */
  #makeKind(kind, word, means) {
    const one = this.#makeButton("+1", () => this.run("add", { kind, count: 1 }, `Added a client that ${word}.`));
    const many = this.#makeButton("+100", () =>
      this.run("add", { kind, count: 100 }, `Added 100 clients. Each ${word}.`),
    );
    one.setAttribute("aria-label", `Add a client that ${word}`);
    many.setAttribute("aria-label", `Add 100, each of which ${word}`);
    const row = make("li", { "data-kind": kind }, make("span", {}, word), one, many);
    hinted(row, () => means);
    return row;
  }

  /**
   * @param {string} words
   * @param {() => void} onclick
   */
  #makeButton(words, onclick) {
    return make("button", { type: "button", onclick }, words);
  }

  /**
   * @param {{ min: number, max: number, value?: number, step?: string }} attributes
   * @param {(number: number) => void} set
   */
  #makeNumber(attributes, set) {
    const input = make("input", { type: "number", inputmode: "decimal", ...attributes });
    input.addEventListener("change", () => {
      if (input.value !== "" && input.checkValidity()) set(Number(input.value));
      else this.#tell(`Please enter a number from ${count(attributes.min)} to ${count(attributes.max)}.`, true);
    });
    return input;
  }
}

/**
 * Show the server's value in a field, whoever changed it last, unless somebody is typing there.
 *
 * @param {HTMLInputElement} input
 * @param {number | undefined} value undefined: unknown
 */
function follow(input, value) {
  if (value === undefined || input.dataset.real === String(value)) return;
  input.dataset.real = String(value);
  if (document.activeElement !== input) input.value = String(value);
}
