// @ts-check
// The state of the connection in the page's header, with a button to reconnect. Sends "reconnect".

import { byId, setText } from "../dom.js";

const SHOWN_AFTER_MS = 1000; // a connection that is back sooner was never missed

/**
 * @typedef {object} State
 * @property {"connecting" | "connected" | "reconnecting" | "waiting" | "down" | "ended" | "none"} name
 * @property {string} text
 * @property {string} countdown how long it is still waiting, or ""
 */

export class Status {
  #text = byId("state");
  #countdown = byId("countdown");
  #button = byId("reconnect", HTMLButtonElement);
  /** @type {State | null} the latest state, while an older one is still shown */
  #next = null;
  #timer = 0;

  constructor() {
    this.#button.addEventListener("click", () => {
      this.#button.dispatchEvent(new CustomEvent("reconnect", { bubbles: true }));
    });
  }

  get hasFocus() {
    return document.activeElement === this.#button;
  }

  /**
   * Show a state: at once, or if the page was connected until now, when it has lasted a moment.
   * @param {State} state
   */
  render(state) {
    const lost = state.name === "reconnecting" || state.name === "waiting";
    if (lost && document.body.dataset.connection === "connected") {
      this.#next = state;
      this.#timer ||= setTimeout(() => this.#next && this.#show(this.#next), SHOWN_AFTER_MS);
    } else {
      this.#show(state);
    }
  }

  /** @param {State} state */
  #show({ name, text, countdown }) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    document.body.dataset.connection = name; // for the style sheet, and so is the next
    document.body.toggleAttribute("data-trouble", ["reconnecting", "waiting", "down", "ended"].includes(name));
    setText(this.#text, text); // a screen reader tells a change, so not at each tick
    setText(this.#countdown, countdown);
    this.#button.hidden = name !== "waiting" && name !== "ended";
  }
}
