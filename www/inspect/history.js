// @ts-check
// The last minute: the pictures, and what each thread and channel did in it.

/** @import { Channel, Client, Eviction, Happening, Picture, Thread } from "./types.js" */

export const KEPT_SECONDS = 60;
const GHOST_SECONDS = 12; // an evicted client stays in the drawing this long
const MOST_REMEMBERED = 500; // clients, before those that have left are forgotten

/** @typedef {[t: number, state: string, on: string]} Change a thread has been in this state since t */
/** @typedef {[t: number, pending: number, capacity: number]} Fill how full a channel was at t */
/** @typedef {{ t: number, text: string, fullest: number }} Kept a picture; `fullest`: its fullest send channel, 0 to 1 */

export class History {
  /**
   * Pictures are kept as text, which takes a tenth of the memory of the objects. A picture is parsed again when
   * somebody goes back to it.
   * @type {Kept[]}
   */
  #pictures = [];

  #epoch = ""; // of the room's log: each room has another

  /** @type {Map<string, Change[]>} by the thread's name; the changes alone */
  #threads = new Map();

  /** @type {Map<string, Fill[]>} by the channel's name */
  #channels = new Map();

  /** @type {Map<number, Client>} each client as it was drawn last, by its number */
  #lastSeen = new Map();

  /** @type {Eviction[]} oldest first */
  evictions = [];

  /**
   * Add a picture. Before the first one of another room or server everything is forgotten.
   *
   * @param {string} text the picture's JSON
   * @returns {Picture}
   */
  add(text) {
    const picture = /** @type {Picture} */ (JSON.parse(text));
    const { t } = picture;
    if (this.precedes(picture)) this.forget();
    this.#epoch = picture.log.epoch;
    let fullest = 0;
    for (const client of picture.clients) {
      this.#noteThread(t, client.read_pump);
      this.#noteThread(t, client.write_pump);
      this.#noteChannel(t, client.send);
      this.#lastSeen.set(client.number, client);
      if (client.send.capacity) fullest = Math.max(fullest, client.send.pending / client.send.capacity);
    }
    this.#noteThread(t, picture.hub.thread);
    if (picture.log_writer) {
      this.#noteThread(t, picture.log_writer.thread);
      this.#noteChannel(t, picture.log_writer.said);
    }
    if (picture.log_reader) this.#noteThread(t, picture.log_reader.thread);
    for (const channel of Object.values(picture.channels)) this.#noteChannel(t, channel);
    for (const event of picture.events) {
      if (event.kind === "evicted") this.#noteEviction(t, event);
    }
    this.#pictures.push({ t, text, fullest });
    this.#trim(t - KEPT_SECONDS);
    return picture;
  }

  /**
   * Whether the picture is of another room than those before it, or of a new server.
   * @param {Picture} picture
   */
  precedes({ t, log }) {
    return t < this.newest || (this.#epoch !== "" && log.epoch !== this.#epoch);
  }

  /** How many pictures there are. */
  get length() {
    return this.#pictures.length;
  }

  /** The time of the newest picture; 0 if there is none. */
  get newest() {
    return this.#pictures.at(-1)?.t ?? 0;
  }

  /**
   * @param {number} index of a picture
   * @returns {Picture}
   */
  picture(index) {
    return JSON.parse(this.#pictures[index].text);
  }

  /**
   * The index of the last picture that is not after `t`.
   * @param {number} t
   */
  indexAt(t) {
    let index = this.#pictures.length - 1;
    while (index > 0 && this.#pictures[index].t > t) index--;
    return index;
  }

  /**
   * Each picture's time and fullest channel, oldest first.
   * @returns {readonly Kept[]}
   */
  summary() {
    return this.#pictures;
  }

  /**
   * The clients evicted shortly before `t`, the latest first.
   * @param {number} t
   */
  ghosts(t) {
    return this.evictions.filter((eviction) => eviction.t <= t && t - eviction.t < GHOST_SECONDS).reverse();
  }

  /**
   * @param {string} name of a thread
   * @returns {readonly Change[]}
   */
  threadChanges(name) {
    return this.#threads.get(name) ?? [];
  }

  /**
   * @param {string} name of a channel
   * @returns {readonly Fill[]}
   */
  channelFills(name) {
    return this.#channels.get(name) ?? [];
  }

  /**
   * @param {number} t
   * @param {Thread} thread
   */
  #noteThread(t, { name, state, on, for: since }) {
    const changes = this.#threads.get(name);
    const last = changes?.at(-1);
    if (!changes || !last) this.#threads.set(name, [[t - Math.min(since, KEPT_SECONDS), state, on]]);
    else if (last[1] !== state || last[2] !== on) changes.push([t, state, on]);
  }

  /**
   * @param {number} t
   * @param {Channel} channel
   */
  #noteChannel(t, { name, pending, capacity }) {
    const fills = this.#channels.get(name);
    if (!fills) this.#channels.set(name, [[t, pending, capacity]]);
    else fills.push([t, pending, capacity]);
  }

  /**
   * @param {number} t
   * @param {Happening} event
   */
  #noteEviction(t, event) {
    const { client: number, name } = event;
    const before = this.#lastSeen.get(number);
    this.evictions.push({ t, number, name: name ?? before?.name ?? `client ${number}`, event, before });
  }

  /** @param {number} oldest the time before which everything is dropped */
  #trim(oldest) {
    dropBefore(this.#pictures, (picture) => picture.t >= oldest);
    dropBefore(this.evictions, (eviction) => eviction.t >= oldest);
    for (const [name, fills] of this.#channels) {
      if (!dropBefore(fills, ([t]) => t >= oldest)) this.#channels.delete(name);
    }
    for (const changes of this.#threads.values()) {
      while (changes.length > 1 && changes[1][0] < oldest) changes.shift(); // the state at `oldest` began before it
    }
    if (this.#lastSeen.size > MOST_REMEMBERED) this.#forgetThoseWhoLeft();
  }

  /** A client that left is forgotten once none of its pictures is kept. */
  #forgetThoseWhoLeft() {
    const drawn = new Set([...this.#channels.keys()].map((name) => Number(name.replace("send-", ""))));
    for (const number of this.#lastSeen.keys()) if (!drawn.has(number)) this.#lastSeen.delete(number);
    for (const name of this.#threads.keys()) {
      const number = Number(/^(?:read|write)Pump-(\d+)$/.exec(name)?.[1]); // and not that of the hub of a room
      if (number && !drawn.has(number)) this.#threads.delete(name);
    }
  }

  forget() {
    this.#epoch = "";
    this.#pictures = [];
    this.#threads.clear();
    this.#channels.clear();
    this.#lastSeen.clear();
    this.evictions = [];
  }
}

/**
 * Drop what comes before the first entry that is `fresh`. Returns whether there is such an entry; if not, nothing is
 * dropped.
 *
 * @template Entry
 * @param {Entry[]} list
 * @param {(entry: Entry) => boolean} fresh
 */
function dropBefore(list, fresh) {
  const keep = list.findIndex(fresh);
  if (keep > 0) list.splice(0, keep);
  return keep !== -1;
}
