// The server's pictures as they come, and what is said when they do not.

const FIRST_DELAY = 500; // ms to the first new attempt...
const LONGEST_DELAY = 5000; // ...doubled for each failure, but never more than this
const SILENCE = 10_000; // ms without a picture after which the connection counts as lost

// Calls `onPicture` with each picture's JSON text, `onStatus` with "connecting", "connected" or "lost".
export function watchServer(onPicture, onStatus) {
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
    source = new EventSource(watched ? `inspect/live?watch=${watched}` : "inspect/live");
    source.addEventListener("picture", ({ data }) => {
      failures = 0;
      clearTimeout(silenceTimer);
      silenceTimer = setTimeout(lose, SILENCE);
      onStatus("connected");
      onPicture(data);
    });
    // An EventSource gives up for good when the answer is an error: so the waiting is done here.
    source.onerror = lose;
  }

  function lose() {
    clearTimeout(silenceTimer);
    source?.close();
    source = null;
    onStatus("lost");
    clearTimeout(retryTimer);
    retryTimer = setTimeout(connect, Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures++));
  }

  connect();
  window.addEventListener("online", () => {
    if (retryTimer) connect();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && retryTimer) connect();
  });

  return {
    // Have these clients drawn for sure, whatever the others do.
    watch(numbers) {
      const before = watched;
      watched = [...numbers].join(",");
      if (watched !== before) connect();
    },
  };
}

// Ask the server to do something; returns its answer. Raises Error with a sentence if it did not.
export async function act(action, details = {}) {
  let response;
  try {
    response = await fetch("inspect/do", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Threadchat": "inspect" },
      body: JSON.stringify({ action, ...details }),
    });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  let answer = {};
  try {
    answer = await response.json();
  } catch {
    // No JSON: the status tells enough.
  }
  if (!response.ok) throw new Error(answer.error || `The server refused (${response.status}).`);
  return answer;
}

// What the server tells about one thing, as JSON. Raises Error with a sentence: `missing` where there is no such thing.
export async function ask(address, missing) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (response.status === 404) throw new Error(missing);
  if (!response.ok) throw new Error(`The server could not tell (${response.status}).`);
  return response.json();
}
