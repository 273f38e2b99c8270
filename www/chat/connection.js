// @ts-check
// The connection to the server: one WebSocket at a time, and a new one when it ends.

/** @import { State } from "./status.js" */

const FIRST_DELAY_MS = 1000; // the longest wait before the first new attempt...
const LONGEST_DELAY_MS = 10_000; // ...doubled for each failure, but never more than this
const SETTLED_MS = 5000; // a connection must last this long before the waits are short again
const CONNECT_TIMEOUT_MS = 10_000;
const LIMIT_TIMEOUT_MS = 3000; // for the question how long a message may be

const POLICY_VIOLATION = 1008; // close codes: RFC 6455, section 7.4.1
const TOO_BIG = 1009;
const TRY_AGAIN_LATER = 1013;

/**
 * Sends itself these events, each with a value as its `detail`:
 * - "status", a State: what to show
 * - "lines", strings: what was said
 * - "notice", a string: something about the connection that belongs into the log
 * - "limit", a number: how many bytes a message may have
 */
export class Connection extends EventTarget {
  /** @type {WebSocket | null} */
  #socket = null;
  #failures = 0; // attempts since a connection last settled
  #lost = false; // a connection was lost, and none has come in its place
  #retryTimer = 0; // not 0 only while waiting to reconnect

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** @param {string} text */
  send(text) {
    this.#socket?.send(text);
  }

  /** Try at once, but only while waiting: an attempt under way is left alone. */
  reconnectNow() {
    if (this.#retryTimer) this.connect();
  }

  async connect() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    if (this.#failures) this.#status("reconnecting", "Reconnecting…");
    else this.#status("connecting", "Connecting…");
    await this.#fetchLimit(); // first, so that nothing too long is sent as soon as the connection opens

    let settleTimer = 0;
    let opened = false;
    const socket = new WebSocket(addressOf(location));
    this.#socket = socket;
    const giveUpTimer = setTimeout(() => socket.close(), CONNECT_TIMEOUT_MS);

    socket.onopen = () => {
      opened = true;
      clearTimeout(giveUpTimer);
      if (this.#lost) this.#emit("notice", "Connected again. What was said in between is not shown.");
      this.#lost = false;
      settleTimer = setTimeout(() => {
        this.#failures = 0;
      }, SETTLED_MS);
      this.#status("connected", "Connected");
    };

    // The server may put several messages into one frame, a line each.
    socket.onmessage = ({ data }) => this.#emit("lines", data.split("\n"));

    socket.onclose = (event) => {
      clearTimeout(giveUpTimer);
      clearTimeout(settleTimer);
      const why = opened ? explain(event) : "Could not connect.";
      // One row for each connection lost; a busy server's refusal is a failed attempt, not a loss.
      if (opened && event.code !== TRY_AGAIN_LATER) {
        this.#emit("notice", "Connection closed.");
        this.#lost = true;
        // What concerns this page alone is worth reading after it is connected again.
        if (event.code === POLICY_VIOLATION || event.code === TOO_BIG) this.#emit("notice", why);
      }
      // Full jitter: pages that lost the same server must not all come back at the same moment.
      const delay = Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures++);
      this.#wait(why, performance.now() + delay);
    };
  }

  /**
   * Reconnect when it is time. Until then the status counts the seconds. The wall clock may be set meanwhile.
   *
   * @param {string} why
   * @param {number} due the time, by performance.now()
   */
  #wait(why, due) {
    const left = due - performance.now();
    if (left <= 0) {
      this.connect();
      return;
    }
    const seconds = Math.ceil(left / 1000);
    this.#status("waiting", `${why} Reconnecting`, `in ${seconds} ${seconds === 1 ? "second" : "seconds"}`);
    this.#retryTimer = setTimeout(() => this.#wait(why, due), left - (seconds - 1) * 1000);
  }

  async #fetchLimit() {
    try {
      const response = await fetch("limits", { cache: "no-store", signal: AbortSignal.timeout(LIMIT_TIMEOUT_MS) });
      const { message_size: size } = await response.json();
      if (Number.isInteger(size) && size > 0) this.#emit("limit", size);
    } catch {
      // The limit that is known so far stays.
    }
  }

  /**
   * @param {State["name"]} name
   * @param {string} text
   * @param {string} countdown
   */
  #status(name, text, countdown = "") {
    this.#emit("status", { name, text, countdown });
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * The WebSocket's address. It keeps any prefix of the page's own address; a page served over https must use wss.
 * @param {Location} page
 */
function addressOf(page) {
  const address = new URL("ws", page.href);
  address.protocol = page.protocol === "https:" ? "wss:" : "ws:";
  return address;
}

/** @param {{ code: number, reason: string }} event */
function explain({ code, reason }) {
  switch (code) {
    case 1001:
      return "The server is stopping.";
    case 1006:
      return "The connection was lost.";
    case POLICY_VIOLATION:
      return `The server removed this page: ${(reason || "it was not keeping up").replace(/\.?$/, ".")}`;
    case TOO_BIG:
      return "The server found a message too long.";
    case TRY_AGAIN_LATER:
      return "The server is busy.";
    default:
      return "The connection ended.";
  }
}
