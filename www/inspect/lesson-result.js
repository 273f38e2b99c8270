// @ts-check
// What a lesson has shown: whether the answer was right, the broken function beside the real one with what each did, and
// the explanation.

import { draw, find, make } from "../dom.js";
import { linesOf, prose } from "./code.js";
import { rate } from "./words.js";

/** @import { Chart, LessonSeen, LessonSource, Side } from "./types.js" */

const INDENT = 4; // spaces

/**
 * @param {LessonSeen} lesson
 * @param {number} picked the index of the choice
 */
export function makeResult({ answer, broken, choices, real, reasons, why }, picked) {
  const right = picked === answer;
  // Both sides have the same scale, so that they can be compared.
  const points = [broken, real].flatMap(({ chart }) => chart?.points ?? []);
  const latest = Math.max(0, ...points.map(([t]) => t));
  const highest = Math.max(0, ...points.map(([, value]) => value));
  return [
    make("p", { class: "verdict", "data-right": right }, right ? "Yes, that is what happens." : "That is not what happens."),
    right ? null : make("p", { class: "reason" }, ...prose(reasons[picked] ?? "")),
    right ? null : make("p", { class: "answer" }, "The answer is: ", make("q", {}, ...prose(choices[answer]))),
    make(
      "div",
      { class: "beside" },
      makeSide(broken, "broken", latest, highest),
      makeSide(real, "real", latest, highest),
    ),
    make("h4", {}, "Why"),
    ...why.split(/\n\s*\n/).map((paragraph) => make("p", {}, ...prose(paragraph))),
  ].filter((part) => part !== null);
}

/**
 * @param {Side} side
 * @param {"broken" | "real"} kind
 * @param {number} latest seconds: the charts' right end
 * @param {number} highest the charts' top
 */
function makeSide({ title, source, seen, chart }, kind, latest, highest) {
  const rows = seen.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]);
  const where = `${source.file}, line ${source.first_line}${kind === "broken" ? ", with a change" : ""}`;
  return make(
    "section",
    { "data-kind": kind, "aria-label": title },
    make("h4", {}, title),
    make("p", { class: "file" }, where),
    makeCode(source, `Source: ${title}`),
    make("dl", { class: "seen" }, ...rows),
    chart && makeChart(chart, latest, highest),
  );
}

/**
 * The lines, of which those that differ are marked. In the place of lines that are folded there is a button. The
 * style sheet indents them, so that the rest of a long line is indented too.
 *
 * @param {LessonSource} source
 * @param {string} label
 */
function makeCode(source, label) {
  const list = make("ol", { class: "code", tabindex: "0", "aria-label": label });
  const [changed, folded] = [new Set(source.changed), new Set(source.folded)];
  linesOf(source).forEach((item, i) => {
    const number = source.first_line + i;
    const [code, text] = [find(item, "code"), source.lines[i].trimStart()];
    item.style.setProperty("--level", String((source.lines[i].length - text.length) / INDENT));
    code.textContent = text || " ";
    if (changed.has(number)) {
      item.dataset.changed = "";
      item.append(make("span", { class: "unseen" }, " (differs)"));
    }
    item.hidden = folded.has(number);
    if (item.hidden && !folded.has(number - 1)) list.append(makeFold(list, number, folded));
    list.append(item);
  });
  return list;
}

/**
 * A button in the place of the lines that are folded from this one on.
 *
 * @param {HTMLElement} list
 * @param {number} first the number of the first of them
 * @param {Set<number>} folded
 */
function makeFold(list, first, folded) {
  let end = first;
  while (folded.has(end)) end++;
  const unfold = () => {
    for (const line of list.querySelectorAll("li")) {
      const number = Number(line.dataset.line);
      if (number >= first && number < end) line.hidden = false;
    }
    item.remove();
    list.focus();
  };
  const item = make("li", { class: "fold" }, make("button", { type: "button", onclick: unfold }, `${end - first} more lines`));
  return item;
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
