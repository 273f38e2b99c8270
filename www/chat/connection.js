// @ts-check
// The connection to the server: one WebSocket at a time, and a new one when it ends. It goes on after the last token
// seen, so that nothing is missed in between.

import { socketAddress } from "./place.js";

/** @import { Session } from "./session.js" */
/** @import { State } from "./status.js" */
/** @import { Down, Entry, Hello, Up } from "./types.js" */

const FIRST_DELAY_MS = 1000; // the longest wait before the first new attempt...
const LONGEST_DELAY_MS = 30_000; // ...doubled for each failure, but never more than this
const SETTLED_MS = 20_000; // a connection must hold this long before the waits are short again
const HELLO_TIMEOUT_MS = 10_000;
const CHECK_MS = 3000; // a connection that is checked must bring something within this time

const POLICY_VIOLATION = 1008; // close codes: RFC 6455, section 7.4.1
const TOO_BIG = 1009;
const SERVICE_RESTART = 1012; // the server restarts, or the room begins anew: come back at once
const TRY_AGAIN_LATER = 1013;
const PUT_OUT = 4001; // by the organiser

/**
 * Sends itself these events, each with a value as its `detail`:
 * - "status", a State: what to show
 * - "hello", "ack", "error", "state": what the server sent
 * - "msg", "presence", "order": an entry of the room's log; one that the server repeats comes once
 * - "gap", { unannounced }: entries are missing here; unannounced: another log has begun while the page was connected
 * - "closed", null: the connection has ended
 * - "shut", null: there was no connection: nobody is there, or the server does not let this page in
 */
export class Connection extends EventTarget {
  name = ""; // the name to join with
  #session;
  /** @type {WebSocket | null} */
  #socket = null;
  #greeted = false; // the server's hello has come
  #top = 0; // entries up to this id are past
  #newest = 0; // the id of the newest entry seen
  /** @type {string | null} */
  #token = null; // of the newest entry seen
  #returned = false; // this connection was asked to go on after a token
  #gapDue = false; // the hello said that it cannot: its gap is to follow
  #failures = 0; // attempts since a connection last held
  #putOut = false;

  // Timers, 0 while they do not run.
  #retryTimer = 0;
  #helloTimer = 0;
  #settleTimer = 0;
  #checkTimer = 0;

  /** @param {Session} session */
  constructor(session) {
    super();
    this.#session = session;
  }

  get isOpen() {
    return this.#greeted;
  }

  get isTrying() {
    return this.#socket !== null;
  }

  /** Whether this connection was asked to go on where the last one ended. */
  get returned() {
    return this.#returned;
  }

  /** Whether an entry was there before this page (or its connection) came. @param {number} id */
  isPast(id) {
    return id <= this.#top;
  }

  /** @param {Up} message */
  send(message) {
    this.#socket?.send(JSON.stringify(message));
  }

