// @ts-check
// What the components ask for. A component gets its data through its methods, and says what somebody wants with one of
// these events, which bubbles up to the document. inspect.js listens and has it done.

/** @import { Happening } from "./types.js" */

/**
 * The name of each event and the value that comes with it.
 *
 * @typedef {object} Signals
 * @property {string} open-thread look into the thread with this name
 * @property {string} open-channel look into the channel with this name
 * @property {Happening} open-message follow this message
 * @property {null} open-log look into the log of the room
 * @property {string} show-room show the room with this name
 * @property {string} selected the detail panel now shows the thread, channel or log with this name ("": none)
 * @property {number} pin keep the client with this number in the drawing, or stop keeping it
 * @property {{ action: string, details: object, said: string }} act have the server do it; `said` tells that it was done
 * @property {null} toggle-pause pause the picture, or go on
 * @property {number} step go so many pictures forward (back if negative)
 * @property {number} show-picture show the picture with this index
 */

/**
 * Send a signal from an element up to the document.
 *
 * @template {keyof Signals} Name
 * @param {Element} element
 * @param {Name} name
 * @param {Signals[Name]} detail
 */
export function emit(element, name, detail) {
  element.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
}

/**
 * Call `handler` with each signal of this name.
 *
 * @template {keyof Signals} Name
 * @param {Name} name
 * @param {(detail: Signals[Name]) => void} handler
 */
export function listen(name, handler) {
  document.addEventListener(name, (event) => handler(/** @type {CustomEvent<Signals[Name]>} */ (event).detail));
}
