// @ts-check
// What a step of the tour may do while it shows something: have the server act, wait for what the pictures tell, and
// point at threads and channels in the drawing. It undoes what it did at the end, however it ends.

import { act, ask } from "./server.js";

/** @import { Client, Happening, Journey, Picture, Source } from "./types.js" */

const JOURNEY_MS = 200; // between two questions for a journey that is not over
const JOURNEY_TIMES = 25; // that the server is asked for it

/** Why a show ends before its time, if nothing went wrong: the reader goes away. */
export class Left extends Error {}

/**
 * What the reader is told to look for, with what tells that it is there.
 * @typedef {{ words: string, test: (picture: Picture) => unknown, seen: boolean }} Sign
 */

export class Show {
  /** @type {Picture} the newest */
  picture;

  /** @type {Set<string>} */
  #points = new Set();
  #onPoints;

  /** @type {Sign[]} */
  signs = [];

  /** @type {Set<{ test: (picture: Picture) => any, resolve: (found: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Set();

  /** @type {[action: string, details: object][]} what undoes what was done, the latest first */
  #undoing = [];

  /** @type {Error | null} */
  #stopped = null;

  /**
   * @param {Picture} picture
   * @param {() => void} onPoints is called when it points at something else
   */
  constructor(picture, onPoints) {
    this.picture = picture;
    this.#onPoints = onPoints;
  }

  /** The names of the threads and channels that the drawing points at. */
  get points() {
    return this.#points;
  }

  set points(names) {
    this.#points = names;
    this.#onPoints();
  }

  /**
   * A picture has come.
   * @param {Picture} picture
   */
  see(picture) {
    this.picture = picture;
    for (const sign of this.signs) sign.seen ||= Boolean(sign.test(picture));
    for (const waiting of this.#waiting) {
      const found = waiting.test(picture);
      if (!found) continue;
      this.#waiting.delete(waiting);
      waiting.resolve(found);
    }
  }

  /**
   * End it: what waits, and what begins to wait, throws this error.
   * @param {Error} error
   */
  stop(error) {
    this.#stopped = error;
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting.clear();
    this.undo();
  }

  /** Have the server undo what was done. */
  undo() {
    for (const [action, details] of this.#undoing.splice(0)) act(action, details).catch(() => {}); // as far as it can
  }

  /**
   * Have the server do something. `undoing`, if given, undoes it at the end.
   *
   * @param {string} action
   * @param {object} [details]
   * @param {[action: string, details: object]} [undoing]
   */
  async act(action, details = {}, undoing) {
    if (this.#stopped) throw this.#stopped;
    if (undoing) this.#undoing.unshift(undoing);
    await act(action, details);
  }

  /**
   * Let all talkers together say so many messages a second, until the end.
   * @param {number} pace
   */
  async setPace(pace) {
    const before = this.picture.pace ?? 0;
    await this.act("pace", { messages_a_second: pace }, ["pace", { messages_a_second: before }]);
  }

  /**
   * Wait for a picture for which `test` returns something, and return that.
   *
   * @template T
   * @param {(picture: Picture) => T | undefined | null | false | 0} test
   * @returns {Promise<T>}
   */
  until(test) {
    if (this.#stopped) return Promise.reject(this.#stopped);
    const found = new Promise((resolve, reject) => this.#waiting.add({ test, resolve, reject }));
    found.catch(() => {}); // a show that has ended does not wait for it any more
    return found;
  }

  /**
   * Wait for an event.
   * @param {(event: Happening) => boolean} test
   */
  event(test) {
    return this.until(({ events }) => events.find(test));
  }

  /**
   * Add clients of a kind, and wait until they have joined. Returns their numbers.
   *
   * @param {string} kind
   * @param {number} count
   * @returns {Promise<number[]>}
   */
  async add(kind, count) {
    /** @type {number[]} */
    const joined = [];
    const all = this.until(({ events }) => {
      const these = events.filter((event) => event.kind === "joined" && event.name === `${kind} bot`);
      joined.push(...these.map(({ client }) => client));
      return joined.length >= count && joined;
    });
    await this.act("add", { kind, count });
    return all;
  }

  /**
   * Let a client leave, with a goodbye.
   * @param {number} client
   */
  async remove(client) {
    const gone = this.event(({ kind, client: number }) => kind === "left" && number === client);
    await this.act("remove", { client });
    await gone;
  }

  /**
   * A client as it is in the newest picture.
   * @param {number} number
   * @returns {Client | undefined}
   */
  client(number) {
    return this.picture.clients.find((client) => client.number === number);
  }

  /**
   * The journey of a message, once it has reached some client. Throws if the server does not know.
   * @param {number} id
   * @returns {Promise<Journey>}
   */
  async journey(id) {
    for (let times = 1; ; times++) {
      /** @type {Journey} */
      const journey = await ask(`inspect/message/${id}`, "The server has forgotten this message.");
      if (times >= JOURNEY_TIMES || journey.deliveries.some(({ written }) => written !== null)) return journey;
      await this.wait(JOURNEY_MS);
    }
  }

  /**
   * Let the reader look.
   * @param {number} ms
   */
  async wait(ms) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (this.#stopped) throw this.#stopped;
  }
}

/**
 * The number of the line of a function's source that has this text; 0 if there is none.
 *
 * @param {string} file
 * @param {string} name of the function
 * @param {string} text
 */
export async function lineWith(file, name, text) {
  const query = new URLSearchParams({ file, function: name });
  /** @type {Source} */
  const source = await ask(`inspect/source?${query}`, "There is no such source.");
  const index = source.lines.findIndex((line) => line.includes(text));
  return index < 0 ? 0 : source.first_line + index;
}
