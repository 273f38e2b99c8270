// @ts-check
// A client's buffer against the talk of the room, a quarter of a second at a time.

import { draw as svg, make } from "../dom.js";
import { Figure, buffer, count, thread } from "./figure.js";
import { Room } from "./room-model.js";

const SHOWN = 24; // quarters of a second in the chart
/** How many quarters of a second the client takes to read a frame. @type {Record<string, number>} */
const PACES = { quick: 1, slow: 4, never: Infinity };

let room = new Room(8);
let said = 0;
let talk = 3; // messages in a quarter of a second
let pace = PACES.slow;
let waited = 0; // how long the frame has been under way, in quarters of a second
/** How much was pending after each. @type {number[]} */
let filled = [];

const figure = new Figure("room-figure", draw);
figure.button("A quarter of a second", pass);
figure.choice("the client", { slow: "is slow", quick: "reads", never: "has stopped reading" }, (value) => {
  pace = PACES[value];
  if (value === "quick") return "From now on the client takes a frame in every quarter of a second.";
  if (value === "slow") return "From now on the client needs a whole second for each frame.";
  return "From now on the client reads nothing.";
});
figure.range("messages each time", { min: 0, max: 8, value: talk }, (value) => {
  talk = value;
  return `From now on the room says ${count(talk, "message")} in a quarter of a second.`;
});
figure.range("room in the buffer", { min: 1, max: 16, value: room.capacity }, begin);
figure.button("Start again", () => begin(room.capacity));
begin(8);
pass();
figure.show(pass());

/** @param {number} capacity */
function begin(capacity) {
  room = new Room(capacity);
  [said, waited, filled] = [0, 0, []];
  return `A client has joined. Its buffer has room for ${count(capacity, "message")}.`;
}

function pass() {
  const { evicted, waits } = room;
  for (let number = 0; number < talk; number++) room.say(String(++said));
  const frame = room.frame.length;
  waited += frame ? 1 : 0;
  if (waited >= pace) {
    room.takeFrame();
    waited = 0;
  } else if (frame) {
    room.getStuck();
  }
  filled = [...filled, room.send.length].slice(-SHOWN);
  const news = `The room said ${count(talk, "message")}.`;
  if (evicted) return `${news} The client is gone, and nobody misses it.`;
  if (room.evicted) {
    return `${news} There was no room, and the client is stuck: the hub evicts it. The others heard all ${said}.`;
  }
  const hub = room.waits > waits ? " The hub had to wait for it." : "";
  if (!frame) return `${news} The client has nothing to read.`;
  if (!waited) return `${news} The client took a frame of ${count(frame, "message")}.${hub}`;
  const pending = count(room.send.length, "message waits", "messages wait");
  return `${news} The client is still taking its frame of ${frame}, and ${pending} in the buffer.${hub}`;
}

function draw() {
  const hub = thread("hub", "_pass_on(…)", room.rest.length ? "waits for room" : "runs");
  hub.append(make("small", {}, `the others heard ${room.heard} of ${said}`));
  const pipe = make(
    "div",
    { class: "pipe" },
    make("code", {}, `send = Channel(${room.capacity})`),
    buffer(room.send, room.capacity, "in the buffer"),
    make("small", {}, room.evicted ? "closed" : `${room.send.length} pending`),
  );
  const state = room.evicted ? "evicted" : room.stuck ? "stuck" : room.frame.length ? "writes" : "asleep";
  const pump = thread("write pump", room.frame.length ? `frame of ${room.frame.length}` : "no frame", state);
  pump.append(make("small", {}, `the client has read ${room.read}`));
  return [hub, pipe, pump, drawChart()];
}

function drawChart() {
  const bars = filled.map((pending, index) =>
    svg("rect", {
      class: pending === room.capacity ? "all" : "some",
      x: 10 * index,
      y: room.capacity - pending,
      width: 9,
      height: pending,
    }),
  );
  const shape = { class: "chart", viewBox: `0 0 ${10 * SHOWN} ${room.capacity}`, preserveAspectRatio: "none" };
  const label = `pending after each quarter of a second: ${filled.join(", ") || "nothing yet"}`;
  return svg("svg", { ...shape, role: "img", "aria-label": label }, ...bars);
}
