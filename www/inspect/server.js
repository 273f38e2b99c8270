// @ts-check
// How the page talks to the server: the stream of pictures, single questions, and actions.

import { LOBBY } from "./rooms.js";

const FIRST_DELAY_MS = 500; // to the first new attempt...
const LONGEST_DELAY_MS = 5000; // ...doubled for each failure, but never more than this
const SILENCE_MS = 10_000; // without a picture, after which the connection counts as lost

/** @typedef {"connected" | "lost"} Status */

/**
 * Receive pictures of a room from now on. After a lost connection it tries again until there is a new one.
 *
 * @param {string} room
 * @param {(text: string) => void} onPicture is called with each picture's JSON text
 * @param {(status: Status) => void} onStatus is called with each picture, and when the connection is lost
 */
export function watchServer(room, onPicture, onStatus) {
  /** @type {EventSource | null} */
  let source = null;
  let watched = "";
  let failures = 0;
  let retryTimer = 0;
  let silenceTimer = 0;

  function connect() {
    clearTimeout(retryTimer);
    clearTimeout(silenceTimer);
    retryTimer = 0;
    source?.close();
    const asked = [room !== LOBBY && `room=${encodeURIComponent(room)}`, watched && `watch=${watched}`];
    source = new EventSource(["inspect/live", asked.filter(Boolean).join("&")].filter(Boolean).join("?"));
    source.addEventListener("picture", ({ data }) => {
      failures = 0;
      clearTimeout(silenceTimer);
      silenceTimer = setTimeout(lose, SILENCE_MS);
      onStatus("connected");
      onPicture(data);
    });
    // An EventSource gives up for good when the answer is an error, so the waiting is done here.
    source.onerror = lose;
  }

  function lose() {
    clearTimeout(silenceTimer);
    source?.close();
    source = null;
    onStatus("lost");
    clearTimeout(retryTimer);
    retryTimer = setTimeout(connect, Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures++));
  }

  connect();
  window.addEventListener("online", () => {
    if (retryTimer) connect();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && retryTimer) connect();
  });

  return {
    /**
     * Receive pictures of another room from now on.
     * @param {string} other
     */
    look(other) {
      room = other;
      watched = "";
      connect();
    },

    /**
     * Have the server put these clients into every picture, however many clients there are.
     * @param {Iterable<number>} numbers
     */
    watch(numbers) {
      const before = watched;
      watched = [...numbers].join(",");
      if (watched !== before) connect();
    },
  };
}

/**
 * Ask the server to do something. Throws an Error with a sentence for the user if the server did not do it.
 *
 * @param {string} action
 * @param {object} details
 * @returns {Promise<any>} the server's answer
 */
export async function act(action, details = {}) {
  const response = await reach("inspect/do", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Threadchat": "inspect" },
    body: JSON.stringify({ action, ...details }),
  });
  const answer = await response.json().catch(() => ({})); // without JSON the status has to be enough
  if (!response.ok) throw new Error(answer.error || `The server refused (${response.status}).`);
  return answer;
}

/**
 * What the server knows about one thing. Throws an Error with a sentence for the user if it does not answer.
 *
 * @param {string} address
 * @param {string} missing the sentence if there is no such thing
 * @returns {Promise<any>}
 */
export async function ask(address, missing) {
  const response = await reach(address);
  if (response.status === 404) throw new Error(missing);
  if (!response.ok) throw new Error(`The server could not answer (${response.status}).`);
  return response.json();
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 */
async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch {
    throw new Error("The server cannot be reached.");
  }
}

/**
 * The sentence of an error that was caught.
 * @param {unknown} error
 */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
