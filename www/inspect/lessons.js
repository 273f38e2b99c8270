// @ts-check
// The lessons: a question, then a small broken variant beside the real part, both run on the server.

import { byId, draw, make } from "../dom.js";
import { linesOf } from "./code.js";
import { act, ask, messageOf } from "./server.js";
import { rate } from "./words.js";

/** @import { Chart, Lesson, LessonSeen, Side } from "./types.js" */

const NONE = "This server has no lessons.";

export class Lessons {
  #dialog = byId("lessons", HTMLDialogElement);
  #names = byId("lesson-list");
  #article = byId("lesson");

  /** @type {Lesson[] | null} null until the server has told */
  #list = null;

  async open() {
    this.#dialog.showModal();
    if (this.#list) return;
    this.#note("Asking the server…");
    try {
      const list = /** @type {Lesson[]} */ (await ask("inspect/lessons", NONE));
      this.#list = list;
      this.#names.replaceChildren(...list.map((lesson) => this.#makeName(lesson)));
      if (list.length) this.#show(list[0]);
      else this.#note(NONE);
    } catch (error) {
      this.#note(messageOf(error));
    }
  }

  /** @param {string} text */
  #note(text) {
    this.#article.replaceChildren(make("p", { class: "note" }, text));
  }

  /** @param {Lesson} lesson */
  #makeName(lesson) {
    const onclick = () => this.#show(lesson);
    return make("li", {}, make("button", { type: "button", "data-name": lesson.name, onclick }, lesson.title));
  }

  /** @param {Lesson} lesson */
  #show(lesson) {
    for (const button of this.#names.querySelectorAll("button")) {
      button.toggleAttribute("aria-current", button.dataset.name === lesson.name);
    }
    const choices = lesson.choices.map((choice, i) =>
      make("label", {}, make("input", { type: "radio", name: "choice", value: i }), make("span", {}, choice)),
    );
    const button = make("button", { type: "submit", disabled: true }, "Run it and see");
    const form = make("form", {}, make("fieldset", {}, make("legend", {}, lesson.question), ...choices), button);
    const result = make("div", { class: "result", "aria-live": "polite" });
    form.addEventListener("change", () => {
      button.disabled = false;
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const picked = Number(new FormData(form).get("choice"));
      button.disabled = true;
      const running = "It is running on the server, in a separate process. This takes a few seconds…";
      result.replaceChildren(make("p", { class: "note running" }, running));
      try {
        const seen = /** @type {LessonSeen} */ ((await act("lesson", { name: lesson.name })).lesson);
        choices[seen.answer]?.setAttribute("data-right", "");
        result.replaceChildren(...makeResult(seen, picked));
      } catch (error) {
        result.replaceChildren(make("p", { class: "note failed" }, messageOf(error)));
      }
      button.disabled = false;
      button.textContent = "Run it again";
    });
    this.#article.replaceChildren(make("h3", {}, lesson.title), form, result);
  }
}

/**
 * @param {LessonSeen} lesson
 * @param {number} picked the index of the choice
 */
function makeResult({ answer, broken, choices, real, why }, picked) {
  const right = picked === answer;
  const verdict = right ? "Yes, that is what happens." : `What happens: ${choices[answer]}`;
  // Both sides have the same scale, so that they can be compared.
  const points = [broken, real].flatMap(({ chart }) => chart?.points ?? []);
  const latest = Math.max(0, ...points.map(([t]) => t));
  const highest = Math.max(0, ...points.map(([, value]) => value));
  return [
    make("p", { class: "verdict", "data-right": right }, verdict),
    make(
      "div",
      { class: "beside" },
      makeSide(broken, "broken", latest, highest),
      makeSide(real, "real", latest, highest),
    ),
    make("h4", {}, "Why"),
    ...why.split(/\n\s*\n/).map((paragraph) => make("p", {}, paragraph)),
  ];
}

/**
 * @param {Side} side
 * @param {"broken" | "real"} kind
 * @param {number} latest seconds: the charts' right end
 * @param {number} highest the charts' top
 */
function makeSide({ title, source, seen, chart }, kind, latest, highest) {
  const rows = seen.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]);
  return make(
    "section",
    { "data-kind": kind, "aria-label": title },
    make("h4", {}, title),
    make("dl", { class: "seen" }, ...rows),
    chart && makeChart(chart, latest, highest),
    make("p", { class: "file" }, `${source.file}, line ${source.first_line}`),
    make("ol", { class: "code", tabindex: "0", "aria-label": `Source: ${title}` }, ...linesOf(source)),
  );
}

/**
 * @param {Chart} chart
 * @param {number} latest
 * @param {number} highest
 */
function makeChart({ label, unit, points }, latest, highest) {
  /** @param {number} t */
  const x = (t) => ((latest ? t / latest : 0) * 300).toFixed(1);
  const line = points
    .map(([t, value]) => `${x(t)} ${(78 - (highest ? value / highest : 0) * 74).toFixed(1)}`)
    .join("L");
  const most = Math.max(0, ...points.map(([, value]) => value));
  const name = `${label}: at most ${rate(most)} ${unit}`;
  const svg = draw("svg", { viewBox: "0 0 300 80", preserveAspectRatio: "none", role: "img", "aria-label": name });
  if (line) {
    const [first, last] = [points[0], points[points.length - 1]];
    svg.append(
      draw("path", { class: "area", d: `M${x(first[0])} 80L${line}L${x(last[0])} 80z` }),
      draw("path", { class: "line", d: `M${line}` }),
    );
  }
  return make(
    "figure",
    {},
    make("span", { class: "top" }, `${rate(highest)} ${unit}`),
    svg,
    make("figcaption", {}, make("span", {}, label), make("span", {}, `${latest.toFixed(1)} s`)),
  );
}
