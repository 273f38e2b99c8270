// @ts-check
// Why clients were evicted, in words: the causes that the server tells apart (evictions.py), each with what led to it.

import { duration, plural } from "./words.js";

/** @import { Happening } from "./types.js" */

const AT_MOST = 0.5; // seconds; a frame that had waited for longer was known to wait before the buffer was full

/**
 * @typedef {object} Cause
 * @property {string} one what had happened, said of one client
 * @property {string} many said of several
 * @property {string[]} chain from the first step to the last
 */

/** @type {Record<"stopped" | "slow" | "silent" | "ended" | "hasty", Cause>} */
const CAUSES = {
  stopped: {
    one: "its peer took no more bytes",
    many: "their peers took no more bytes",
    chain: [
      "its peer took no more bytes",
      "the kernel’s buffers filled",
      "its write pump got stuck in send",
      "its send channel filled",
      "the hub would have blocked",
      "evicted",
    ],
  },
  slow: {
    one: "more came than its peer took",
    many: "more came than their peers took",
    chain: [
      "more came than its peer took",
      "the kernel’s buffers filled",
      "a frame waited longer than a quarter of a second",
      "its send channel was full",
      "the hub would have blocked",
      "evicted",
    ],
  },
  silent: {
    one: "its peer answered no more",
    many: "their peers answered no more",
    chain: [
      "its peer answered no more",
      "the kernel kept what it had sent",
      "its write pump got stuck in send",
      "its send channel filled",
      "the hub would have blocked",
      "evicted",
    ],
  },
  ended: {
    one: "it had no write pump",
    many: "they had no write pumps",
    chain: ["it had no write pump", "its send channel filled", "nobody would have emptied it", "evicted"],
  },
  // Only by a learner's hub: the real one lets the write pumps run first.
  hasty: {
    one: "its write pump had not had its turn",
    many: "their write pumps had not had their turns",
    chain: ["more came at once than its send channel holds", "its write pump had not had its turn", "evicted"],
  },
};

/** @param {Happening} event */
const causeOf = ({ cause }) => CAUSES[cause ?? "slow"];

/**
 * The cause of an eviction in few words.
 * @param {Happening} event
 */
export const briefly = (event) => causeOf(event).one;

/**
 * The cause with the figures, as the rest of a sentence.
 * @param {Happening} event
 */
export function fully(event) {
  const { cause, waited, quiet, waiting = 0, capacity = 0 } = event;
  const room = waiting > capacity ? `with room for ${capacity}` : `of ${capacity}`;
  const full = waiting > capacity ? `${plural(waiting, "message")} waited, ${room}` : `${waiting} ${room} messages waited`;
  if (cause === "stopped" && quiet) return `its peer had taken nothing for ${duration(quiet)}, and ${full}`;
  const frame = waited ? `; a frame had waited ${duration(waited)} for it` : "";
  return `${briefly(event)}${frame}, and ${full}`;
}

/**
 * Explanations of evictions: those with the same cause share one.
 *
 * @param {Happening[]} events
 * @returns {{ events: Happening[], told: string, others: string, chain: string[] }[]}
 */
export function explain(events) {
  const groups = Map.groupBy(events, causeOf);
  return [...groups].map(([{ many, chain }, events]) => ({
    events,
    told: events.length === 1 ? fully(events[0]) : many,
    others: tellOthers(events),
    chain,
  }));
}

/** @param {Happening[]} events */
function tellOthers(events) {
  const atOnce = events.every(({ waited }) => waited == null || waited > AT_MOST);
  return atOnce ? "Nobody else waited." : "The others waited for a quarter of a second at most.";
}
