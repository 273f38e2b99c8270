// @ts-check
// What the kernel holds between a write pump and its peer: this machine's send buffer and, where the peer is one of the
// demo's clients, the receive buffer of the peer's end too.

import { make, setData } from "../dom.js";
import { hinted } from "./hints.js";
import { plural } from "./words.js";

/** @import { Client, Held } from "./types.js" */

const HIGH = 0.5; // of the buffer, from which on it is drawn in a colour of its own

export class Kernel {
  #sent = makeTrack();
  #arrived = makeTrack();
  #told = "";
  element = make("span", { class: "kernel", role: "img" }, this.#sent.track, this.#arrived.track);

  constructor() {
    hinted(this.element, () => this.#told);
  }

  /** @param {Client} client */
  render({ kernel, unread }) {
    this.element.hidden = !kernel;
    if (!kernel) return;
    fill(this.#sent, kernel);
    this.#arrived.track.hidden = !unread;
    if (unread) fill(this.#arrived, unread);
    const told = tellKernel(kernel, unread);
    if (told === this.#told) return;
    this.#told = told;
    this.element.setAttribute("aria-label", told);
  }
}

/** How full a buffer is, 0 to 1. */
export const fullness = (/** @type {Held | null | undefined} */ held) => (held ? Math.min(1, held.used / held.room) : 0);

function makeTrack() {
  const level = make("i");
  return { track: make("span", { class: "track" }, level), level };
}

/**
 * @param {{ track: HTMLElement, level: HTMLElement }} drawn
 * @param {Held} held
 */
function fill({ track, level }, held) {
  const part = fullness(held);
  const scale = `scaleX(${part.toFixed(2)})`;
  if (level.style.transform !== scale) level.style.transform = scale;
  setData(track, "level", part === 1 ? "full" : part >= HIGH ? "high" : "low");
}

/**
 * @param {Held} kernel
 * @param {Held | null | undefined} unread
 */
function tellKernel(kernel, unread) {
  const per = Math.round(fullness(kernel) * 100);
  const here = `The kernel holds ${plural(kernel.bytes, "byte")} that the peer has not taken; its buffer is ${per} % full.`;
  return unread ? `${here} Not read yet at the other end: ${plural(unread.bytes, "byte")}.` : here;
}
