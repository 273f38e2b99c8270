// @ts-check
// Hints: what explanation.js says about an element while somebody points at it or it has the focus.

/** @type {WeakMap<Element, () => string>} */
const hints = new WeakMap();

/**
 * Give an element a hint. `tell` is called when the hint is shown, and again with each picture while it stays.
 *
 * @param {HTMLElement} element
 * @param {() => string} tell
 */
export function hinted(element, tell) {
  hints.set(element, tell);
  element.dataset.hinted = "";
}

/**
 * The innermost element with a hint that this one belongs to.
 *
 * @param {EventTarget | null} target
 * @returns {Element | null}
 */
export const hintedAt = (target) => (target instanceof Element ? target.closest("[data-hinted]") : null);

/**
 * The hint of an element that `hintedAt` returned.
 *
 * @param {Element} element
 */
export const hintOf = (element) => hints.get(element)?.() ?? "";
