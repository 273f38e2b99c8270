// @ts-check
// The field for a message, which grows with its text. Sends "say" with the text. What is typed survives a reload.

import { byId } from "../dom.js";
import { Completion } from "./completion.js";
import { recall, remember } from "./store.js";

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
  #form = byId("form", HTMLFormElement);
  #field = byId("msg", HTMLTextAreaElement);
  #button = byId("send", HTMLButtonElement);
  #counter = byId("counter");
  #note = byId("note");
  #spoken = byId("spoken");
  #completion = new Completion(this.#field);
  #draftKey;
  #limit = 512; // bytes in one message, until the server says otherwise
  #tooLong = false;

  /** @param {string} room */
  constructor(room) {
    this.#draftKey = `draft ${room}`;
    this.#field.value = recall("tab", this.#draftKey) ?? "";
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => this.#pressed(event));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#changed();
  }

  /** The names that Tab completes. @param {() => string[]} names */
  set names(names) {
    this.#completion.names = names;
  }

  focus() {
    this.#field.focus();
  }

  /** @param {string} name of the person who writes here */
  setName(name) {
    this.#field.placeholder = name ? `Write as ${name}` : "Write a message";
  }

  /** @param {number} bytes that a message may have */
  setLimit(bytes) {
    this.#limit = bytes;
    this.#changed();
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#form.hidden = !shown;
  }

  /**
   * Put texts back into the field, before what has been typed since, and say why.
   *
   * @param {string[]} texts
   * @param {string} why
   */
  giveBack(texts, why) {
    this.#field.value = [...texts, ...(this.#field.value ? [this.#field.value] : [])].join("\n");
    this.#changed();
    this.note(why);
  }

  /** Tell the person something about the text, until it is changed. @param {string} text */
  note(text) {
    this.#note.textContent = text;
  }

  /** Tell a screen reader alone. @param {string} text */
  speak(text) {
    this.#spoken.textContent = text;
  }

  #submit() {
    this.focus();
    const text = this.#field.value.trim();
    if (!text || this.#tooLong) return;
    const say = new CustomEvent("say", { bubbles: true, cancelable: true, detail: text });
    if (!this.#field.dispatchEvent(say)) return; // it cannot be said: it stays in the field
    this.#field.value = "";
    this.#changed();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.isComposing) return; // Enter chooses a word of the input method
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.#form.requestSubmit();
    } else if (event.key === "Tab" && !event.shiftKey && this.#completion.next()) {
      event.preventDefault();
      this.#changed();
    }
  }

  /** Show how much room is left, if it is little, and whether the text can be sent. */
  #changed() {
    this.note("");
    remember("tab", this.#draftKey, this.#field.value || null);
    this.#field.parentElement?.setAttribute("data-text", this.#field.value); // form.css makes the field as high
    const text = this.#field.value.trim();
    const left = this.#limit - byteLength(text);
    const over = left < 0;
    const near = !over && left < this.#limit * (1 - NEAR);
    if (over) this.#counter.textContent = `${plural(this.#excess(text), "character")} too long to send`;
    else this.#counter.textContent = near ? `Room for ${plural(this.#roomFor(text, left), "more character")}` : "";
    // A screen reader hears when the text has become too long and when it fits again, not the counter at each key.
    if (over !== this.#tooLong) this.speak(over ? "The message has become too long." : "The message fits again.");
    this.#tooLong = over;
    this.#field.setAttribute("aria-invalid", String(over));
    this.#button.setAttribute("aria-disabled", String(over));
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
