// @ts-check
// The log: a row for each message and notice. It follows what is new while its bottom is in sight.

import { byId, make } from "../dom.js";
import { nodesOf } from "./text.js";

const MAX_ROWS = 5000; // the oldest rows go first
const FRAME_MS = 16; // of messages are gathered into one change of the page
const BOTTOM_PX = 2; // zoomed pages have fractions of a pixel: the bottom is not met exactly

/** @typedef {"message" | "notice"} Kind */

export class Log {
  #list = byId("log");
  #more = byId("more", HTMLButtonElement);

  /** @type {{ text: string, kind: Kind }[]} rows not yet on the page */
  #pending = [];
  #flushTimer = 0;
  #unread = 0; // messages added below what the reader is looking at
  #following = true; // the log was at its bottom when last seen

  constructor() {
    const onScroll = () => {
      this.#following = this.#isAtBottom();
      if (this.#following) this.#setUnread(0);
    };
    this.#list.addEventListener("scroll", onScroll, { passive: true });
    // A phone's keyboard or a turned screen changes the log's size. It stays at the bottom if it was there.
    new ResizeObserver(() => {
      if (this.#following) this.scrollToBottom();
    }).observe(this.#list);
    this.#more.addEventListener("mousedown", (event) => event.preventDefault()); // leave the focus in the field
    this.#more.addEventListener("click", () => {
      // The button is about to vanish; a keyboard's focus must not vanish with it.
      if (document.activeElement === this.#more) this.#list.focus({ preventScroll: true });
      this.scrollToBottom();
    });
  }

  /**
   * Add one row. Rows reach the page in batches, so that a burst costs one layout a frame and not one a line. A timer
   * sets the pace, because a hidden page is given no animation frames.
   *
   * @param {string} text
   * @param {Kind} kind
   */
  append(text, kind = "message") {
    this.#pending.push({ text, kind });
    this.#flushTimer ||= setTimeout(() => this.#flush(), FRAME_MS);
  }

  #flush() {
    this.#flushTimer = 0;
    const items = this.#pending.slice(-MAX_ROWS);
    this.#pending = [];

    // Measure before changing anything: where the reader is, and where the oldest row that stays is.
    const doScroll = this.#isAtBottom();
    const excess = Math.max(0, this.#list.childElementCount + items.length - MAX_ROWS);
    const anchor = this.#list.children[excess];
    const before = anchor?.getBoundingClientRect().top;

    for (let i = 0; i < excess; i++) this.#list.firstChild?.remove();
    this.#list.append(...items.map(({ text, kind }) => make("div", { class: kind }, ...nodesOf(text))));

    if (doScroll) {
      this.scrollToBottom();
    } else {
      // Removing rows above pulls the others up; give back exactly as much.
      if (anchor && excess) this.#list.scrollTop += anchor.getBoundingClientRect().top - before;
      this.#setUnread(this.#unread + items.filter(({ kind }) => kind === "message").length);
    }
  }

  #isAtBottom() {
    return this.#list.scrollHeight - this.#list.clientHeight - this.#list.scrollTop < BOTTOM_PX;
  }

  /** Show the newest row, and follow what is new from here on. */
  scrollToBottom() {
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#following = true;
    this.#setUnread(0);
  }

  /** @param {number} count */
  #setUnread(count) {
    this.#unread = count;
    this.#more.hidden = count === 0;
    if (count) this.#more.textContent = count === 1 ? "1 new message" : `${count} new messages`;
  }
}
