// @ts-check
// The controls of time: pause, step, the scrubber and the strip of the last minute above it.

import { byId, draw, setText } from "../dom.js";
import { emit } from "./signals.js";

/** @import { History } from "./history.js" */
/** @import { Picture } from "./types.js" */

const STRIP_EVERY = 3; // pictures to one drawing of the strip
const PAUSED_NOW = 0.05; // seconds; a picture older than this was stepped back to

export class Transport {
  #history;
  #pause = byId("pause", HTMLButtonElement);
  #scrubber = byId("scrubber", HTMLInputElement);
  #when = byId("when");
  #strip = byId("minute", SVGSVGElement);
  #drawn = 0; // pictures

  /** @param {History} history */
  constructor(history) {
    this.#history = history;
    this.#strip.setAttribute("viewBox", "0 0 600 30");
    this.#pause.addEventListener("click", () => emit(this.#pause, "toggle-pause", null));
    byId("back").addEventListener("click", ({ target }) => emit(/** @type {Element} */ (target), "step", -1));
    byId("forth").addEventListener("click", ({ target }) => emit(/** @type {Element} */ (target), "step", 1));
    this.#scrubber.addEventListener("input", () => {
      emit(this.#scrubber, "show-picture", Number(this.#scrubber.value));
    });
  }

  /**
   * @param {Picture} picture the one that is drawn
   * @param {number} index its index in the history
   * @param {boolean} paused
   * @param {boolean} lost whether there is no connection to the server
   */
  render(picture, index, paused, lost) {
    setText(this.#pause, paused ? "Go on" : "Pause");
    this.#pause.setAttribute("aria-pressed", String(paused));
    document.body.toggleAttribute("data-paused", paused); // for the style sheet
    const ago = this.#history.newest - picture.t;
    const whenPaused = ago < PAUSED_NOW ? "paused" : `${ago.toFixed(1)} s ago`;
    const when = paused ? whenPaused : lost ? "last picture" : "live";
    setText(this.#when, when);
    const [value, max] = [String(index), String(this.#history.length - 1)];
    if (this.#scrubber.max !== max) this.#scrubber.max = max;
    if (this.#scrubber.value !== value) this.#scrubber.value = value;
    this.#scrubber.setAttribute("aria-valuetext", when);
    if (this.#drawn++ % STRIP_EVERY === 0 || paused) this.#drawStrip(picture.t);
  }

  /**
   * Draw how full the fullest send channel was, and each eviction: the moments worth going back to.
   * @param {number} now the time of the picture that is drawn
   */
  #drawStrip(now) {
    const pictures = this.#history.summary();
    const from = pictures[0].t;
    const span = Math.max(1, this.#history.newest - from);
    /** @param {number} t */
    const x = (t) => (((t - from) / span) * 600).toFixed(1);
    const line = pictures.map(({ t, fullest }) => `${x(t)} ${(29 - 26 * fullest).toFixed(1)}`).join("L");
    this.#strip.replaceChildren(
      draw("path", { class: "area", d: `M0 30L${line}L600 30z` }),
      draw("path", { class: "line", d: `M${line}` }),
      ...this.#history.evictions.map(({ t }) => draw("path", { class: "mark", d: `M${x(t)} 0V30` })),
      draw("path", { class: "now", d: `M${x(now)} 0V30` }),
    );
  }
}
