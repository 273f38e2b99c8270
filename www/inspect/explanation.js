// @ts-check
// The one place that explains: what somebody points at, or why a client was evicted, or else what goes on.

import { byId, find, make, setText } from "../dom.js";
import { hintOf, hintedAt } from "./hints.js";
import { capitalized, count, plural, reasonOf } from "./words.js";

/** @import { Happening, Picture } from "./types.js" */

const READING_MS = 8000; // a hint stays this long, then the narration comes back
const EXPLAINED_MS = 25_000; // an explanation of an eviction stays this long
const MOST_NAMED = 3; // evicted clients; of more there is only the number

const CHAIN = [
  "its peer stopped reading",
  "the kernel’s buffers filled",
  "its write pump got stuck in send",
  "its send channel filled",
  "the hub would have blocked",
  "evicted",
];

export class Explanation {
  #hint = byId("hint");
  #why = byId("why");
  #aloud = byId("aloud"); // for screen readers

  /** @type {Element | null} an element with a hint that is pointed at or has the focus */
  #pointed = null;
  #pointedTimer = 0;

  /** @type {Map<number, Happening>} the evictions that are explained, by the client's number */
  #evicted = new Map();
  #evictedTimer = 0;

  /** @type {Picture | null} as it was drawn last */
  #picture = null;

  constructor() {
    find(this.#why, "button").addEventListener("click", () => this.clear());
    const onMove = (/** @type {PointerEvent} */ { target }) => {
      const element = hintedAt(target);
      if (element !== this.#pointed || element) this.#point(element);
    };
    document.addEventListener("pointermove", onMove, { passive: true });
    document.addEventListener("focusin", ({ target }) => {
      if (target instanceof Element && target.matches(":focus-visible")) this.#point(hintedAt(target));
    });
    this.#draw();
  }

  /** @param {Picture} picture */
  render(picture) {
    this.#picture = picture;
    this.#draw();
  }

  /**
   * Explain these evictions, and those of just before.
   * @param {Happening[]} evictions
   */
  evicted(evictions) {
    for (const event of evictions) this.#evicted.set(event.client, event);
    const all = [...this.#evicted.values()];
    const last = all.at(-1);
    if (!evictions.length || !last) return;
    const named = all.map(({ client, name }) => `client ${client}${name ? ` (${name})` : ""}`);
    const which = all.length <= MOST_NAMED ? named.join(", ") : plural(all.length, "client");
    const title = `${capitalized(which)} ${all.length === 1 ? "was" : "were"} evicted`;
    const reason = reasonOf(last.reason);
    const told = reason ? `: ${reason}.` : ".";
    find(this.#why, "h2").textContent = title;
    find(this.#why, "p").textContent = `${told} Nobody else waited.`;
    find(this.#why, "ol").replaceChildren(...CHAIN.map((step) => make("li", {}, step)));
    this.#aloud.textContent = `${title}${told}`;
    this.#pointed = null; // this is more urgent than what is pointed at
    clearTimeout(this.#evictedTimer);
    this.#evictedTimer = setTimeout(() => this.clear(), EXPLAINED_MS);
    this.#draw();
  }

  /** Explain no evictions any more. */
  clear() {
    clearTimeout(this.#evictedTimer);
    this.#evicted.clear();
    this.#draw();
  }

  /**
   * Show an element's hint. After a while the viewer has read it and wants to know what goes on.
   * @param {Element | null} element
   */
  #point(element) {
    this.#pointed = element;
    clearTimeout(this.#pointedTimer);
    if (element) this.#pointedTimer = setTimeout(() => this.#point(null), READING_MS);
    this.#draw();
  }

  #draw() {
    const hint = this.#pointed?.isConnected && this.#picture ? hintOf(this.#pointed) : "";
    const explaining = !hint && this.#evicted.size > 0;
    this.#why.hidden = !explaining;
    this.#hint.hidden = explaining;
    setText(this.#hint, hint || (this.#picture ? narrate(this.#picture) : AT_WORK));
  }
}

const AT_WORK = "A chat server at work, drawn as it runs.";

/**
 * What is most worth knowing about a picture.
 * @param {Picture} picture
 */
function narrate({ clients, hub, channels }) {
  if (hub.paused) {
    const { pending, capacity } = channels.broadcast;
    const fill = pending < capacity ? `has ${count(pending)} of ${count(capacity)}. Once it is full,` : "is full:";
    return (
      `You are holding the hub. Its channel broadcast ${fill} ` +
      "the read pumps read no more, and TCP slows the senders down."
    );
  }
  const [stuck] = clients
    .filter(({ write_pump: pump, away, evicted }) => !evicted && (pump.state === "stuck" || away))
    .sort((a, b) => b.send.pending - a.send.pending);
  if (stuck) {
    const { number, send } = stuck;
    return (
      `The peer of client ${number} does not read: its write pump is stuck, and its send channel fills, ` +
      `${count(send.pending)} of ${count(send.capacity)}. Nobody waits for it.`
    );
  }
  return (
    `${hub.clients ? `${plural(hub.clients, "client")}, two threads each.` : AT_WORK} ` +
    "Messages go from left to right: read pump, hub, every send channel, write pump. " +
    "Point at anything to learn what it is; press it to see its code."
  );
}
