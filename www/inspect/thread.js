// @ts-check
// A thread: a button with its state as colour, shape and word, and for how long it has been in it.

import { make, setData, setText } from "../dom.js";
import { hinted } from "./hints.js";
import { icon, setIcon } from "./icon.js";
import { emit } from "./signals.js";
import { duration, family, tellThread } from "./words.js";

/** @import { Thread } from "./types.js" */

const ROLES = { read: "in", write: "out", hub: null }; // what a narrow window shows in place of the column's head

export class ThreadButton {
  #of = make("span", { class: "unseen" });
  #word = make("span", { class: "word" });
  #time = make("span", { class: "for" });
  #shape = icon("waits");

  /** @type {Thread | null} the thread as it was drawn last */
  #thread = null;

  /** @param {keyof typeof ROLES} kind */
  constructor(kind) {
    this.element = make(
      "button",
      {
        type: "button",
        class: `thread ${kind}`,
        "data-role": ROLES[kind],
        onclick: () => this.#thread && emit(this.element, "open-thread", this.#thread.name),
      },
      this.#shape,
      this.#of,
      this.#word,
      this.#time,
    );
    hinted(this.element, () => {
      if (!this.#thread) return "";
      const { file, line } = this.#thread;
      return `${tellThread(this.#thread)} ${file ? `At ${file}, line ${line}.` : ""}`;
    });
  }

  /**
   * Say for screen readers which thread it is.
   * @param {string} words
   */
  nameAs(words) {
    setText(this.#of, `${words}: `);
  }

  /**
   * @param {Thread} thread
   * @param {string} selected the name of the thread or channel that is looked into
   */
  render(thread, selected) {
    this.#thread = thread;
    setData(this.element, "name", thread.name);
    const kind = family(thread.state);
    if (this.element.dataset.family !== kind) {
      this.element.dataset.family = kind;
      setIcon(this.#shape, kind);
    }
    this.element.toggleAttribute("data-selected", thread.name === selected);
    setText(this.#word, thread.state);
    setText(this.#time, thread.for >= 0.1 ? duration(thread.for) : "");
  }
}
