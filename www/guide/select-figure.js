// @ts-check
// A select with several cases ready: which one is chosen?

import { draw as svg, make } from "../dom.js";
import { Channel, isReady, oneOf, select } from "./channel-model.js";
import { Figure, buffer, count, thread } from "./figure.js";

/** @import { Case, Outcome } from "./channel-model.js" */

const ROOM = 3; // items in a and b; c has room for one
const CHOICES = 300;

const [a, b, c] = [new Channel(ROOM), new Channel(ROOM), new Channel(1)];
/** @type {Case[]} */
const cases = [{ channel: a }, { channel: b }, { channel: c, item: "x" }];
const CODE = ["a", "b", 'Send(c, "x")'];
const NAMES = ["a", "b", "c"];
let items = 0;
let asleep = false;
let withDefault = false;
let returned = "nothing yet";
/** @type {number[]} */
let chosen = [];

const figure = new Figure("select-figure", draw);
figure.button("select", run);
figure.button(`Choose ${CHOICES} times`, chooseOften);
figure.button("Put one into a", () => put(a));
figure.button("Put one into b", () => put(b));
figure.button("Take one out of c", take);
figure.choice("default", { no: "no default", yes: "default=True" }, (value) => {
  withDefault = value === "yes";
  return withDefault ? "With a default, the next select will not wait." : "Without a default, a select waits.";
});
figure.button("Start again", begin);
figure.show(begin());

function begin() {
  for (const channel of [a, b, c]) [channel.buffer, channel.receivers, channel.senders] = [[], [], []];
  [items, asleep, returned, chosen] = [0, false, "nothing yet", [0, 0, 0]];
  put(a);
  put(b);
  put(b);
  c.offer("w");
  return "There are items in a and in b, so two cases are ready. The third is not: c is full.";
}

function run() {
  if (asleep) return "The thread is asleep in its select. Put something into a or b, or take something out of c.";
  chosen = [0, 0, 0];
  const ready = names(cases.filter(isReady));
  if (!ready.length && withDefault) {
    returned = "(None, None)";
    return "No case is ready, so the default is chosen: the select returns (None, None) at once.";
  }
  asleep = true;
  select(cases, wake);
  if (asleep) return "No case is ready: the thread falls asleep, in the lines of all three channels.";
  if (ready.length === 1) return `Only ${ready[0]} was ready. The select returned ${returned}.`;
  return `${ready.join(" and ")} were ready; chance decided. The select returned ${returned}.`;
}

/** @param {Outcome} outcome */
function wake(outcome) {
  asleep = false;
  const index = cases.indexOf(outcome.case);
  returned = `(${["a", "b", "to_c"][index]}, ${outcome.item || "None"})`;
}

/** Choose, but let no case proceed, so that the same cases stay ready. */
function chooseOften() {
  if (asleep) return "The thread is asleep: nothing is ready to be chosen.";
  const ready = cases.filter(isReady);
  chosen = [0, 0, 0];
  if (!ready.length) return "No case is ready, so there is nothing to choose from.";
  for (let turn = 0; turn < CHOICES; turn++) chosen[cases.indexOf(oneOf(ready))] += 1;
  return `As it is now, ${CHOICES} selects would choose among ${count(ready.length, "case")} like this.`;
}

/** @param {Channel} channel */
function put(channel) {
  const name = NAMES[[a, b].indexOf(channel)];
  if (!isReady({ channel, item: "" })) return `${name} is full.`;
  const [item, slept] = [String(++items), asleep];
  chosen = [0, 0, 0];
  channel.offer(item);
  if (slept) return `${item} is handed to the select directly. It wakes, leaves all lines, and returns ${returned}.`;
  return `${item} is in the buffer of ${name}: a receive from it is ready.`;
}

function take() {
  if (!c.buffer.length) return "c is empty.";
  const slept = asleep;
  chosen = [0, 0, 0];
  const item = c.take();
  if (slept) return `${item} is taken, and the select puts x in its place. It wakes, and returns ${returned}.`;
  return `${item} is taken out of c: now a send to it is ready.`;
}

/** @param {Case[]} some */
function names(some) {
  return some.map((each) => NAMES[cases.indexOf(each)]);
}

function draw() {
  const code = "case, item = select(a, b, to_c := Send(c, \"x\")" + (withDefault ? ", default=True)" : ")");
  const chooser = thread("the thread", code, asleep ? "asleep in three lines" : "runs");
  chooser.append(make("small", {}, `returned last: ${returned}`));
  const rows = cases.map((each, index) => {
    const ready = isReady(each);
    const bar = svg("rect", { width: chosen[index], height: 1 });
    const shape = { class: "bar", viewBox: `0 0 ${CHOICES} 1`, preserveAspectRatio: "none", "aria-hidden": "true" };
    const chart = svg("svg", shape, bar);
    return make(
      "tr",
      { "data-ready": ready },
      make("th", { scope: "row" }, make("code", {}, CODE[index])),
      make("td", {}, buffer(each.channel.buffer, each.channel.capacity, `in ${NAMES[index]}`)),
      make("td", {}, ready ? "ready" : "not ready"),
      make("td", {}, String(chosen[index]), chart),
    );
  });
  const heads = ["case", "buffer", "now", `chosen, of ${CHOICES}`].map((head) => make("th", { scope: "col" }, head));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return [chooser, table];
}
