// @ts-check
// The lessons: a question, then a small broken variant beside the real part, both run on the server.
//
// The address says which lesson is open and what was answered: #lesson=convoy&answer=2. The server keeps the latest
// result of each lesson, so that such an address leads back to it, from another page and from another browser.

import { byId, find, make } from "../dom.js";
import { prose } from "./code.js";
import { makeResult } from "./lesson-result.js";
import { act, ask, messageOf } from "./server.js";

/** @import { Lesson, LessonSeen } from "./types.js" */

const NONE = "This server has no lessons.";
const RUNNING = "It is running on the server, in a separate process. This takes a few seconds…";

/**
 * How far a lesson has come. It goes on while another lesson is shown.
 *
 * @typedef {object} Progress
 * @property {number | null} picked the index of the choice that is marked
 * @property {number | null} answered that of the choice for which it ran
 * @property {boolean} running
 * @property {LessonSeen | null} seen
 * @property {string} failed why it could not be run, or ""
 */

export class Lessons {
  #dialog = byId("lessons", HTMLDialogElement);
  #names = byId("lesson-list");
  #article = byId("lesson");

  /** @type {Lesson[]} empty until the server has told */
  #list = [];

  /** @type {Map<string, Progress>} by the lesson's name */
  #progress = new Map();

  /** @type {Lesson | undefined} the one that is shown */
  #shown;

