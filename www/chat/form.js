// @ts-check
// The form with the field for a message. Sends "say" with the text.

import { byId } from "../dom.js";

const NEAR = 0.8; // of the limit: from there on the bytes are counted

const encoder = new TextEncoder();

/** @param {string} text */
const byteLength = (text) => encoder.encode(text).length;

export class Form {
  #field = byId("msg", HTMLInputElement);
  #button = byId("send", HTMLButtonElement);
  #counter = byId("counter");
  #limit = 512; // bytes in one message, until the server says otherwise
  #open = false; // whether there is a connection

  constructor() {
    this.#field.addEventListener("input", () => this.#check());
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.focus();
      const text = this.#field.value.trim();
      // Text that cannot be sent now stays in the field.
      if (!text || byteLength(text) > this.#limit || !this.#open) return;
      this.#field.dispatchEvent(new CustomEvent("say", { bubbles: true, detail: text }));
      this.#field.value = "";
      this.#check();
    });
  }

  focus() {
    this.#field.focus();
  }

  /** @param {number} bytes that a message may have */
  setLimit(bytes) {
    this.#limit = bytes;
    this.#check();
  }

  /** @param {boolean} open whether there is a connection */
  setOpen(open) {
    this.#open = open;
    this.#check();
  }

  disable() {
    this.#field.disabled = this.#button.disabled = true;
  }

  /** Show how long the text in the field is, if it is nearly too long, and whether it can be sent. */
  #check() {
    const bytes = byteLength(this.#field.value.trim());
    const over = bytes > this.#limit;
    let text = "";
    if (bytes > this.#limit * NEAR) text = `${bytes} of ${this.#limit} bytes`;
    if (over) text += `: ${bytes - this.#limit} too many to send`;
    this.#counter.textContent = text;
    this.#field.setAttribute("aria-invalid", String(over));
    this.#button.setAttribute("aria-disabled", String(over || !this.#open));
  }
}
