// @ts-check
// What this browser remembers of the tour, so that it opens by itself only once.

const KEPT = "threadchat: the tour";

/** "skipped" or "done"; "" if neither, or if the browser must not remember. */
export function remembered() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

/** @param {"skipped" | "done"} what */
export function remember(what) {
  try {
    localStorage.setItem(KEPT, what);
  } catch {
    // Forbidden, or full: then it asks again the next time.
  }
}