  constructor() {
    window.addEventListener("hashchange", () => this.#follow());
    this.#dialog.addEventListener("close", () => replaceHash(""));
    this.#follow();
  }

  /** Open the lesson that was shown last, or the first one. */
  async open() {
    this.#dialog.showModal();
    await this.#load();
    const lesson = this.#shown ?? this.#list[0];
    if (!lesson || !this.#dialog.open) return;
    replaceHash(this.#addressOf(lesson));
    this.#show(lesson);
  }

  /** Do what the address says. */
  async #follow() {
    const { hash } = location;
    const asked = new URLSearchParams(hash.slice(1));
    const name = asked.get("lesson");
    if (!name) {
      this.#dialog.close();
      return;
    }
    if (!this.#dialog.open) this.#dialog.showModal();
    await this.#load();
    const lesson = this.#list.find((each) => each.name === name);
    if (!lesson) {
      if (this.#list.length) this.#note(`There is no lesson ${name}.`);
      return;
    }
    const progress = this.#progressOf(lesson);
    if (!progress.seen && !progress.running && asked.has("answer")) {
      const answer = Number(asked.get("answer")) - 1;
      progress.picked = progress.answered = lesson.choices[answer] === undefined ? null : answer;
      // Without its result the lesson can still be run.
      progress.seen = await ask(`inspect/lessons/${name}`, NONE).catch(() => null);
      if (location.hash !== hash) return; // the reader has gone on meanwhile
    }
    this.#show(lesson);
    this.#article.scrollIntoView({ block: "start" });
    this.#article.focus({ preventScroll: true });
  }

  async #load() {
    if (this.#list.length) return;
    this.#note("Asking the server…");
    try {
      this.#list = await ask("inspect/lessons", NONE);
      if (!this.#list.length) this.#note(NONE);
    } catch (error) {
      this.#note(messageOf(error));
    }
  }

  /** @param {string} text */
  #note(text) {
    this.#article.replaceChildren(make("p", { class: "note" }, text));
  }

  /**
   * @param {Lesson} lesson
   * @returns {Progress}
   */
  #progressOf({ name }) {
    const progress = this.#progress.get(name) ?? { picked: null, answered: null, running: false, seen: null, failed: "" };
    this.#progress.set(name, progress);
    return progress;
  }

  /**
   * The address of a lesson and, if it has run, of its result.
   * @param {Lesson} lesson
   */
  #addressOf(lesson) {
    const { answered, seen } = this.#progressOf(lesson);
    return `#lesson=${lesson.name}${seen && answered !== null ? `&answer=${answered + 1}` : ""}`;
  }

  /** @param {Lesson} lesson */
  #show(lesson) {
    this.#shown = lesson;
    this.#names.replaceChildren(...this.#list.map((each) => this.#makeName(each)));
    const progress = this.#progressOf(lesson);
    const choices = lesson.choices.map((choice, i) => makeChoice(choice, i, progress));
    const button = make("button", { type: "submit" }, progress.seen ? "Run it again" : "Run it and see");
    const form = make("form", {}, make("fieldset", {}, make("legend", {}, ...prose(lesson.question)), ...choices), button);
    button.disabled = progress.picked === null || progress.running;
    form.addEventListener("change", () => {
      progress.picked = Number(new FormData(form).get("choice"));
      button.disabled = progress.running;
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#run(lesson);
    });
    const result = make("div", { class: "result", "aria-live": "polite" }, ...this.#makeOutcome(lesson));
    this.#article.replaceChildren(make("h3", {}, lesson.title), form, result);
    this.#article.scrollTop = 0;
  }

  /** @param {Lesson} lesson */
  async #run(lesson) {
    const progress = this.#progressOf(lesson);
    const answered = progress.picked;
    Object.assign(progress, { running: true, failed: "" });
    this.#showAgain(lesson);
    try {
      progress.seen = (await act("lesson", { name: lesson.name })).lesson;
      progress.answered = answered;
    } catch (error) {
      progress.failed = messageOf(error);
    }
    progress.running = false;
    this.#showAgain(lesson);
  }

  /**
   * The lesson has come further. If it is the one that is shown, what came of it is brought into sight.
   * @param {Lesson} lesson
   */
  #showAgain(lesson) {
    if (this.#shown !== lesson || !this.#dialog.open) return;
    replaceHash(this.#addressOf(lesson));
    this.#show(lesson);
    find(this.#article, ".result").scrollIntoView({ block: "start" });
    this.#article.focus({ preventScroll: true });
  }

  /** @param {Lesson} lesson */
  #makeOutcome(lesson) {
    const { answered, running, seen, failed } = this.#progressOf(lesson);
    if (running) return [make("p", { class: "note running" }, RUNNING)];
    if (failed) return [make("p", { class: "note failed" }, failed)];
    if (!seen || answered === null) return [];
    const next = this.#list[this.#list.indexOf(lesson) + 1];
    const { chapter, exercise } = lesson;
    return [
      ...makeResult(seen, answered),
      make(
        "p",
        { class: "more" },
        make("a", { href: `guide#${chapter}` }, "Read about it in the guide"),
        ...(exercise ? [", and write it yourself: ", make("code", {}, `threadchat exercise ${exercise}`)] : []),
      ),
      make(
        "p",
        { class: "onward" },
        next
          ? make("a", { class: "next", href: this.#addressOf(next) }, `Next lesson: ${next.title}`)
          : "That was the last lesson.",
        make("a", { href: this.#addressOf(lesson) }, "Link to this result"),
      ),
    ];
  }

  /** @param {Lesson} lesson */
  #makeName(lesson) {
    const current = this.#shown === lesson && "true";
    const done = this.#progressOf(lesson).seen
      ? [make("span", { "aria-hidden": "true" }, " ✓"), make("span", { class: "unseen" }, " done")]
      : [];
    return make("li", {}, make("a", { href: this.#addressOf(lesson), "aria-current": current }, lesson.title, ...done));
  }
}

/**
 * @param {string} choice
 * @param {number} index
 * @param {Progress} progress
 */
function makeChoice(choice, index, { picked, running, seen }) {
  const attributes = { type: "radio", name: "choice", value: index, checked: index === picked };
  const right = !running && index === seen?.answer;
  return make("label", { "data-right": right }, make("input", attributes), make("span", {}, ...prose(choice)));
}

/**
 * Change the address without an entry in the browser's history.
 * @param {string} hash
 */
function replaceHash(hash) {
  history.replaceState(null, "", `${location.pathname}${location.search}${hash}`);
}
