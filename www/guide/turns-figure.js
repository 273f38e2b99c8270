// @ts-check
// The convoy against the run queue: the same steps for two crowds of write pumps.

import { draw as svg, make } from "../dom.js";
import { Figure, count } from "./figure.js";
import { Crowd, NoRunQueue, RunQueue } from "./turns-model.js";

/** @import { Pump } from "./turns-model.js" */

const ASKS = 200; // a second: each thread that waits for the interpreter's lock asks for it every 5 ms
const RADIUS = { asleep: 2.5, "in line": 3.5, awake: 4.5 };

let convoy = new Crowd(24, new NoRunQueue());
let queued = new Crowd(24, new RunQueue());

const figure = new Figure("turns-figure", draw);
figure.button("The last client speaks", () => speak(queued.pumps.length - 1));
figure.button("The first client speaks", () => speak(0));
figure.button("One pump runs", run);
figure.button("All run", runAll);
figure.range("clients", { min: 2, max: 1000, value: 24 }, begin);
figure.button("Start again", () => begin(queued.pumps.length));
begin(24);
figure.show(speak(23));

/** @param {number} clients */
function begin(clients) {
  convoy = new Crowd(clients, new NoRunQueue());
  queued = new Crowd(clients, new RunQueue());
  return `${clients} clients. All write pumps sleep, because there is nothing to write.`;
}

/**
 * The last client's pump would have to wait longest, if it were not urgent.
 *
 * @param {number} index
 */
function speak(index) {
  for (const crowd of [convoy, queued]) crowd.speak(crowd.pumps[index]);
  const line = queued.pumps.filter((pump) => pump.state === "in line").length;
  return (
    `Client ${index + 1} speaks. On the left ${count(convoy.awake.length, "pump is", "pumps are")} awake, and ` +
    `one of them has the lock. On the right one has the turn, and ${count(line, "sleeps", "sleep")} in line.`
  );
}

function run() {
  const next = queued.awake[0];
  if (!next) return "All pumps sleep. Somebody has to speak first.";
  const sentence = `On the right, pump ${queued.pumps.indexOf(next) + 1} makes one frame of all that is pending for it.`;
  for (const crowd of [convoy, queued]) crowd.run();
  const heir = queued.awake[0];
  if (!heir) return `${sentence} It was the last.`;
  const urgent = heir.urgent ? ", which is urgent: its client has just spoken" : "";
  return `${sentence} It passes the turn to pump ${queued.pumps.indexOf(heir) + 1}${urgent}.`;
}

function runAll() {
  if (!queued.awake.length) return "All pumps sleep. Somebody has to speak first.";
  while (queued.awake.length) for (const crowd of [convoy, queued]) crowd.run();
  return "All pumps have written what was pending for them, and sleep.";
}

function draw() {
  return [drawCrowd("All woken at once", convoy), drawCrowd("With a run queue", queued)];
}

/**
 * @param {string} title
 * @param {Crowd} crowd
 */
function drawCrowd(title, crowd) {
  const columns = Math.ceil(Math.sqrt(crowd.pumps.length * 1.6));
  const rows = Math.ceil(crowd.pumps.length / columns);
  const dots = crowd.pumps.map((pump, index) => drawPump(pump, crowd, index % columns, Math.floor(index / columns)));
  const picture = svg("svg", { viewBox: `0 0 ${10 * columns} ${10 * rows}`, "aria-hidden": "true" }, ...dots);
  const vain = Math.max(0, crowd.awake.length - 1);
  const facts = {
    awake: count(crowd.awake.length, "thread"),
    "asking in vain": `${(vain * ASKS).toLocaleString("en")} times a second`,
    "asleep in line": count(crowd.pumps.filter((pump) => pump.state === "in line").length, "thread"),
    written: crowd.frames
      ? `${count(crowd.frames, "frame")} of ${count(+(crowd.messages / crowd.frames).toFixed(2), "message")}`
      : "nothing yet",
  };
  const list = Object.entries(facts).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value)),
  );
  return make("div", { class: "crowd" }, make("b", {}, title), picture, make("dl", {}, ...list));
}

/**
 * @param {Pump} pump
 * @param {Crowd} crowd
 * @param {number} column
 * @param {number} row
 */
function drawPump(pump, crowd, column, row) {
  const state = pump === crowd.awake[0] ? "runs" : pump.state === "awake" ? "asks" : pump.state.replace(" ", "-");
  return svg("circle", { class: `dot ${state}`, cx: 10 * column + 5, cy: 10 * row + 5, r: RADIUS[pump.state] });
}