  /** Connect now, whatever there is. */
  connect() {
    this.#drop();
    this.#putOut = false;
    if (this.#token === null) this.#status("connecting", "Connecting…");
    else this.#status("reconnecting", "Reconnecting…");

    const since = this.#token;
    this.#returned = since !== null;
    const protocols = ["threadchat.v1", `session.${this.#session.secret}`];
    const socket = new WebSocket(socketAddress(this.name, since), protocols);
    this.#socket = socket;
    this.#helloTimer = setTimeout(() => this.end("The server does not answer."), HELLO_TIMEOUT_MS);
    let opened = false;
    socket.onopen = () => {
      opened = true;
    };
    // A frame may hold several messages, a line each.
    socket.onmessage = ({ data }) => {
      clearTimeout(this.#checkTimer);
      this.#checkTimer = 0;
      for (const line of data.split("\n")) {
        if (socket === this.#socket) this.#take(JSON.parse(line));
      }
    };
    socket.onclose = (event) => {
      this.#putOut = event.code === PUT_OUT;
      this.end(opened ? explain(event) : "Could not connect.", event.code === SERVICE_RESTART);
      if (!opened) this.#emit("shut", null);
    };
  }

  /**
   * There is a reason to believe that the path has changed: the network came back, or the page was asleep. A page that
   * waits tries at once. An open connection that brings nothing for a moment is replaced by another, because it may be
   * dead without anybody knowing.
   */
  check() {
    if (this.#retryTimer) this.connect();
    else if (this.#greeted) this.#checkTimer ||= setTimeout(() => this.connect(), CHECK_MS);
  }

  /**
   * Give the connection up, and make another after a while; soon, if the server has said that this page may.
   *
   * @param {string} why
   */
  end(why, soon = false) {
    if (this.#putOut) {
      this.halt(why);
      return;
    }
    this.#drop();
    // Full jitter: pages that lost the same server must not all come back at the same moment.
    const longest = soon ? FIRST_DELAY_MS : Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures++);
    this.#wait(why, performance.now() + Math.random() * longest);
  }

  /** Give up, until somebody says `connect`. @param {string} why */
  halt(why) {
    this.#drop();
    this.#status("ended", why);
  }

  /** Let the socket go. A dead one would take its time to say that it is closed. */
  #drop() {
    for (const timer of [this.#retryTimer, this.#helloTimer, this.#settleTimer, this.#checkTimer]) clearTimeout(timer);
    this.#retryTimer = this.#helloTimer = this.#settleTimer = this.#checkTimer = 0;
    this.#greeted = false;
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#emit("closed", null);
  }

  /** @param {Down} message */
  #take(message) {
    switch (message.type) {
      case "hello":
        this.#greet(message);
        break;
      case "msg":
        if (this.#isNew(message)) this.#emit("msg", message);
        return;
      case "order":
        if (this.#isNew(message)) this.#emit("order", message);
        return;
      case "join":
      case "leave":
      case "name":
        if (this.#isNew(message)) this.#emit("presence", message);
        return;
      case "gap":
        // One that no hello announced begins another log: the ids begin again, and nothing in it is past.
        if (!this.#gapDue) this.#top = this.#newest = 0;
        this.#emit("gap", { unannounced: !this.#gapDue });
        this.#gapDue = false;
        return;
      case "state":
        if (message.log === "up") this.#status("connected", "Connected");
        else this.#status("down", "The server cannot store messages just now. They are delivered as soon as it can.");
    }
    this.#emit(message.type, message);
  }

  /** Whether an entry is not a repeat. The next connection goes on after it. @param {Entry} entry */
  #isNew({ id, token }) {
    if (id <= this.#newest) return false;
    this.#newest = id;
    this.#token = token;
    return true;
  }

  /** @param {Hello} hello */
  #greet({ token, top, recovered }) {
    clearTimeout(this.#helloTimer);
    this.#greeted = true;
    this.#token = token;
    this.#top = top;
    this.#gapDue = this.#returned && !recovered;
    if (!recovered) this.#newest = 0;
    this.#settleTimer = setTimeout(() => {
      this.#failures = 0;
    }, SETTLED_MS);
    this.#status("connected", "Connected");
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

/** @param {{ code: number, reason: string }} event */
function explain({ code, reason }) {
  const because = (/** @type {string} */ otherwise) => (reason || otherwise).replace(/\.?$/, ".");
  switch (code) {
    case 1001:
      return "The server is stopping.";
    case 1006:
      return "The connection was lost.";
    case POLICY_VIOLATION:
      return `The server removed this page: ${because("it was not keeping up")}`;
    case TOO_BIG:
      return "The server found a message too long.";
    case SERVICE_RESTART:
      return sentence(reason || "the server restarts"); // it may be one room alone that was ended
    case TRY_AGAIN_LATER:
      return "The server is busy.";
    case PUT_OUT:
      return `You were put out of this room (${reason || "by the organiser"}).`;
    default:
      return "The connection ended.";
  }
}

/** @param {string} words with or without a full stop */
function sentence(words) {
  return words[0].toUpperCase() + words.slice(1).replace(/\.?$/, ".");
}
