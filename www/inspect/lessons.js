// The lessons: a question, then a small broken variant beside the real part, run on the server.

import { act, ask } from "./live.js";
import { byId, draw, make, rate } from "./words.js";

const NONE = "This server has no lessons.";

export class Lessons {
  #list = null;

  constructor() {
    this.dialog = byId("lessons");
    this.names = byId("lesson-list");
    this.article = byId("lesson");
  }

  async open() {
    this.dialog.showModal();
    if (this.#list) return;
    this.article.replaceChildren(make("p", { class: "note" }, "Asking the server…"));
    try {
      const list = await ask("inspect/lessons", NONE);
      this.#list = list;
      this.names.replaceChildren(
        ...list.map((lesson) =>
          make(
            "li",
            {},
            make(
              "button",
              { type: "button", "data-name": lesson.name, onclick: () => this.#show(lesson) },
              lesson.title,
            ),
          ),
        ),
      );
      if (list.length) this.#show(list[0]);
      else this.article.replaceChildren(make("p", { class: "note" }, NONE));
    } catch (error) {
      this.article.replaceChildren(make("p", { class: "note" }, error.message));
    }
  }

  #show(lesson) {
    for (const button of this.names.querySelectorAll("button")) {
      button.toggleAttribute("aria-current", button.dataset.name === lesson.name);
    }
    const result = make("div", { class: "result", "aria-live": "polite" });
    const choices = lesson.choices.map((choice, i) =>
      make("label", {}, make("input", { type: "radio", name: "choice", value: i }), make("span", {}, choice)),
    );
    const button = make("button", { type: "submit", disabled: true }, "Run it and see");
    const form = make("form", {}, make("fieldset", {}, make("legend", {}, lesson.question), ...choices), button);
    form.addEventListener("change", () => {
      button.disabled = false;
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const picked = Number(new FormData(form).get("choice"));
      button.disabled = true;
      result.replaceChildren(
        make("p", { class: "note running" }, "It runs on the server, in a process of its own. A few seconds…"),
      );
      try {
        const { lesson: seen } = await act("lesson", { name: lesson.name });
        if (!form.isConnected) return;
        choices[seen.answer]?.setAttribute("data-right", "");
        result.replaceChildren(...tell(seen, picked));
      } catch (error) {
        result.replaceChildren(make("p", { class: "note failed" }, error.message));
      }
      button.disabled = false;
      button.textContent = "Run it again";
    });
    this.article.replaceChildren(make("h3", {}, lesson.title), form, result);
  }
}

function tell(lesson, picked) {
  const right = picked === lesson.answer;
  const highest = Math.max(0, ...points(lesson.broken), ...points(lesson.real));
  const latest = Math.max(0, ...points(lesson.broken, 0), ...points(lesson.real, 0));
  return [
    make(
      "p",
      { class: "verdict", "data-right": right },
      right ? "Yes, that is what happens." : `What happens: ${lesson.choices[lesson.answer]}`,
    ),
    make(
      "div",
      { class: "beside" },
      side(lesson.broken, "broken", highest, latest),
      side(lesson.real, "real", highest, latest),
    ),
    make("h4", {}, "Why"),
    ...lesson.why.split(/\n\s*\n/).map((paragraph) => make("p", {}, paragraph)),
  ];
}

const points = ({ chart }, axis = 1) => (chart?.points ?? []).map((point) => point[axis]);

function side({ title, source, seen, chart }, kind, highest, latest) {
  const rows = seen.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]);
  const indent = Math.min(...source.lines.filter((line) => line.trim()).map((line) => line.search(/\S/)), 40);
  return make(
    "section",
    { "data-kind": kind, "aria-label": title },
    make("h4", {}, title),
    make("dl", { class: "seen" }, ...rows),
    chart ? figure(chart, highest, latest) : null,
    make("p", { class: "file" }, `${source.file}, line ${source.first_line}`),
    make(
      "ol",
      { class: "code", tabindex: "0", "aria-label": `Source: ${title}` },
      ...source.lines.map((line, i) =>
        make(
          "li",
          { value: source.first_line + i, "data-line": source.first_line + i },
          make("code", {}, line.slice(indent) || " "),
        ),
      ),
    ),
  );
}

// Both sides have the same scale: that is what makes them comparable.
function figure({ label, unit, points }, highest, latest) {
  const x = (t) => (latest ? t / latest : 0) * 300;
  const y = (value) => 78 - (highest ? value / highest : 0) * 74;
  const line = points.map(([t, value]) => `${x(t).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  const most = Math.max(0, ...points.map(([, value]) => value));
  const svg = draw("svg", {
    viewBox: "0 0 300 80",
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": `${label}: at most ${rate(most)} ${unit}`,
  });
  if (line)
    svg.append(
      draw("path", { class: "area", d: `M${x(points[0][0])} 80L${line}L${x(points.at(-1)[0])} 80z` }),
      draw("path", { class: "line", d: `M${line}` }),
    );
  return make(
    "figure",
    {},
    make("span", { class: "top" }, `${rate(highest)} ${unit}`),
    svg,
    make("figcaption", {}, make("span", {}, label), make("span", {}, `${latest.toFixed(1)} s`)),
  );
}
