// @ts-check
// The log: a row for each message and notice, and below them what is on its way. It follows what is new while its
// bottom is in sight. Sends "again" and "discard" with a text of which nobody knows whether it was delivered.

import { byId, make } from "../dom.js";
import { dayOf, lineOf, messageRow, noticeRow } from "./row.js";
import { nodesOf } from "./text.js";

/** @import { Text } from "./outgoing.js" */
/** @import { Message } from "./types.js" */

const MAX_ROWS = 5000; // the oldest rows go first
const FRAME_MS = 16; // of messages are gathered into one change of the page
const BOTTOM_PX = 2; // zoomed pages have fractions of a pixel: the bottom is not met exactly

/** @typedef {{ row: HTMLElement, line: string, counts: boolean }} Item counts: as a message, among the unread */

export class Log {
  #scroller = byId("scroller");
  #list = byId("log");
  #outgoing = byId("outgoing");
  #more = byId("more", HTMLButtonElement);

  /** @type {Item[]} rows not yet on the page */
  #pending = [];
  /** @type {string[]} a line for each row, for the text file */
  #lines = [];
  /** @type {Text[] | null} what is on its way, if that has changed */
  #texts = null;
  /** @type {Message | null} the message in the last row, if it is one */
  #last = null;
  #day = "";
  #flushTimer = 0;
  #toBeRead = false; // a screen reader is to read what comes after the rows that are not yet on the page
  #unread = 0; // messages added below what the reader is looking at
  #following = true; // the reader is at the bottom, and wants to see what is new
  #top = 0; // how far the log was scrolled when last seen

  constructor() {
    this.#scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    // A phone's keyboard, a growing field or a turned screen changes the log's size. It stays at the bottom.
    new ResizeObserver(() => {
      this.#look();
      if (this.#following) this.scrollToBottom();
    }).observe(this.#scroller);
    this.#more.addEventListener("mousedown", (event) => event.preventDefault()); // leave the focus in the field
    this.#more.addEventListener("click", () => {
      // The button is about to vanish; a keyboard's focus must not vanish with it.
      if (document.activeElement === this.#more) this.#scroller.focus({ preventScroll: true });
      this.scrollToBottom();
    });
    // There is no pointing on a phone: a tap shows the date.
    this.#list.addEventListener("click", ({ target }) => {
      if (target instanceof HTMLTimeElement) target.classList.toggle("full");
    });
  }

  get isEmpty() {
    return this.#lines.length === 0 && this.#pending.length === 0;
  }

  /** All rows as the lines of a text file. */
  get transcript() {
    return this.#lines.map((line) => `${line}\n`).join("");
  }

  /**
   * @param {Message} message
   * @param {{ me: string, mine: boolean, mentioned: boolean, history: boolean }} seen what it is to the reader
   */
  message(message, { me, mine, mentioned, history }) {
    const day = dayOf(message.at);
    if (day !== this.#day) this.notice(day, "day");
    this.#day = day;
    const row = messageRow(message, this.#last, { me, mine, mentioned });
    this.#add({ row, line: lineOf(message), counts: !history });
    this.#last = message;
  }

  /**
   * @param {string} text
   * @param {"notice" | "gap" | "day" | "joined"} kind
   */
  notice(text, kind = "notice") {
    this.#add({ row: noticeRow(text, kind), line: `-- ${text}`, counts: false });
    this.#last = null;
  }

  /** Drop all rows. */
  clear() {
    this.#pending = [];
    this.#lines = [];
    this.#last = null;
    this.#day = "";
    this.#list.replaceChildren();
    this.#setUnread(0);
  }

  /** @param {Text[]} texts */
  setOutgoing(texts) {
    this.#texts = [...texts];
    this.#flushTimer ||= setTimeout(() => this.#flush(), FRAME_MS);
  }

  /** From here on a screen reader reads what comes: not the history. */
  readOut() {
    this.#toBeRead = true;
    if (!this.#flushTimer) this.#flush();
  }

  /** Show the newest row, and follow what is new from here on. */
  scrollToBottom() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
    this.#following = true;
    this.#setUnread(0);
  }

  /**
   * Add one row. Rows reach the page in batches, so that a burst costs one layout a frame and not one a line. A timer
   * sets the pace, because a hidden page is given no animation frames.
   *
   * @param {Item} item
   */
  #add(item) {
    this.#pending.push(item);
    this.#flushTimer ||= setTimeout(() => this.#flush(), FRAME_MS);
  }

  #flush() {
    this.#flushTimer = 0;
    const items = this.#pending.slice(-MAX_ROWS);
    this.#pending = [];

    // Measure before changing anything: where the reader is, and where the oldest row that stays is.
    this.#look();
    const excess = Math.max(0, this.#list.childElementCount + items.length - MAX_ROWS);
    const anchor = this.#list.children[excess];
    const before = anchor?.getBoundingClientRect().top;

    for (let i = 0; i < excess; i++) this.#list.firstChild?.remove();
    if (items.length) this.#list.append(...items.map(({ row }) => row));
    this.#lines.splice(0, excess);
    this.#lines.push(...items.map(({ line }) => line));
    if (this.#texts) this.#outgoing.replaceChildren(...this.#texts.map((text) => this.#outgoingRow(text)));
    this.#texts = null;
    if (this.#toBeRead) this.#list.setAttribute("aria-live", "polite");

    if (this.#following) {
      this.scrollToBottom();
    } else {
      // Removing rows above pulls the others up; give back exactly as much.
      if (anchor && excess) this.#scroller.scrollTop += anchor.getBoundingClientRect().top - before;
      this.#top = this.#scroller.scrollTop;
      this.#setUnread(this.#unread + items.filter(({ counts }) => counts).length);
    }
  }

  /** @param {Text} item */
  #outgoingRow(item) {
    const words = {
      "on its way": "on its way",
      late: "not delivered yet",
      unsure: "The connection was lost meanwhile. This may or may not have been delivered.",
    };
    const ask = (/** @type {string} */ name) => () =>
      this.#outgoing.dispatchEvent(new CustomEvent(name, { bubbles: true, detail: item }));
    return make(
      "li",
      { class: "message mine", "data-state": item.state },
      make("div", { class: "text" }, ...nodesOf(item.text)),
      make("p", { class: "state" }, words[item.state]),
      item.state === "unsure" ? make("button", { type: "button", onclick: ask("again") }, "Send again") : null,
      item.state === "unsure" ? make("button", { type: "button", onclick: ask("discard") }, "Discard") : null,
    );
  }

  /**
   * Find out whether the reader follows what is new. Being away from the bottom is not enough to say no: the log may
   * have become lower, or what is in it higher. Somebody who reads what is old has scrolled up.
   */
  #look() {
    const { scrollHeight, clientHeight, scrollTop } = this.#scroller;
    if (scrollHeight - clientHeight - scrollTop < BOTTOM_PX) {
      this.#following = true;
      this.#setUnread(0);
    } else if (scrollTop < this.#top) {
      this.#following = false;
    }
    this.#top = scrollTop;
  }

  /** @param {number} count */
  #setUnread(count) {
    this.#unread = count;
    this.#more.hidden = count === 0;
    if (count) this.#more.textContent = count === 1 ? "1 new message" : `${count} new messages`;
  }
}
