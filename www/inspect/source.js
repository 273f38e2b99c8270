// @ts-check
// The source that a thread is in, with the line marked and Go's counterpart beside it. It follows the thread's stack.

import { make } from "../dom.js";
import { linesOf, markLine } from "./code.js";
import { ask, messageOf } from "./server.js";

/** @import { Frame, Source } from "./types.js" */

const DWELL_MS = 400; // one function's source stays this long before another takes its place

/**
 * @param {string} file
 * @param {string} name of a function
 */
const keyOf = (file, name) => `${file} ${name}`;

// The sources that the server was asked for. They outlive the panel that shows them.
export class Sources {
  /** @type {Map<string, Source>} */
  #known = new Map();

  /** @type {Map<string, Promise<void>>} */
  #loading = new Map();

  /**
   * @param {string} file
   * @param {string} name of a function
   */
  get(file, name) {
    return this.#known.get(keyOf(file, name));
  }

  /**
   * Ask the server; afterwards `get` has the source, or its `problem`. It never fails.
   *
   * @param {string} file
   * @param {string} name of a function
   */
  async load(file, name) {
    const key = keyOf(file, name);
    const loading = this.#loading.get(key) ?? this.#fetch(file, name).finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    await loading;
  }

  /** What the server could not tell before it may be able to tell now. */
  forgetProblems() {
    for (const [key, { problem }] of this.#known) if (problem) this.#known.delete(key);
  }

  /**
   * @param {string} file
   * @param {string} name
   */
  async #fetch(file, name) {
    /** @type {Source} */
    let source;
    try {
      const query = new URLSearchParams({ file, function: name });
      source = await ask(`inspect/source?${query}`, `There is no source of ${name}.`);
    } catch (error) {
      source = { file, first_line: 1, lines: [], go: "", go_from: "", problem: messageOf(error) };
    }
    this.#known.set(keyOf(file, name), source);
  }
}

export class SourceView {
  #sources;
  #pythonTitle = make("h3", {}, "its source");
  #python = make("ol", { class: "code", tabindex: "0" });
  #goTitle = make("h3", {}, "the same in Go");
  #go = make("pre", { class: "code go", tabindex: "0", role: "group", "aria-label": "The same in Go" });

  #shown = ""; // the key of the function that is shown
  #line = 0;
  #shownAt = -Infinity; // when it was first shown, by performance.now()
  #picked = ""; // the key of the function that somebody picked from the stack

  /** @type {Frame[] | null} the stack that waits for a source to come */
  #waiting = null;

  /** @param {Sources} sources */
  constructor(sources) {
    this.#sources = sources;
    this.elements = [
      make("div", { class: "source" }, this.#pythonTitle, this.#python),
      make("div", { class: "source" }, this.#goTitle, this.#go),
    ];
  }

  /** Which function is shown, as a text to compare. */
  get shown() {
    return this.#shown;
  }

  /**
   * Whether this frame's function is the one that is shown.
   * @param {Frame} frame
   */
  shows([file, , name]) {
    return keyOf(file, name) === this.#shown;
  }

  /**
   * Keep to the function of this frame wherever it is in the stack.
   * @param {Frame} frame
   */
  pick([file, , name]) {
    this.#picked = keyOf(file, name);
    this.hurry();
  }

  /** Let the next function take its place at once. */
  hurry() {
    this.#shownAt = -Infinity;
  }

  /**
   * Show the frame that was picked; otherwise the innermost one that Go's chat has too, or else the innermost.
   * @param {Frame[]} stack the innermost frame last
   */
  followStack(stack) {
    const innermost = stack.at(-1);
    if (!innermost) return;
    let shown = stack.find(([file, , name]) => keyOf(file, name) === this.#picked);
    if (!shown) {
      if (!stack.every(([file, , name]) => this.#sources.get(file, name))) {
        this.#followLater(stack);
        return;
      }
      shown = stack.findLast(([file, , name]) => this.#sources.get(file, name)?.go);
    }
    const [file, line, name] = shown ?? innermost;
    this.follow(file, line, name);
  }

  /**
   * Show a function, unless another was shown only just now: nobody could read what blinks.
   *
   * @param {string} file
   * @param {number} line to mark
   * @param {string} name
   */
  follow(file, line, name) {
    const key = keyOf(file, name);
    if (key !== this.#shown && performance.now() - this.#shownAt < DWELL_MS) return;
    this.#line = line;
    if (key !== this.#shown) {
      this.#shown = key;
      this.#shownAt = performance.now();
      this.#show(file, name);
    }
    markLine(this.#python, this.#line, false);
  }

  /**
   * Follow it once all its sources are there. They are asked for at once: with a store a stack has ten functions, and one
   * after the other took seconds. The next picture's stack comes soon; but while the page is paused there is none.
   *
   * @param {Frame[]} stack
   */
  async #followLater(stack) {
    this.#waiting = stack;
    await Promise.all(stack.map(([file, , name]) => this.#sources.get(file, name) ?? this.#sources.load(file, name)));
    if (this.#waiting === stack) this.followStack(stack);
  }

  /**
   * @param {string} file
   * @param {string} name
   */
  async #show(file, name) {
    if (!this.#sources.get(file, name)) await this.#sources.load(file, name);
    const source = this.#sources.get(file, name);
    if (!source || this.#shown !== keyOf(file, name)) return;
    this.#pythonTitle.textContent = source.problem ?? `${name} in ${source.file}`;
    this.#python.setAttribute("aria-label", `Source of ${name}`);
    this.#python.replaceChildren(...linesOf(source));
    const from = source.go_from ? `, in ${source.go_from}` : "";
    this.#goTitle.textContent = source.go ? `the same in Go${from}` : "no counterpart in Go's chat";
    this.#go.textContent = source.go;
    this.#go.hidden = !source.go;
    markLine(this.#python, this.#line, true);
  }
}
