// @ts-check
// The list of what happened.

import { byId, make, setText } from "../dom.js";
import { prose } from "./code.js";
import { briefly } from "./evictions.js";
import { emit } from "./signals.js";
import { count } from "./words.js";

/** @import { Happening } from "./types.js" */

const MOST_ROWS = 300;

export class Events {
  #list = byId("log");
  #tip = byId("tip");
  #filters = byId("filter").querySelectorAll("button");

  /** @type {Happening[]} not in the list yet: the picture is paused, or somebody points at the list */
  #waiting = [];
  #paused = false;
  #pointedAt = false;

  constructor() {
    for (const button of this.#filters) button.addEventListener("click", () => this.#filter(button));
    // An item that moves away under the pointer cannot be pressed.
    this.#list.addEventListener("pointerenter", () => {
      this.#pointedAt = true;
    });
    this.#list.addEventListener("pointerleave", () => {
      this.#pointedAt = false;
      this.#next();
    });
  }

  /**
   * Add what has happened since the last picture.
   * @param {Happening[]} events
   */
  add(events) {
    this.#waiting.push(...events);
    this.#waiting.splice(0, this.#waiting.length - MOST_ROWS);
    this.#next();
  }

  /**
   * Show what had happened by `t`; null: everything, from now on as it comes.
   * @param {number | null} t
   */
  upTo(t) {
    this.#paused = t !== null;
    if (t === null) this.#next();
    else this.#show((event) => event.t <= t);
    for (const item of this.#list.querySelectorAll("li")) item.hidden = t !== null && Number(item.dataset.t) > t;
  }

  clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
  }

  #next() {
    if (!this.#paused && !this.#pointedAt) this.#show(() => true);
    const held = this.#pointedAt && !this.#paused ? this.#waiting.length : 0;
    const tip = this.#list.childElementCount ? "Press a message to follow its journey." : "Nothing yet.";
    setText(this.#tip, held ? `${count(held)} more come when you leave the list.` : tip);
  }

  /** @param {(event: Happening) => boolean} isDue */
  #show(isDue) {
    const due = this.#waiting.filter(isDue);
    if (!due.length) return;
    this.#waiting = this.#waiting.filter((event) => !isDue(event));
    this.#list.prepend(...due.map((event) => this.#makeItem(event)).reverse());
    while (this.#list.childElementCount > MOST_ROWS) this.#list.lastChild?.remove();
  }

  /** @param {Happening} event */
  #makeItem(event) {
    const at = make("time", {}, `${event.t.toFixed(1)} s`);
    return make(
      "li",
      { "data-kind": event.kind, "data-t": event.t },
      event.kind === "message" ? this.#makeMessage(event, at) : make("div", {}, at, makeChange(event)),
    );
  }

  /**
   * @param {Happening} event
   * @param {HTMLElement} at
   */
  #makeMessage(event, at) {
    return make(
      "button",
      { type: "button", onclick: () => emit(this.#list, "open-message", event) },
      at,
      make("span", { class: "from" }, make("span", { class: "unseen" }, "client "), `${event.client}`),
      make("span", { class: "text" }, event.text ?? ""),
    );
  }

  /** @param {HTMLButtonElement} chosen */
  #filter(chosen) {
    for (const button of this.#filters) button.setAttribute("aria-pressed", String(button === chosen));
    this.#list.dataset.show = chosen.dataset.show; // for the style sheet
  }
}

/**
 * A client that joined, left or was evicted, or what became of a learner's hub, or of the store.
 * @param {Happening} event
 */
function makeChange(event) {
  const { kind, client, name, reason } = event;
  if (kind === "hub" || kind === "store") return make("span", { class: "text" }, ...prose(event.text ?? ""));
  const why = kind === "evicted" ? briefly(event) : reason;
  const who = `client ${client}${name ? `, ${name},` : ""} `;
  return make("span", { class: "text" }, who, make("b", {}, kind), why ? `: ${why}` : "");
}
