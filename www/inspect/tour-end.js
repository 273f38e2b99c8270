// @ts-check
// The end of the tour: on to the exercises.

import { make } from "../dom.js";

const COMMAND = "threadchat exercise";
const IN_A_CLONE = "In a clone of the source: scripts/exercise";

/**
 * @param {number} foreseen answers that were right
 * @param {number} asked
 */
export const makeWords = (foreseen, asked) =>
  make(
    "p",
    {},
    `You foresaw ${foreseen} of ${asked}. What you saw are a few hundred lines of Python. Twelve exercises let you ` +
      "write their heart yourself, in about two hours; each is checked on the spot.",
  );

/** The command, to be copied. */
export function makeCommand() {
  const command = make("code", {}, COMMAND);
  const copied = make("span", { role: "status" });
  const copy = make("button", { type: "button", onclick: () => copyText(command, copied) }, "Copy");
  return make("p", { class: "command" }, command, copy, copied, make("span", { class: "note" }, IN_A_CLONE));
}

/** @param {() => void} begin the tour again */
export const makeOnward = (begin) =>
  make(
    "p",
    { class: "onward" },
    make("button", { type: "button", onclick: begin }, "Begin the tour again"),
    make("a", { href: "guide" }, "Read the guide"),
  );

/**
 * @param {HTMLElement} from
 * @param {HTMLElement} told
 */
async function copyText(from, told) {
  try {
    await navigator.clipboard.writeText(from.textContent ?? "");
    told.textContent = "Copied.";
  } catch {
    getSelection()?.selectAllChildren(from); // the clipboard is not for this page: the keyboard still can
    told.textContent = "It is selected: copy it.";
  }
}
