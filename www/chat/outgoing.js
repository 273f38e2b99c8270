// @ts-check
// What this page says, until the server has it. One text at a time is under way; the others wait for it. A text stays
// here until its echo or an acknowledgement comes, over reconnects and over a reload of the page.

import { recall, remember } from "./store.js";

/** @import { Hello, Message, Refusal, Up } from "./types.js" */

const LATE_MS = 5000; // the page then says that a text has not been delivered yet...
const GIVE_UP_MS = 10_000; // ...and a connection on which one was sent and did not come back is given up

/**
 * @typedef {object} Text
 * @property {string} text
 * @property {number | null} n its number in this session and room, once it has been sent
 * @property {"on its way" | "late" | "unsure"} state unsure: it was sent, and nobody knows whether the server took it
 */

/**
 * Sends itself these events, each with a value as its `detail`:
 * - "up", an Up: to be sent to the server
 * - "changed", null: `texts` has changed
 * - "late", null: a text is late
 * - "stuck", null: nothing comes back on this connection
 * - "refused", { texts, why }: texts that are given back
 */
export class Outgoing extends EventTarget {
  /** @type {Text[]} the oldest first */
  texts = [];
  #key; // where they are remembered
  #n = 0; // the highest number used so far
  #taken = false; // this log has taken a number of this session
  #open = false; // there is a connection that takes texts
  #logUp = true;
  #by = "";
  #stuckTimer = 0;

  /**
   * @param {string} room
   * @param {boolean} known whether the session is the one that left the texts that are remembered
   */
  constructor(room, known) {
    super();
    this.#key = `outgoing ${room}`;
    /** @type {{ n: number, taken: boolean, texts: Text[] } | null} */
    const left = known ? recall("tab", this.#key) : null;
    if (!left) return;
    this.#n = left.n;
    this.#taken = left.taken;
    this.texts = left.texts;
    this.texts.forEach((item) => this.#becomesLate(item));
  }

  /** @param {string} text */
  say(text) {
    /** @type {Text} */
    const item = { text, n: null, state: "on its way" };
    this.texts.push(item);
    this.#becomesLate(item);
    this.#next();
  }

  /**
   * A connection is there. What was under way on the last one is sent again with the same number, so that the log takes
   * it once, but only where the server is sure to know the number if it has taken it. Otherwise the person is asked.
   *
   * @param {Hello} hello
   * @param {boolean} returned whether the page gave a token
   */
  hello({ by, last, recovered }, returned) {
    this.#open = true;
    this.#by = by;
    this.#logUp = true;
    const sent = this.#underWay();
    if (sent && last !== null && last >= Number(sent.n)) this.#remove(sent);
    else if (sent && this.#mayRepeat(last, recovered, returned)) this.#transmit(sent);
    else if (sent) sent.state = "unsure";
    this.#n = Math.max(this.#n, last ?? 0);
    this.#taken = last !== null || (recovered && this.#taken);
    this.#next();
  }

  /** The connection has ended: what was under way stays until the next hello. */
  closed() {
    this.#open = false;
    clearTimeout(this.#stuckTimer);
  }

  /** @param {Message} message */
  heard({ by, n }) {
    if (by === this.#by && n != null) this.acknowledged(n);
  }

  /** @param {number} n */
  acknowledged(n) {
    const item = this.texts.find((text) => text.n === n);
    if (!item) return;
    this.#taken = true;
    this.#remove(item);
    this.#next();
  }

  /**
   * The server does not take a text. It and all that wait behind it are given back, in their order.
   * @param {Refusal} refusal
   */
  refused({ n, text }) {
    if (n == null || this.#underWay()?.n !== n) return;
    const back = this.texts.filter((item) => item.state !== "unsure");
    clearTimeout(this.#stuckTimer);
    this.texts = this.texts.filter((item) => item.state === "unsure");
    this.#changed();
    this.#emit("refused", { texts: back.map((item) => item.text), why: text });
  }

  /** Another log has begun, and nobody knows whether it has what was under way. */
  gap() {
    const sent = this.#underWay();
    if (!sent) return;
    sent.state = "unsure";
    clearTimeout(this.#stuckTimer);
    this.#next();
  }

  /** While the log is down the server keeps what it was sent: nothing is stuck. @param {boolean} up */
  setLog(up) {
    this.#logUp = up;
    this.#watch();
  }

  /** Send an unsure text again, as a new one. @param {Text} item */
  again(item) {
    this.#remove(item);
    this.say(item.text);
  }

  /** @param {Text} item */
  discard(item) {
    this.#remove(item);
    this.#changed();
  }

  /** The session is another one's: so are the texts, and the numbers begin again. */
  forget() {
    this.texts = [];
    this.#n = 0;
    this.#taken = false;
    this.#changed();
  }

  /** @param {Text} item */
  #becomesLate(item) {
    setTimeout(() => {
      if (item.state !== "on its way" || !this.texts.includes(item)) return;
      item.state = "late";
      this.#changed();
      this.#emit("late", null);
    }, LATE_MS);
  }

  #underWay() {
    return this.texts.find((item) => item.n !== null && item.state !== "unsure");
  }

  /**
   * Whether a text that was sent before this hello may be sent again without asking. If the server knows a number of
   * this session, it would know this one. If all entries since our token are there and none of this session was taken
   * before, then this one was not taken either. Otherwise the server may have forgotten that it was.
   *
   * @param {number | null} last
   * @param {boolean} recovered
   * @param {boolean} returned whether the page gave a token
   */
  #mayRepeat(last, recovered, returned) {
    return last === null ? recovered && !this.#taken : recovered || !returned;
  }

  #next() {
    const waiting = this.texts.find((item) => item.n === null);
    if (this.#open && waiting && !this.#underWay()) {
      waiting.n = ++this.#n;
      this.#transmit(waiting);
    }
    this.#changed();
  }

  /** @param {Text} item */
  #transmit({ n, text }) {
    this.#emit("up", /** @type {Up} */ ({ type: "msg", n, text }));
    this.#watch();
  }

  #watch() {
    clearTimeout(this.#stuckTimer);
    if (!this.#open || !this.#logUp || !this.#underWay()) return;
    this.#stuckTimer = setTimeout(() => this.#emit("stuck", null), GIVE_UP_MS);
  }

  /** @param {Text} item */
  #remove(item) {
    if (item === this.#underWay()) clearTimeout(this.#stuckTimer);
    this.texts = this.texts.filter((other) => other !== item);
  }

  #changed() {
    remember("tab", this.#key, { n: this.#n, taken: this.#taken, texts: this.texts });
    this.#emit("changed", null);
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
