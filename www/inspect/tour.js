// @ts-check
// The tour of the demo: it asks the reader to predict, shows on the server itself what happens, and says why. It can be
// left at any time, and leaves the page as usable as it is without it.

import { byId, make, setText } from "../dom.js";
import { Left, Show, lineWith } from "./show.js";
import { messageOf } from "./server.js";
import { emit } from "./signals.js";
import { makeCommand, makeOnward, makeWords } from "./tour-end.js";
import { remember, remembered } from "./tour-memory.js";
import { STEPS } from "./tour-steps.js";

/** @import { History } from "./history.js" */
/** @import { Line, Point, Seen } from "./tour-steps.js" */
/** @import { Picture } from "./types.js" */

const LIMIT_MS = 45_000; // for what a step shows
const ROOMY = "(min-width: 79.01rem) and (min-height: 47rem)"; // a window in which a detail covers nothing

export class Tour {
  #panel = byId("tour");
  #opener = byId("open-tour");
  #title = make("h2", { id: "tour-title" });
  #place = make("p", { class: "note" });
  #said = make("div", { class: "said", "aria-live": "polite" });
  #rest = make("div", { class: "rest" }); // buttons, and what moves
  #history;

  #steps = STEPS; // those that are so on this server
  #at = 0; // the index of the step
  #opened = false; // whether it has opened a detail

  /** @type {Set<number>} the indexes of the steps that the reader foresaw */
  #foreseen = new Set();

  /** @type {Show | null} while something is shown */
  #show = null;

  /** @type {Set<string>} the names of threads and channels that the drawing points at */
  #points = new Set();

  /** @type {Set<string>} those that have been brought into sight */
  #sought = this.#points;

  /** @type {Picture | null} the newest */
  #picture = null;

