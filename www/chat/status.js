// @ts-check
// The state of the connection in the page's header, with a button to reconnect. Sends "reconnect".

import { byId, setText } from "../dom.js";

/**
 * @typedef {object} State
 * @property {"connecting" | "connected" | "reconnecting" | "waiting" | "none"} name
 * @property {string} text
 * @property {string} countdown how long it is still waiting, or ""
 */

export class Status {
  #text = byId("state");
  #countdown = byId("countdown");
  #button = byId("reconnect", HTMLButtonElement);

  constructor() {
    this.#button.addEventListener("click", () => {
      this.#button.dispatchEvent(new CustomEvent("reconnect", { bubbles: true }));
    });
  }

  get hasFocus() {
    return document.activeElement === this.#button;
  }

  /** @param {State} state */
  render({ name, text, countdown }) {
    document.body.dataset.connection = name; // for the style sheet
    setText(this.#text, text); // a screen reader tells a change, so not at each tick
    setText(this.#countdown, countdown);
    this.#button.hidden = name !== "waiting";
  }
}
