// @ts-check
// The inspector's words: what the states mean, sentences about threads and channels, and numbers for people.

/** @import { Channel, Thread } from "./types.js" */

/**
 * The states of a thread. `family` gives the colour and the shape; the word itself is always shown too.
 * @type {Record<string, { family: string, means: string }>}
 */
const STATES = {
  receiving: { family: "waits", means: "waits to receive from" },
  selecting: { family: "waits", means: "waits for a message on any of its channels" },
  reading: { family: "waits", means: "waits for bytes from its socket" },
  ready: { family: "ready", means: "can go on, and waits for its turn to run" },
  running: { family: "running", means: "runs" },
  writing: { family: "writing", means: "is inside a write to its socket" },
  listening: { family: "waits", means: "waits until the store has something new" },
  storing: { family: "writing", means: "is inside a call of the store" },
  sending: { family: "sending", means: "waits to send to" },
  behind: { family: "sending", means: "has run ahead, and waits for" },
  down: { family: "stuck", means: "waits until the store is up again" },
  stuck: { family: "stuck", means: "has waited long for its peer to take bytes" },
  paused: { family: "paused", means: "is held still by you" },
  leaving: { family: "leaving", means: "says goodbye: the closing handshake" },
  gone: { family: "leaving", means: "has ended" },
};

/**
 * The family of a state.
 * @param {string} state
 */
export const family = (state) => STATES[state]?.family ?? "waits";

/**
 * A sentence about a thread.
 * @param {Thread} thread
 */
export function tellThread(thread) {
  const { means } = STATES[thread.state] ?? { means: thread.state };
  const on = / (from|to|for)$/.test(means) ? ` ${thread.on || "a channel"}` : "";
  return `${thread.name} ${means}${on}, for ${duration(thread.for)}.`;
}

/**
 * A sentence about a channel, without its name.
 * @param {Channel} channel
 */
export function tellFill(channel) {
  const room = channel.capacity
    ? `${count(channel.pending)} of ${count(channel.capacity)} messages are waiting in it`
    : "it is unbuffered: a send waits for its receiver";
  const waiting = [];
  if (channel.senders) waiting.push(`${count(channel.senders)} waiting to send`);
  if (channel.receivers) waiting.push(`${count(channel.receivers)} waiting to receive`);
  if (channel.closed) waiting.push("closed");
  return `${[room, ...waiting].join("; ")}.`;
}

/** @param {string} text */
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** @param {number} number */
export const count = (number) => whole.format(number);

/** @param {number} number */
export const short = (number) => (number < 10_000 ? whole.format(number) : compact.format(number));

/** @param {number} number */
export const rate = (number) => (number < 10 ? number.toFixed(1) : short(Math.round(number)));

/**
 * @param {number} number
 * @param {string} word
 * @param {string} [several] its plural, if that is not the word with an s
 */
export const plural = (number, word, several = `${word}s`) => `${count(number)} ${number === 1 ? word : several}`;

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 0.001) return "less than 1 ms";
  if (seconds < 0.1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

/** @param {number} seconds */
export function milliseconds(seconds) {
  const ms = seconds * 1000;
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : count(Math.round(ms));
}
