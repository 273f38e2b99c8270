// @ts-check
// The session: a secret of this tab's own making, by which the server knows it again after a reconnect or a reload. A
// browser copies it when a tab is duplicated. The copy must take a new one, because a session's messages are numbered.

import { recall, remember } from "./store.js";

const ANSWER_MS = 150; // how long another tab may take to say that the session is its own

/** Sends itself "replaced" when another tab says, too late, that the session is its own. */
export class Session extends EventTarget {
  secret = "";
  #channel = new BroadcastChannel("threadchat sessions"); // Web Locks would need https
  #tab = fresh(); // tells this tab from its copies
  #away = false; // another page is in its place: the next one in this tab, perhaps, which has the session then

  /** Find the session of this tab, or make one. Returns whether it is the one from before a reload. */
  async claim() {
    this.secret = recall("tab", "session") ?? "";
    const known = this.secret !== "";
    if (!known) this.#replace();
    const replaced = new Promise((resolve) => this.addEventListener("replaced", resolve, { once: true }));
    this.#channel.onmessage = ({ data }) => this.#heard(data);
    addEventListener("pagehide", () => {
      this.#away = true;
    });
    addEventListener("pageshow", () => {
      if (this.#away) this.#ask(); // it comes back from the browser's cache
      this.#away = false;
    });
    if (!known) return false;
    const asked = this.secret;
    this.#ask();
    await Promise.race([replaced, new Promise((resolve) => setTimeout(resolve, ANSWER_MS))]);
    return this.secret === asked;
  }

  #ask() {
    this.#channel.postMessage({ from: this.#tab, asks: this.secret });
  }

  /** @param {{ from: string, asks?: string, to?: string }} message of another tab */
  #heard({ from, asks, to }) {
    if (asks === this.secret && !this.#away) {
      this.#channel.postMessage({ from: this.#tab, to: from });
    } else if (to === this.#tab) {
      this.#replace();
      this.dispatchEvent(new Event("replaced"));
    }
  }

  #replace() {
    this.secret = fresh();
    remember("tab", "session", this.secret);
  }
}

function fresh() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
