// @ts-check
// A learner's hub (--hub FILE.py): which file runs, what is wrong with it, and the line.

import { byId, make, setText } from "../dom.js";
import { linesOf, markLine, prose } from "./code.js";
import { emit } from "./signals.js";
import { duration } from "./words.js";

/** @import { Fault, OwnHub, Picture } from "./types.js" */

export class Own {
  #section = byId("own");
  #aloud = make("p", { class: "unseen", "aria-live": "polite" });
  #name = make("b");
  #runs = make("span");
  #more = make("p", { class: "own-more" });
  #problems = make("div", { class: "own-problems" });
  #drawn = "";

  constructor() {
    const show = { type: "button", onclick: () => emit(this.#section, "open-thread", "hub") };
    const head = make("p", { class: "own-head" }, make("span", {}, "Your hub: ", this.#name, this.#runs));
    head.append(make("button", show, "Show its thread"));
    this.#section.append(head, this.#more, this.#problems, this.#aloud);
  }

  /** @param {Picture} picture */
  render({ own, hub }) {
    this.#section.hidden = !own;
    if (!own) return;
    setText(this.#name, own.file);
    setText(this.#runs, hub.thread.state === "gone" ? " has ended" : `, started ${duration(own.for)} ago`);
    const more = tellMore(own);
    setText(this.#more, more);
    this.#more.hidden = !more;
    const drawn = JSON.stringify([own.problem, own.faults]);
    if (this.#drawn === drawn) return;
    this.#drawn = drawn;
    const problem = own.problem ? [make("p", { class: "own-problem" }, ...prose(own.problem))] : [];
    this.#problems.replaceChildren(...problem, ...own.faults.map(makeFault));
    for (const list of this.#problems.querySelectorAll("ol")) markLine(list, Number(list.dataset.marked), true);
    const first = own.faults[0];
    setText(this.#aloud, plain(own.problem || (first ? `${first.title}${first.line ? `: line ${first.line}` : ""}.` : "")));
  }
}

/**
 * Prose for a screen reader, without the marks of `code`.
 * @param {string} text
 */
const plain = (text) => text.replaceAll("`", "");

/** @param {Fault} fault */
function makeFault({ title, sentences, mistake, about, line, first_line, lines }) {
  const code = { class: "code", tabindex: "0", "aria-label": `Your file around line ${line}`, "data-marked": line };
  return make(
    "article",
    {},
    make(
      "div",
      {},
      make("h2", {}, ...prose(title), mistake ? make("small", {}, `: ${mistake}`) : null),
      ...[...sentences, about].filter(Boolean).map((text) => make("p", {}, ...prose(text))),
    ),
    lines.length ? make("ol", code, ...linesOf({ first_line, lines })) : null,
  );
}

/**
 * Its other threads, those of hubs from before that did not end, and its other channels.
 * @param {OwnHub} own
 */
function tellMore({ channels, threads }) {
  const told = threads.map(
    ({ name, abandoned, file, line, code }) =>
      `The thread ${name}${abandoned ? " did not end with its hub: it" : ""} is at line ${line} of ${file}, ${code}.`,
  );
  const fills = channels.map(({ name, pending, capacity, closed }) =>
    closed ? `${name} (closed)` : capacity ? `${name} (${pending} of ${capacity})` : `${name} (unbuffered)`,
  );
  if (fills.length) told.push(`Its other channels: ${fills.join(", ")}.`);
  return told.join(" ");
}
