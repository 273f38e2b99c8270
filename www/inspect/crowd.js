// @ts-check
// The crowd: where there are more clients than rows, how many pumps of all clients are in which state, and how many
// send channels are how full.

import { make, setData, setText } from "../dom.js";
import { hinted } from "./hints.js";
import { icon, setIcon } from "./icon.js";
import { count, family, plural } from "./words.js";

/** @import { Crowd as Counts } from "./types.js" */

const BINS = 16;
const LEAST_BAR = 0.06; // of the height: a small number beside a large one must still be seen

export class Crowd {
  #title = make("b");
  #note = make("span");
  #fills = make("span", { class: "unseen" });
  #bins = Array.from({ length: BINS }, () => make("i"));
  #reading = new Stack();
  #writing = new Stack();

  /** @type {Counts | null} as it was drawn last */
  #counts = null;

  constructor() {
    const bins = make("span", { class: "bins", "aria-hidden": "true" });
    this.#bins.forEach((bar, i) => {
      const bin = make("span", {}, bar);
      hinted(bin, () => {
        const [from, to] = [Math.ceil((i / BINS) * 100), Math.floor(((i + 1) / BINS) * 100)];
        return `${plural(this.#counts?.fill[i] ?? 0, "client")} with a send channel filled ${from} to ${to} per cent.`;
      });
      bins.prepend(bin); // as in a gauge, full is at the left
    });
    const axis = make("span", { class: "axis" }, make("span", {}, "full"), make("span", {}, "empty"));
    // The wires of the crowd end at these three.
    this.read = make("div", { class: "pumps read" }, this.#reading.bar, this.#reading.list);
    this.send = make("div", { class: "histogram" }, bins, axis, this.#fills);
    this.write = make("div", { class: "pumps write" }, this.#writing.bar, this.#writing.list);
    this.element = make(
      "div",
      { id: "crowd", role: "group", "aria-label": "All clients", hidden: true },
      make("div", { class: "who" }, this.#title, this.#note),
      this.read,
      this.send,
      this.write,
    );
    hinted(
      this.element,
      () => `All ${plural(this.#everyone, "client")}: what their pumps do, and how many send channels are how full.`,
    );
  }

  get #everyone() {
    return this.#counts?.fill.reduce((sum, clients) => sum + clients, 0) ?? 0;
  }

  /**
   * @param {Counts} counts
   * @returns {boolean} whether the crowd has come or gone
   */
  render(counts) {
    const before = this.element.hidden;
    this.#counts = counts;
    this.element.hidden = !counts.count;
    if (counts.count) this.#renderCounts(counts);
    return before !== this.element.hidden;
  }

  /** @param {Counts} counts */
  #renderCounts({ count: undrawn, fill, reading, writing }) {
    setText(this.#title, `all ${count(this.#everyone)}`);
    setText(this.#note, `${count(undrawn)} not drawn one by one`);
    const most = Math.max(1, ...fill);
    this.#bins.forEach((bar, i) => {
      const part = fill[i] ? Math.max(LEAST_BAR, Math.log1p(fill[i]) / Math.log1p(most)) : 0;
      bar.style.transform = `scaleY(${part.toFixed(3)})`;
    });
    setText(this.#fills, `${plural(fill.at(-1) ?? 0, "send channel")} nearly full, ${count(fill[0])} nearly empty`);
    this.#reading.render(reading);
    this.#writing.render(writing);
  }
}

// How many pumps are in which state: a bar of coloured parts, and a list.
class Stack {
  bar = make("span", { class: "stack" });
  list = make("ul", { class: "counts" });

  /** @type {{ part: HTMLElement, item: HTMLElement, shape: Element, number: HTMLElement, word: HTMLElement }[]} */
  #entries = [];

  /** @param {Record<string, number>} states */
  render(states) {
    const shown = Object.entries(states)
      .filter(([, number]) => number)
      .sort((a, b) => b[1] - a[1]);
    while (this.#entries.length < shown.length) this.#add();
    while (this.#entries.length > shown.length) {
      const gone = this.#entries.pop();
      gone?.part.remove();
      gone?.item.remove();
    }
    shown.forEach(([state, pumps], i) => {
      const { part, item, shape, number, word } = this.#entries[i];
      const kind = family(state);
      setData(part, "family", kind);
      part.style.flexGrow = String(pumps);
      if (item.dataset.family !== kind) {
        item.dataset.family = kind;
        setIcon(shape, kind);
      }
      setText(number, count(pumps));
      setText(word, state);
    });
  }

  #add() {
    const [part, shape, number, word] = [make("i"), icon("waits"), make("b"), make("span")];
    const item = make("li", {}, shape, number, word);
    this.bar.append(part);
    this.list.append(item);
    this.#entries.push({ part, item, shape, number, word });
  }
}
