// @ts-check
// The form with the field for a message. Sends "say" with the text.

import { byId, setText } from "../dom.js";

const NEAR = 0.8; // of the limit: from there on what is left is counted

const encoder = new TextEncoder();

/** @param {string} text */
const byteLength = (text) => encoder.encode(text).length;

const segmenter = new Intl.Segmenter();

/**
 * The text as what people call characters: an accent or the parts of an emoji count with what they belong to.
 * @param {string} text
 */
const charactersOf = (text) => Array.from(segmenter.segment(text), ({ segment }) => segment);

/**
 * @param {number} count
 * @param {string} noun
 */
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

export class Form {
  #field = byId("msg", HTMLInputElement);
  #button = byId("send", HTMLButtonElement);
  #counter = byId("counter");
  #alert = byId("fits");
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

  /** Show how much room is left, if it is little, and whether the text can be sent. */
  #check() {
    const text = this.#field.value.trim();
    const left = this.#limit - byteLength(text);
    const over = left < 0;
    const near = !over && left < this.#limit * (1 - NEAR);
    if (over) this.#counter.textContent = `${plural(this.#excess(text), "character")} too long to send`;
    else this.#counter.textContent = near ? `Room for ${plural(this.#roomFor(text, left), "more character")}` : "";
    // A screen reader hears when the text has become too long and when it fits again, not the counter at each key.
    setText(this.#alert, over ? "The message has become too long." : this.#alert.textContent && "The message fits again.");
    this.#field.setAttribute("aria-invalid", String(over));
    this.#button.setAttribute("aria-disabled", String(over || !this.#open));
  }

  /**
   * How many characters at the end must go until the text can be sent.
   * @param {string} text
   */
  #excess(text) {
    let left = this.#limit;
    const characters = charactersOf(text);
    const fitting = characters.findIndex((character) => (left -= byteLength(character)) < 0);
    return characters.length - fitting;
  }

  /**
   * How many characters like those of the text go into so many bytes.
   * @param {string} text
   * @param {number} bytes
   */
  #roomFor(text, bytes) {
    return Math.floor((bytes * charactersOf(text).length) / byteLength(text));
  }
}
