// @ts-check
// The legend below the drawing: what the colours and shapes of the threads mean.

import { byId, make } from "../dom.js";
import { hinted } from "./hints.js";
import { icon } from "./icon.js";

/** @type {[family: string, means: string][]} */
const LEGEND = [
  ["waits", "Receiving, selecting, reading or listening: asleep until something comes."],
  ["ready", "Ready: can go on, and waits for its turn to run."],
  ["running", "Running Python code."],
  ["writing", "Writing: inside a write to its socket, or to the store."],
  ["sending", "Sending: waits to send to a channel that has no room, or whose receiver is busy; or for a hub that is behind."],
  ["stuck", "Stuck: a frame has waited for the peer for more than a quarter of a second; or the store is down."],
  ["paused", "Paused: the hub, held still by you."],
  ["leaving", "Leaving: the closing handshake, or ended."],
];

export function makeLegend() {
  for (const [family, means] of LEGEND) {
    const item = make("li", { "data-family": family }, icon(family), family);
    hinted(item, () => means);
    byId("legend").append(item);
  }
}
