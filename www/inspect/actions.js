// Things to do to the server: in the demo with its bots, anywhere by saying something.

import { act } from "./live.js";
import { byId, count, hinted, make } from "./words.js";

const KINDS = [
  ["chatty", "talks", "A client that talks: its messages come at the left and go to everybody."],
  ["slow", "reads slowly", "A client that reads a few hundred bytes a second: its messages share frames."],
  ["stuck", "stops reading", "A client that stops reading. Watch its send channel fill, and what then happens to it."],
  ["quiet", "only listens", "A client that listens and says nothing."],
];

export class Actions {
  #paused = false;

  constructor() {
    this.done = byId("done");
    this.panel = byId("bots");
    byId("say").addEventListener("submit", (event) => this.#say(event));
    this.#makePanel();
  }

  // What the picture says about the demo.
  render({ demo, hub, clients, pace }) {
    this.panel.hidden = !demo;
    document.body.toggleAttribute("data-demo", demo);
    if (this.#paused !== hub.paused) {
      this.#paused = hub.paused;
      this.hold.textContent = hub.paused ? "Release the hub" : "Hold the hub";
      this.hold.setAttribute("aria-pressed", String(hub.paused));
    }
    this.#follow(this.buffer, clients.at(-1)?.send.capacity);
    this.#follow(this.pace, pace);
  }

  // Have it done, and tell in words what came of it.
  async run(action, details, said) {
    try {
      await act(action, details);
      this.tell(said);
    } catch (error) {
      this.tell(error.message, true);
    }
  }

  tell(text, failed = false) {
    this.done.textContent = text;
    this.done.toggleAttribute("data-failed", failed);
  }

  #makePanel() {
    const rows = KINDS.map(([kind, word, means]) => {
      const add = (number) =>
        make(
          "button",
          {
            type: "button",
            "aria-label": `Add ${number === 1 ? "a client that" : "100, each of which"} ${word}`,
            onclick: () =>
              this.run(
                "add",
                { kind, count: number },
                number === 1 ? `Added a client that ${word}.` : `Added 100 clients. Each ${word}.`,
              ),
          },
          `+${number}`,
        );
      const row = make("li", { "data-kind": kind }, make("span", {}, word), add(1), add(100));
      hinted(row, () => means);
      return row;
    });
    this.hold = make(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        onclick: () =>
          this.#paused ? this.run("resume", {}, "The hub goes on.") : this.run("pause", {}, "The hub is held still."),
      },
      "Hold the hub",
    );
    hinted(
      this.hold,
      () => "While the hub is held still, its channel fills; then no read pump reads, and TCP slows the senders down.",
    );
    const burst = make(
      "button",
      { type: "button", onclick: () => this.run("burst", { messages: 1000 }, "1,000 messages at once.") },
      "Burst of 1,000",
    );
    hinted(
      burst,
      () =>
        "1,000 messages at once from one client. The hub gives way to the pumps of all who read; " +
        "who reads too slowly is evicted.",
    );
    this.buffer = this.#number("Send buffer", "messages", { min: 1, max: 100_000, value: 256 }, (messages) =>
      this.run("buffer", { messages }, `Every send channel holds ${count(messages)} from now on.`),
    );
    this.pace = this.#number("Talkers say", "a second", { min: 0, max: 1000, step: "any" }, (pace) =>
      this.run("pace", { messages_a_second: pace }, `The talkers say ${count(pace)} messages a second in all.`),
    );
    this.panel.append(
      make("p", { class: "lead" }, "Add a client that…"),
      make("ul", { class: "kinds" }, ...rows),
      make("div", { class: "pair" }, burst, this.hold),
      make("div", { class: "numbers" }, this.pace.parentElement, this.buffer.parentElement),
    );
  }

  #number(before, after, attributes, set) {
    const input = make("input", { type: "number", inputmode: "decimal", ...attributes });
    input.addEventListener("change", () => {
      if (input.value !== "" && input.checkValidity()) set(Number(input.value));
      else this.tell(`That has to be a number from ${count(attributes.min)} to ${count(attributes.max)}.`, true);
    });
    make("label", {}, make("span", {}, before), input, make("span", {}, after));
    return input;
  }

  // A field has what is so in the server, whoever changed it last, unless somebody is typing there.
  #follow(input, value) {
    if (value === undefined || input.dataset.real === String(value)) return;
    input.dataset.real = value;
    if (document.activeElement !== input) input.value = value;
  }

  #say(event) {
    event.preventDefault();
    const input = byId("say-text");
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    this.run("say", { text, typed: Date.now() }, "Said. Follow it below.");
  }
}
