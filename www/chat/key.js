// @ts-check
// The key of a chat that has one. It comes in the part of the address that no browser sends (`#key=...`), or is typed,
// and the server gives a cookie for it. Sends "opened" when the server has taken it.

import { byId } from "../dom.js";
import { lobby } from "./place.js";

const DOOR = new URL("key", lobby);

export class Key {
  #form = byId("key-form", HTMLFormElement);
  #field = byId("key", HTMLInputElement);
  #note = byId("key-note");

  constructor() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#field.value) this.#give(this.#field.value);
    });
    addEventListener("hashchange", () => this.takeFromAddress());
  }

  /** Give the server the key in the page's address, if there is one, and take it out of the address. */
  async takeFromAddress() {
    const key = new URLSearchParams(location.hash.slice(1)).get("key");
    if (key === null) return;
    history.replaceState(history.state, "", location.pathname + location.search);
    await this.#give(key);
  }

  /** Whether the server wants a key that this page does not have. */
  async isMissing() {
    try {
      return (await fetch(DOOR, { cache: "no-store" })).status === 401;
    } catch {
      return false; // nobody there
    }
  }

  ask() {
    if (!this.#form.hidden) return;
    this.#form.hidden = false;
    this.#field.focus();
  }

  /** @param {string} key */
  async #give(key) {
    const status = await statusOf(key);
    if (status === 204) {
      this.#form.hidden = true;
      this.#field.value = this.#note.textContent = "";
      this.#form.dispatchEvent(new CustomEvent("opened", { bubbles: true }));
    } else if (status === 401 || status === 429) {
      this.#note.textContent = status === 401 ? "This is not the key." : "Too many wrong keys. Wait for a moment.";
      this.ask();
    } else if (status !== 404) {
      this.#note.textContent = "The server does not answer.";
    }
  }
}

/**
 * The status of the server's answer to a key; 0 if there is none.
 * @param {string} key
 */
async function statusOf(key) {
  try {
    const body = JSON.stringify({ key });
    return (await fetch(DOOR, { method: "POST", headers: { "Content-Type": "application/json" }, body })).status;
  } catch {
    return 0;
  }
}
