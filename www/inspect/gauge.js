// @ts-check
// A channel: a button drawn as a pipe that fills.

import { make, setData, setText } from "../dom.js";
import { hinted } from "./hints.js";
import { emit } from "./signals.js";
import { count, tellFill } from "./words.js";

/** @import { Channel } from "./types.js" */

export class Gauge {
  #of = make("span", { class: "unseen" });
  #fill = make("span", { class: "fill" });
  #pending = make("span", { class: "pending" });

  /** @type {Channel | null} the channel as it was drawn last */
  #channel = null;

  /** @param {string} kind "send", or the name of a channel into the hub */
  constructor(kind) {
    this.track = make("span", { class: "track" }, this.#fill);
    this.element = make(
      "button",
      {
        type: "button",
        class: `gauge ${kind}`,
        onclick: () => this.#channel && emit(this.element, "open-channel", this.#channel.name),
      },
      this.#of,
      this.track,
      this.#pending,
    );
    hinted(this.element, () => (this.#channel ? `Channel ${this.#channel.name}: ${tellFill(this.#channel)}` : ""));
  }

  /**
   * Say for screen readers which channel it is.
   * @param {string} words
   */
  nameAs(words) {
    setText(this.#of, `${words}: `);
  }

  /**
   * @param {Channel} channel
   * @param {string} selected the name of the thread or channel that is looked into
   */
  render(channel, selected) {
    this.#channel = channel;
    const { name, pending, capacity } = channel;
    setData(this.element, "name", name);
    const part = capacity ? Math.min(1, pending / capacity) : 0;
    const scale = `scaleX(${part.toFixed(4)})`;
    if (this.#fill.style.transform !== scale) this.#fill.style.transform = scale;
    setData(this.element, "level", part >= 0.99 ? "full" : part >= 0.5 ? "high" : "low");
    this.element.toggleAttribute("data-selected", name === selected);
    setText(this.#pending, capacity ? `${count(pending)}/${count(capacity)}` : "unbuffered");
  }
}
