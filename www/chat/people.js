// @ts-check
// Who is here: a button with their number, and a list of their names.

import { byId, make, setText } from "../dom.js";

/** @import { Hello, Presence } from "./types.js" */

export const CROWD = 25; // more people than this are a number, and their coming and going is not told
const COLOURS = 12; // as in colours.css
const REMEMBERED = 1000; // people whose last name is remembered

/** The number of a name's colour: the same on every page. @param {string} name */
export function colourOf(name) {
  let hash = 2166136261; // FNV-1a
  for (const letter of name.toLowerCase()) hash = Math.imul(hash ^ Number(letter.codePointAt(0)), 16777619);
  return (hash >>> 8) % COLOURS;
}

export class People {
  me = ""; // the name of this page's own person
  #by = "";
  #count = 0;
  /** @type {Map<string, string>} names by the tag of the session; a large room's are not all known */
  #here = new Map();
  /** @type {Map<string, string>} the name that each session had last, here or not; the newest at the end */
  #seen = new Map();
  #button = byId("here", HTMLButtonElement);
  #list = byId("people-list");

  get isCrowd() {
    return this.#count > CROWD;
  }

  /** The names of the others who are known to be here, in the order of the alphabet. */
  get others() {
    const names = [...this.#here].filter(([by]) => by !== this.#by).map(([, name]) => name);
    return names.sort((one, other) => one.localeCompare(other));
  }

  /**
   * The tag of the session that has this name, here or, if nobody here has it, last.
   * @param {string} name
   */
  tagOf(name) {
    const wanted = name.replace(/^@/, "").toLowerCase();
    const tag = [...this.#here, ...[...this.#seen].reverse()].find(([, each]) => each.toLowerCase() === wanted)?.[0];
    if (tag === undefined) throw new Error(`Nobody here is called ${name}.`);
    return tag;
  }

  /** Who is here, in words. */
  get words() {
    if (this.isCrowd) return `${this.#count} people are here.`;
    return `Here: ${[`${this.me} (you)`, ...this.others].join(", ")}`;
  }

  /** @param {{ by: string }} person */
  isMe({ by }) {
    return by === this.#by;
  }

  /** @param {Hello} hello */
  hello({ name, by, count, here }) {
    this.me = name;
    this.#by = by;
    this.#count = count;
    this.#here = new Map(here.map((person) => [person.by, person.name]));
    this.#render();
  }

  /**
   * The name that a person had until this entry, or "" if it is not known.
   * @param {{ name: string, by: string }} entry
   */
  nameBefore({ name, by }) {
    const before = this.#seen.get(by) ?? this.#here.get(by) ?? "";
    this.#seen.delete(by);
    this.#seen.set(by, name);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.keys().next().value ?? ""); // the oldest
    return before;
  }

  /** Somebody came, left or changed names. @param {Presence} entry */
  changed({ type, name, by }) {
    if (type === "leave") {
      this.#here.delete(by);
      this.#count = Math.max(this.#count - 1, 0);
    } else {
      if (type === "join" && !this.#here.has(by)) this.#count++;
      this.#here.set(by, name);
      if (by === this.#by) this.me = name;
    }
    this.#render();
  }

  #render() {
    setText(this.#button, `${this.#count} here`);
    this.#button.hidden = false;
    if (this.isCrowd) {
      this.#list.replaceChildren(make("li", {}, `${this.#count} people are here.`));
      return;
    }
    const me = this.#here.has(this.#by) ? [make("li", {}, nameOf(this.me), " (you)")] : [];
    this.#list.replaceChildren(...me, ...this.others.map((name) => make("li", {}, nameOf(name))));
  }
}

/** A name in its colour. @param {string} name */
export const nameOf = (name) => make("span", { class: "name", "data-colour": colourOf(name) }, name);
