// @ts-check
// What the figures share: a stage, controls below it, and a sentence that says what has just happened. Without this
// script the page shows the stage as it is at the beginning, and the sentence.

import { byId, find, make } from "../dom.js";

export class Figure {
  #controls = make("div", { class: "controls", role: "group" });
  #stage;
  #said;
  #draw;

  /**
   * @param {string} id the figure's
   * @param {() => Node[]} draw what the stage shows now
   */
  constructor(id, draw) {
    const figure = byId(id);
    this.#draw = draw;
    this.#stage = find(figure, ".stage");
    this.#said = find(figure, ".said");
    this.#said.setAttribute("role", "status");
    this.#controls.setAttribute("aria-label", `Controls: ${find(figure, ".title").textContent}`);
    this.#stage.after(this.#controls);
  }

  /**
   * Draw the stage, and say what has happened. Items that were not at their place before are marked as new.
   *
   * @param {string} sentence
   */
  show(sentence) {
    const before = new Set(placesOfItems(this.#stage).values());
    this.#stage.replaceChildren(...this.#draw());
    for (const [item, place] of placesOfItems(this.#stage)) item.classList.toggle("new", !before.has(place));
    this.#said.textContent = sentence;
  }

  /**
   * @param {string} label
   * @param {() => string} step returns what has happened
   */
  button(label, step) {
    const button = make("button", { type: "button", onclick: () => this.show(step()) }, label);
    this.#controls.append(button);
    return button;
  }

  /**
   * @param {string} label
   * @param {{ min: number, max: number, value: number }} bounds
   * @param {(value: number) => string} step returns what has happened
   */
  range(label, bounds, step) {
    const shown = make("span", { class: "value", "aria-hidden": "true" }, String(bounds.value)); // screen readers say it
    const input = make("input", {
      type: "range",
      ...bounds,
      oninput: () => {
        shown.textContent = input.value;
        this.show(step(input.valueAsNumber));
      },
    });
    this.#controls.append(make("label", {}, make("span", {}, label), input, shown));
  }

  /**
   * @param {string} label
   * @param {Record<string, string>} options the label of each value
   * @param {(value: string) => string} step returns what has happened
   */
  choice(label, options, step) {
    const choices = Object.entries(options).map(([value, text]) => make("option", { value }, text));
    const select = make("select", { onchange: () => this.show(step(select.value)) }, ...choices);
    this.#controls.append(make("label", {}, make("span", {}, label), select));
  }
}

/**
 * Each item on the stage, with its place and its text.
 *
 * @param {HTMLElement} stage
 */
function placesOfItems(stage) {
  const parts = [...stage.children];
  return new Map(
    [...stage.querySelectorAll(".item")].map((item) => {
      const part = parts.findIndex((part) => part.contains(item));
      return [item, `${part} ${item.textContent}`];
    }),
  );
}

/**
 * A channel's buffer: its items, then the places that are free.
 *
 * @param {string[]} items
 * @param {number} capacity
 * @param {string} label
 */
export function buffer(items, capacity, label) {
  const full = items.map((item) => make("li", { class: "item" }, item));
  const free = Array.from({ length: capacity - items.length }, () => make("li"));
  const oldestLast = [...full, ...free].reverse(); // items come in at the left and go out at the right
  return make("ol", { class: "buffer", "aria-label": label, reversed: true }, ...oldestLast);
}

/**
 * A thread: its name, what it does, and its state in words.
 *
 * @param {string} name
 * @param {string} code
 * @param {string} state "runs", "asleep" or another, for the style sheet too
 */
export function thread(name, code, state) {
  return make(
    "div",
    { class: "thread", "data-state": state },
    make("b", {}, name),
    make("code", {}, code),
    make("span", {}, state),
  );
}

/**
 * A number of things, in words.
 *
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
