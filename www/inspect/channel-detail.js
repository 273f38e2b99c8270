// @ts-check
// What is behind a channel: the source at one of its ends, the threads at it, and how full it was.

import { draw, make, setText } from "../dom.js";
import { SourceView } from "./source.js";
import { makeStrip, stateItem, stripX } from "./thread-detail.js";
import { capitalized, count, tellFill } from "./words.js";

/** @import { History } from "./history.js" */
/** @import { Sources } from "./source.js" */
/** @import { Channel, Client, Picture, Thread } from "./types.js" */

const MOST_THREADS = 8; // in the list

/** @typedef {"send" | "receive"} End */

/**
 * The file and the function that is called at an end of a channel, to be shown while no thread is there.
 * @type {Record<"toClient" | "toHub" | "toWriter" | "toHubFromLog", Record<End, [file: string, name: string]>>}
 */
const CALLS = {
  toClient: { send: ["channel.py", "Channel.send_what_fits"], receive: ["outbox.py", "Outbox.receive_in_turn"] },
  toHub: { send: ["channel.py", "Channel.send"], receive: ["channel.py", "select"] },
  toWriter: { send: ["stored_room.py", "StoredRoom.say"], receive: ["log/writer.py", "LogWriter._write_what_waits"] },
  toHubFromLog: { send: ["stored_room.py", "StoredRoom._pass_on"], receive: ["channel.py", "select"] },
};

/** @param {string} channel its name */
const isToClient = (channel) => channel.startsWith("send-");

/**
 * Which calls are those at the ends of a channel.
 *
 * @param {string} channel its name
 * @param {Picture} picture
 */
function callsAt(channel, { log_writer: writer }) {
  if (isToClient(channel)) return CALLS.toClient;
  if (channel === "said") return CALLS.toWriter;
  return channel === "broadcast" && writer ? CALLS.toHubFromLog : CALLS.toHub;
}

export class ChannelDetail {
  kind = "channel";
  lead = make("p", { class: "lead" });

  /** @type {Client | undefined} the client whose send channel it is */
  client;

  /** @type {End} the end whose source is shown */
  #end;
  #buttons = { send: this.#makeButton("send", "who sends"), receive: this.#makeButton("receive", "who receives") };
  #history;
  #source;
  #threads = make("ul", { class: "changes" });
  #threadsDrawn = "";
  #strip = makeStrip();
  #note = make("p", { class: "note" });

  /**
   * @param {string} name the channel's
   * @param {History} history
   * @param {Sources} sources
   */
  constructor(name, history, sources) {
    this.name = name;
    this.title = `channel ${name}`;
    this.#history = history;
    this.#source = new SourceView(sources);
    this.#end = isToClient(name) ? "receive" : "send";
    const ends = { class: "ends", role: "group", "aria-label": "Show the source of" };
    this.body = make(
      "div",
      { class: "detail-body of-thread" },
      ...this.#source.elements,
      make(
        "div",
        { class: "aside" },
        make("div", ends, this.#buttons.send, this.#buttons.receive),
        make("h3", {}, "Threads at it now"),
        this.#threads,
        make("h3", {}, "How full, in the last minute"),
        this.#strip,
        this.#note,
      ),
    );
    this.#renderButtons();
  }

  /** @param {Picture} picture */
  render(picture) {
    const { channel, client } = findChannel(picture, this.name);
    this.client = client;
    if (!channel) {
      setText(this.lead, "It is not in this picture.");
      return;
    }
    setText(this.lead, capitalized(tellFill(channel)));
    const threads = threadsAt(picture, this.name);
    this.#renderThreads(threads);
    const thread = threads.find(({ state }) => (state === "sending") === (this.#end === "send"));
    if (thread?.stack.length) {
      this.#source.followStack(thread.stack);
    } else {
      const [file, name] = callsAt(this.name, picture)[this.#end];
      this.#source.follow(file, 0, name);
    }
    this.#renderFills(picture.t, channel.capacity);
  }

  close() {}

  /**
   * @param {End} end
   * @param {string} words
   */
  #makeButton(end, words) {
    const onclick = () => {
      this.#end = end;
      this.#source.hurry();
      this.#renderButtons();
    };
    return make("button", { type: "button", onclick }, words);
  }

  #renderButtons() {
    for (const [end, button] of Object.entries(this.#buttons)) {
      button.setAttribute("aria-pressed", String(end === this.#end));
    }
  }

  /** @param {Thread[]} threads */
  #renderThreads(threads) {
    const drawn = threads.map(({ name, state }) => `${name} ${state}`).join() || "none";
    if (this.#threadsDrawn === drawn) return;
    this.#threadsDrawn = drawn;
    const items = threads
      .slice(0, MOST_THREADS)
      .map(({ name, state }) => stateItem(state, make("b", {}, name), make("span", {}, state)));
    if (!items.length) items.push(make("li", {}, "none that is drawn"));
    this.#threads.replaceChildren(...items);
  }

  /**
   * @param {number} now the picture's time
   * @param {number} capacity
   */
  #renderFills(now, capacity) {
    const fills = this.#history.channelFills(this.name).filter(([t]) => t <= now);
    /** @param {number} t */
    const x = (t) => stripX(t, now).toFixed(1);
    const points = fills.map(([t, pending, capacity]) => {
      const part = capacity ? Math.min(1, pending / capacity) : 0;
      return `${x(t)} ${(25 - 24 * part).toFixed(1)}`;
    });
    const line = points.join("L");
    this.#strip.replaceChildren();
    if (line) {
      this.#strip.append(
        draw("path", { class: "area", d: `M${x(fills[0][0])} 26L${line}L${x(now)} 26z` }),
        draw("path", { class: "line", d: `M${line}` }),
      );
    }
    const most = Math.max(0, ...fills.map(([, pending]) => pending));
    const note = capacity
      ? `At most ${count(most)} of ${count(capacity)}.`
      : "It holds nothing: sender and receiver meet.";
    setText(this.#note, note);
  }
}

/**
 * The threads that wait at a channel. The hub's select waits at all channels into the hub.
 *
 * @param {Picture} picture
 * @param {string} channel its name
 */
function threadsAt({ hub, log_writer: writer, channels, clients }, channel) {
  const own = writer ? [hub.thread, writer.thread] : [hub.thread];
  const all = [...own, ...clients.flatMap(({ read_pump: read, write_pump: write }) => [read, write])];
  return all.filter(({ on, state }) => on === channel || (state === "selecting" && channel in channels));
}

/**
 * @param {Picture} picture
 * @param {string} name
 * @returns {{ channel?: Channel, client?: Client }}
 */
function findChannel({ channels, log_writer: writer, clients }, name) {
  const own = writer ? [...Object.values(channels), writer.said] : Object.values(channels);
  const channel = own.find((channel) => channel.name === name);
  if (channel) return { channel };
  const client = clients.find(({ send }) => send.name === name);
  return { channel: client?.send, client };
}
