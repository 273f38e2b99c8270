// @ts-check
// Helpers for the document that the pages' scripts share.

/** @typedef {string | number | boolean | null | undefined | ((event: any) => void)} Attribute */

/**
 * The element with this id. Throws if the page has none of this kind.
 *
 * @template {typeof Element} [Kind=typeof HTMLElement]
 * @param {string} id
 * @param {Kind} [kind] the element's class; HTMLElement if left out
 * @returns {InstanceType<Kind>}
 */
export function byId(id, kind) {
  return find(document, `#${id}`, kind);
}

/**
 * The first element below `root` that matches `selector`. Throws if there is none of this kind.
 *
 * @template {typeof Element} [Kind=typeof HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {Kind} [kind] the element's class; HTMLElement if left out
 * @returns {InstanceType<Kind>}
 */
export function find(root, selector, kind) {
  const element = root.querySelector(selector);
  if (!(element instanceof (kind ?? HTMLElement))) throw new Error(`The page has no ${selector}.`);
  return /** @type {InstanceType<Kind>} */ (element);
}

/**
 * A new element. An attribute whose name begins with "on" is an event listener. `true` sets an attribute without a
 * value; `false`, null and undefined leave it out. Strings among the children become text, never HTML, because names
 * and messages come from strangers.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} attributes
 * @param {...(Node | string | null)} children null is left out
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * A new element of a drawing.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {...Node} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** @type {WeakMap<Element, string>} */
const texts = new WeakMap();

/**
 * Set an element's text if it has changed. The inspector draws ten pictures a second, most of them like the one
 * before, so it touches only what has changed. An element that is filled this way must be filled in no other.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (texts.get(element) === text) return;
  texts.set(element, text);
  element.textContent = text;
}

/**
 * Set a data attribute if it has changed.
 *
 * @param {HTMLElement} element
 * @param {string} name
 * @param {string} value
 */
export function setData(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}
