// @ts-check
// The shapes that stand for states; index.html draws each once.

import { draw } from "../dom.js";

/** @param {string} name of a symbol in index.html, without "i-" */
export function icon(name) {
  return draw(
    "svg",
    { class: "icon", viewBox: "0 0 12 12", "aria-hidden": "true" },
    draw("use", { href: `#i-${name}` }),
  );
}

/**
 * Have an icon show another shape.
 *
 * @param {Element | null} svg
 * @param {string} name
 */
export function setIcon(svg, name) {
  svg?.firstElementChild?.setAttribute("href", `#i-${name}`);
}