  /** @param {History} history */
  constructor(history) {
    this.#history = history;
    const the = make("span", { class: "unseen" }, " the tour");
    const leave = make("button", { type: "button", onclick: () => this.leave() }, "Leave", the);
    this.#panel.append(make("div", { class: "tour-head" }, this.#title, this.#place, leave), this.#said, this.#rest);
    this.#opener.addEventListener("click", () => this.begin());
    window.addEventListener("pagehide", () => this.#show?.undo());
  }

  get open() {
    return !this.#panel.hidden;
  }

  /** Whether the keyboard's focus is in it. */
  get focused() {
    return this.#panel.contains(document.activeElement);
  }

  /**
   * A picture has come. With the first one of a demo the tour opens by itself, once in each browser.
   * @param {Picture} picture
   */
  see(picture) {
    const first = this.#picture === null;
    this.#picture = picture;
    this.#steps = picture.log_writer ? STEPS.filter(({ inMemory }) => !inMemory) : STEPS;
    if (first && picture.demo && !picture.own && !remembered()) this.#ask(0); // it tells of our hub, not of the learner's
    this.#show?.see(picture);
  }

  /** Mark in the drawing what it points at, and what has been seen. Called after each drawing, too. */
  render() {
    if (!this.open) return;
    const points = this.#show?.points ?? this.#points;
    for (const element of document.querySelectorAll("#canvas [data-name]")) {
      const is = element instanceof HTMLElement && points.has(element.dataset.name ?? "");
      element.toggleAttribute("data-toured", is);
      if (is && this.#sought !== points) {
        this.#sought = points;
        element.scrollIntoView({ block: "nearest" });
      }
    }
    this.#show?.signs.forEach((sign, i) => this.#renderSign(i, sign));
  }

  /** From the beginning. */
  begin() {
    this.#foreseen.clear();
    this.#ask(0);
    this.#panel.focus({ preventScroll: true });
  }

  /** End it wherever it is. */
  leave() {
    const { focused } = this;
    this.#stop(new Left());
    this.#closeDetail();
    this.#panel.hidden = true;
    document.body.removeAttribute("data-tour");
    for (const element of document.querySelectorAll("[data-toured]")) element.removeAttribute("data-toured");
    if (remembered() !== "done") remember("skipped");
    if (focused) this.#opener.focus();
  }

  /** The pictures come from a new server: what was shown is void. */
  startAnew() {
    if (this.#show) this.#ask(this.#at);
  }

  // ---- Question, show, explanation ----

  /** @param {number} at the index of the step */
  #ask(at) {
    this.#stop(new Left());
    this.#closeDetail();
    this.#at = at;
    const step = this.#steps[at];
    this.#open(step.title, `Tour, ${at + 1} of ${this.#steps.length}`);
    this.#say(make("p", { class: "question" }, step.question));
    const answers = step.answers.map((answer, i) =>
      make("li", {}, make("button", { type: "button", onclick: () => this.#play(i) }, answer)),
    );
    this.#rest.replaceChildren(make("ol", { class: "answers", "aria-label": "What do you expect?" }, ...answers));
  }

  /** @param {number} answer the index of the one that was chosen */
  async #play(answer) {
    const step = this.#steps[this.#at];
    if (!this.#picture) return;
    const show = (this.#show = new Show(this.#picture, () => this.render()));
    const stays = this.focused;
    this.#say(make("p", {}, "You expect: ", quoted(step.answers[answer])), make("p", {}, make("b", {}, step.watch)));
    this.#rest.replaceChildren(make("ol", { class: "signs" }));
    if (stays) this.#panel.focus({ preventScroll: true });
    emit(this.#panel, "go-live", null);
    const timer = setTimeout(() => show.stop(new Error("It takes longer than it should.")), LIMIT_MS);
    try {
      if (show.picture.hub.paused) await show.act("resume");
      const seen = await step.play(show);
      const line = await lineWith(...step.line);
      if (this.#show === show) this.#explain(answer, seen, line);
    } catch (error) {
      if (this.#show === show) this.#fail(messageOf(error), answer);
    } finally {
      clearTimeout(timer);
      show.undo();
    }
  }

  /**
   * @param {number} answer
   * @param {Seen} seen
   * @param {number} number of the line
   */
  #explain(answer, { told, why, points, message }, number) {
    const step = this.#steps[this.#at];
    this.#end();
    this.#points = new Set(points.map(({ name }) => name));
    if (answer === step.right) this.#foreseen.add(this.#at);
    const verdict = answer === step.right ? "Yes, as you expected:" : "No, what happens is this:";
    this.#say(
      make("p", {}, make("b", {}, verdict), " ", quoted(step.answers[step.right])),
      make("p", { class: "told" }, told),
      make("p", {}, why),
    );
    const looks = points.map((point) => make("li", {}, this.#makeLook(point)));
    if (message) looks.unshift(make("li", {}, this.#makeJourney(message)));
    looks.push(make("li", {}, this.#makeLine(step.line, number)));
    this.#rest.replaceChildren(
      make("ul", { class: "looks", role: "list", "aria-label": "Look at it" }, ...looks),
      this.#makeOnward(answer),
    );
    this.render();
    if (message && matchMedia(ROOMY).matches) this.#openJourney(message);
  }

  /**
   * @param {string} message
   * @param {number} answer
   */
  #fail(message, answer) {
    this.#end();
    this.#say(make("p", { class: "failed" }, message));
    this.#rest.replaceChildren(this.#makeOnward(answer));
  }

  #conclude() {
    this.#end();
    remember("done");
    this.#open("Now write it yourself", "The tour is over");
    this.#say(makeWords(this.#foreseen.size, this.#steps.length));
    this.#rest.replaceChildren(makeCommand(), makeOnward(() => this.begin()));
    this.#panel.focus({ preventScroll: true });
  }

  // ---- Parts ----

  /** @param {number} answer the one with which it is shown again */
  #makeOnward(answer) {
    const next = this.#steps[this.#at + 1];
    const go = () => {
      if (!next) return this.#conclude();
      this.#ask(this.#at + 1);
      this.#panel.focus({ preventScroll: true });
    };
    return make(
      "p",
      { class: "onward" },
      make("button", { type: "button", class: "next", onclick: go }, next ? `Next: ${next.title}` : "To the end"),
      make("button", { type: "button", onclick: () => this.#play(answer) }, "Show it again"),
    );
  }

  /**
   * A button that looks into a thread or a channel, as it was when that mattered.
   * @param {Point} point
   */
  #makeLook({ name, t }) {
    const onclick = () => {
      if (t !== null) emit(this.#panel, "show-picture", this.#history.indexAt(t));
      this.#opened = true;
      emit(this.#panel, isThread(name) ? "open-thread" : "open-channel", name);
    };
    return make("button", { type: "button", onclick }, isThread(name) ? "thread " : "channel ", make("b", {}, name));
  }

  /**
   * @param {Line} line
   * @param {number} number
   */
  #makeLine([file, name, text], number) {
    const onclick = () => {
      this.#opened = true;
      emit(this.#panel, "open-line", { file, line: number, name });
    };
    return make("button", { type: "button", onclick }, `${file}, line ${number} `, make("code", {}, text));
  }

  /** @param {number} id of a message */
  #makeJourney(id) {
    return make("button", { type: "button", onclick: () => this.#openJourney(id) }, "its journey, step by step");
  }

  /** @param {number} id of a message */
  #openJourney(id) {
    const { focused } = this;
    this.#opened = true;
    emit(this.#panel, "open-message", { id, t: 0, kind: "message", client: 0, text: "" });
    if (focused) this.#panel.focus({ preventScroll: true });
  }

  /**
   * @param {number} at
   * @param {{ words: string, seen: boolean }} sign
   */
  #renderSign(at, { words, seen }) {
    const list = this.#rest.querySelector(".signs");
    if (!list) return;
    const item = list.children[at] ?? list.appendChild(make("li", {}, make("span"), make("span", { class: "unseen" })));
    setText(item.children[0], words);
    setText(item.children[1], seen ? " (seen)" : "");
    item.toggleAttribute("data-seen", seen);
  }

  /**
   * @param {string} title
   * @param {string} place
   */
  #open(title, place) {
    this.#panel.hidden = false;
    document.body.dataset.tour = ""; // for the style sheet
    this.#points = this.#sought = new Set();
    setText(this.#title, title);
    setText(this.#place, place);
  }

  /** What it has opened makes room for the next thing. */
  #closeDetail() {
    if (!this.#opened) return;
    this.#opened = false;
    emit(this.#panel, "close-detail", null);
    emit(this.#panel, "go-live", null); // it may have gone back to an older picture
  }

  /** @param {...Node} words */
  #say(...words) {
    this.#said.replaceChildren(...words);
    this.#panel.scrollTop = 0;
  }

  /** Nothing is shown any more. A keyboard's focus stays in the tour. */
  #end() {
    this.#show = null;
    if (this.focused) this.#panel.focus({ preventScroll: true });
  }

  /** @param {Error} error */
  #stop(error) {
    this.#show?.stop(error);
    this.#show = null;
  }
}

/** @param {string} name */
const isThread = (name) => /^(hub$|readPump-|writePump-)/.test(name);

/** @param {string} text */
const quoted = (text) => make("q", {}, text);
