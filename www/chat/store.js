// @ts-check
// What the page remembers: in this tab over a reload, or in this browser. A browser that forbids it forgets.

import { lobby } from "./place.js";

/** @typedef {"tab" | "browser"} Where */

/** @param {Where} where */
const area = (where) => (where === "tab" ? sessionStorage : localStorage);

/** @param {string} key */
const full = (key) => `threadchat ${lobby.pathname} ${key}`; // several chats may share an origin

/**
 * What was remembered, or null.
 *
 * @param {Where} where
 * @param {string} key
 */
export function recall(where, key) {
  try {
    return JSON.parse(area(where).getItem(full(key)) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {Where} where
 * @param {string} key
 * @param {unknown} value null to forget
 */
export function remember(where, key, value) {
  try {
    if (value === null) area(where).removeItem(full(key));
    else area(where).setItem(full(key), JSON.stringify(value));
  } catch {
    // No room, or not allowed.
  }
}
