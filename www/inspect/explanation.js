// @ts-check
// The one place that explains: what somebody points at, or why a client was evicted, or else what goes on.

import { byId, find, make, setText } from "../dom.js";
import { explain } from "./evictions.js";
import { hintOf, hintedAt } from "./hints.js";
import { fullness } from "./kernel.js";
import { capitalized, count, duration, plural } from "./words.js";

/** @import { Client, Happening, Picture } from "./types.js" */

const READING_MS = 8000; // a hint stays this long, then the narration comes back
const EXPLAINED_MS = 25_000; // an explanation of an eviction stays this long
const MOST_NAMED = 3; // evicted clients; of more there is only the number

const FILLING = 0.6; // of a buffer of the kernel's: worth telling

export class Explanation {
  #hint = byId("hint");
  #why = byId("why");
  #aloud = byId("aloud"); // for screen readers

  /** @type {Element | null} an element with a hint that is pointed at or has the focus */
  #pointed = null;

  /** @type {Element | null} one that was pressed: what comes of it matters more than its hint, while it is pointed at */
  #pressed = null;
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
      if (element !== this.#pressed) this.#pressed = null;
      if (element !== this.#pointed || element) this.#point(this.#pressed ? null : element);
    };
    document.addEventListener("pointermove", onMove, { passive: true });
    document.addEventListener("pointerdown", onMove, { passive: true });
    const onClick = (/** @type {MouseEvent} */ { target }) => {
      if (!(target instanceof Element && target.closest("button"))) return;
      if (target.closest("#do, #tour")) this.clear(); // what comes of it is to be seen
      this.#pressed = hintedAt(target);
      this.#point(null);
    };
    document.addEventListener("click", onClick, { capture: true }); // before the button goes, which some do then
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
    if (!evictions.length) return;
    const groups = explain([...this.#evicted.values()]).map((group) => ({ ...group, title: entitle(group.events) }));
    byId("causes").replaceChildren(
      ...groups.map(({ title, told, others, chain }) =>
        make(
          "div",
          {},
          make("h2", {}, title),
          make("p", {}, `: ${told}. ${others}`),
          make("ol", {}, ...chain.map((step) => make("li", {}, step))),
        ),
      ),
    );
    this.#aloud.textContent = groups.map(({ title, told }) => `${title}: ${told}.`).join(" ");
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
function narrate({ clients, hub, channels, log_writer: writer, log_reader: reader }) {
  if (writer?.down) {
    return (
      `The store is down, and the log writer tries again and again. Meanwhile said fills, ${count(writer.said.pending)} ` +
      `of ${count(writer.said.capacity)}; once it is full, the read pumps read no more. Nothing is lost.`
    );
  }
  if (reader?.down) {
    return "The store cannot be read, and the log reader tries again and again. Nobody sees anything new, and nothing is lost.";
  }
  if (hub.paused && writer) {
    return (
      `You are holding the hub. Its log is ${plural(writer.behind, "entry", "entries")} ahead of it. When that is a ` +
      "channel’s worth, the read pumps wait for the hub and read no more, and TCP slows the senders down."
    );
  }
  if (hub.paused) {
    const { pending, capacity } = channels.broadcast;
    const fill = pending < capacity ? `has ${count(pending)} of ${count(capacity)}. Once it is full,` : "is full:";
    return (
      `You are holding the hub. Its channel broadcast ${fill} ` +
      "the read pumps read no more, and TCP slows the senders down."
    );
  }
  return (
    tellSlowest(clients) ??
    `${hub.clients ? `${plural(hub.clients, "client")}, two threads each.` : AT_WORK} ` +
      `A message goes from a read pump ${writer ? "through the log writer and the store " : ""}to the hub, into every ` +
      "send channel, and through the write pumps to the peers. " +
      "Press anything to see what it does and its code."
  );
}

/**
 * How far it has come with the client whose peer takes least; null if all goes well.
 * @param {Client[]} clients
 */
function tellSlowest(clients) {
  const present = clients.filter(({ evicted }) => !evicted);
  const [stuck] = present
    .filter(({ write_pump: pump, away }) => pump.state === "stuck" || away)
    .sort((a, b) => b.send.pending - a.send.pending);
  if (stuck) {
    const { number, send, waits } = stuck;
    const waited = waits ? `A frame has waited ${duration(waits)} for the peer of client ${number}` : `Client ${number} is stuck`;
    return (
      `${waited}: its write pump is stuck, and its send channel fills, ` +
      `${count(send.pending)} of ${count(send.capacity)}. Nobody waits for it.`
    );
  }
  const [held] = present
    .filter(({ kernel }) => fullness(kernel) >= FILLING)
    .sort((a, b) => fullness(b.kernel) - fullness(a.kernel));
  if (held) {
    return (
      `The kernel holds ${plural(held.kernel?.bytes ?? 0, "byte")} that the peer of client ${held.number} has not taken. ` +
      "When its buffer is full, a frame waits, and the write pump with it."
    );
  }
  const [unread] = present
    .filter(({ unread }) => fullness(unread) >= FILLING)
    .sort((a, b) => fullness(b.unread) - fullness(a.unread));
  if (!unread) return null;
  return (
    `At its own end, ${plural(unread.unread?.bytes ?? 0, "byte")} wait for client ${unread.number} to read them. ` +
    "The server cannot see that: to it, the peer has taken them."
  );
}

/** @param {Happening[]} events */
function entitle(events) {
  const named = events.map(({ client, name }) => `client ${client}${name ? ` (${name})` : ""}`);
  const which = events.length <= MOST_NAMED ? named.join(", ") : plural(events.length, "client");
  return `${capitalized(which)} ${events.length === 1 ? "was" : "were"} evicted`;
}
