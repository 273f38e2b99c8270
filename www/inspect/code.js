// @ts-check
// A listing: the lines of a function with their numbers. And code in prose.

import { make } from "../dom.js";

const MOST_INDENT = 40; // columns that may be cut off at the left

/**
 * The lines as items of a list, without the indentation that all of them share.
 * @param {{ first_line: number, lines: string[] }} source
 */
export function linesOf({ first_line: first, lines }) {
  const filled = lines.filter((line) => line.trim());
  const indent = Math.min(...filled.map((line) => line.search(/\S/)), MOST_INDENT);
  return lines.map((line, i) => {
    const number = first + i;
    return make("li", { value: number, "data-line": number }, make("code", {}, line.slice(indent) || " "));
  });
}

/**
 * Prose with `code` in it, as nodes.
 * @param {string} text
 */
export const prose = (text) => text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));

/**
 * Mark a line and have it in sight.
 *
 * @param {HTMLElement} list of the lines
 * @param {number} number
 * @param {boolean} anew whether to scroll to the line even if it is marked or in sight already
 */
export function markLine(list, number, anew) {
  const marked = list.querySelector("[aria-current]");
  const line = /** @type {HTMLElement | null} */ (list.querySelector(`[data-line="${number}"]`));
  if (marked === line && !anew) return;
  marked?.removeAttribute("aria-current");
  if (!line) return;
  line.setAttribute("aria-current", "true");
  const top = line.offsetTop - list.offsetTop;
  const seen = top >= list.scrollTop && top + line.offsetHeight <= list.scrollTop + list.clientHeight;
  if (anew || !seen) list.scrollTop = top - list.clientHeight / 2; // the listing scrolls, not the page
}
