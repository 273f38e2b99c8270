// @ts-check
// Which room is shown: the choice among those that are there, the page's address, and what is said of a room that ended.

import { byId, find, make, setText } from "../dom.js";
import { emit } from "./signals.js";
import { count, plural } from "./words.js";

/** @import { Gone, Picture, RoomsTold } from "./types.js" */

export const LOBBY = "lobby"; // the room that is always there

/** The room that the page's address names. */
const ofAddress = () => new URLSearchParams(location.search).get("room") || LOBBY;

/** @param {string} room */
const pageOf = (room) => location.pathname + (room === LOBBY ? "" : `?room=${encodeURIComponent(room)}`);

export class Rooms {
  #which = byId("which");
  #choice = byId("room", HTMLSelectElement);
  #gone = byId("gone");
  #words = find(this.#gone, "p");

  /** @type {RoomsTold} */
  #told = { count: 1, fullest: [] };
  #drawn = "";
  #seen = false; // whether there was a picture of the room

  /** The room that is shown, or would be if it were there. */
  shown = ofAddress();

  constructor() {
    this.#choice.addEventListener("change", () => emit(this.#choice, "show-room", this.#choice.value));
    find(this.#gone, "button").addEventListener("click", () => emit(this.#gone, "show-room", LOBBY));
    window.addEventListener("popstate", () => {
      if (ofAddress() !== this.shown) emit(this.#choice, "show-room", ofAddress());
    });
    this.#render();
  }

  /** Whether the room that is shown is not there. */
  get isGone() {
    return !this.#gone.hidden;
  }

  /**
   * Show another room from now on.
   * @param {string} room
   */
  enter(room) {
    this.shown = room;
    if (ofAddress() !== room) window.history.pushState(null, "", pageOf(room));
    this.#seen = false;
    this.#setGone(false);
    this.#render();
  }

  /**
   * Take what came from the server.
   * @param {Picture | Gone} came
   */
  see(came) {
    if (came.room !== this.shown) {
      this.shown = came.room; // the server's spelling of the name
      window.history.replaceState(null, "", pageOf(came.room) + location.hash);
    }
    this.#told = came.rooms ?? this.#told;
    this.#setGone("gone" in came);
    this.#seen ||= !("gone" in came);
    if ("gone" in came) {
      const was = `The room ${came.room} has ended. What you see is the last picture of it.`;
      const isNot = `There is no room ${came.room} at present. It will be drawn when somebody enters it.`;
      setText(this.#words, this.#seen ? was : isNot);
    }
    this.#render();
  }

  /** @param {boolean} gone */
  #setGone(gone) {
    this.#gone.hidden = !gone;
    document.body.toggleAttribute("data-ended", gone); // for the style sheet
  }

  #render() {
    const { shown } = this;
    const drawn = JSON.stringify([shown, this.#told]);
    if (this.#drawn === drawn) return; // a list that is open must stay as it is
    this.#drawn = drawn;
    const { fullest, count: all } = this.#told;
    const others = fullest.some(({ name }) => name === shown) ? fullest : [{ name: shown, clients: null }, ...fullest];
    this.#which.hidden = others.length < 2;
    this.#choice.replaceChildren(...optionsOf(others), ...(all > fullest.length ? [moreOf(all - fullest.length)] : []));
    this.#choice.value = shown;
    const chat = shown === LOBBY ? "./" : `r/${encodeURIComponent(shown)}`;
    for (const link of document.querySelectorAll("a.to-chat")) link.setAttribute("href", chat);
    const trace = shown === LOBBY ? "inspect/trace" : `inspect/trace?room=${encodeURIComponent(shown)}`;
    byId("trace").setAttribute("href", trace);
  }
}

/** @param {{ name: string, clients: number | null }[]} rooms */
const optionsOf = (rooms) =>
  rooms.map(({ name, clients }) =>
    make("option", { value: name }, clients === null ? name : `${name} (${plural(clients, "client")})`),
  );

/** @param {number} others */
const moreOf = (others) => make("option", { disabled: true }, `and ${count(others)} more: /inspect?room=NAME`);
