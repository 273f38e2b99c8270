// @ts-check
// Two threads and a channel between them, step by step.

import { make } from "../dom.js";
import { Channel } from "./channel-model.js";
import { Figure, buffer, thread } from "./figure.js";

let channel = new Channel(2);
let sent = 0;
let sleepingSender = false;
let sleepingReceiver = false;
/** @type {string[]} */
let received = [];

const figure = new Figure("channel-figure", draw);
const sendButton = figure.button("Send", send);
figure.button("Receive", receive);
figure.button("Close", close);
figure.range("capacity", { min: 0, max: 6, value: 2 }, begin);
figure.button("Start again", () => begin(channel.capacity));
begin(2);
send();
send();
figure.show(send());

/** @param {number} capacity */
function begin(capacity) {
  channel = new Channel(capacity);
  [sent, received, sleepingSender, sleepingReceiver] = [0, [], false, false];
  return capacity
    ? `A new channel with room for ${capacity}. Both threads run.`
    : "A new channel without a buffer: an item can only go from hand to hand. Both threads run.";
}

function send() {
  if (sleepingSender) return "The sender is asleep. It can do nothing until somebody receives its item.";
  const [handedOver, item] = [sleepingReceiver, String(sent + 1)];
  sent += channel.closed ? 0 : 1;
  sleepingSender = true;
  let sentence = "";
  channel.send(item, ({ closed }) => {
    sleepingSender = false;
    if (closed) sentence = "The channel is closed: the send raises Closed.";
    else if (handedOver) sentence = `The receiver was waiting: it is handed ${item} directly, and wakes.`;
    else sentence = `There is room: ${item} goes into the buffer, and the sender goes on.`;
  });
  return sentence || `There is no room, and nobody receives: the sender falls asleep, holding ${item}.`;
}

function receive() {
  if (sleepingReceiver) return "The receiver is asleep. It can do nothing until somebody sends, or closes the channel.";
  const held = sleepingSender ? String(sent) : "";
  sleepingReceiver = true;
  let sentence = "";
  channel.receive(({ item, closed }) => {
    sleepingReceiver = false;
    if (!closed) received.push(item);
    if (closed) sentence = "The channel is closed and empty: the receive raises Closed.";
    else if (held === item) sentence = `The receiver takes ${item} from the sender's hand, and the sender wakes.`;
    else if (held) sentence = `The receiver gets ${item}. Now there is room for ${held}, and the sender wakes.`;
    else sentence = `The receiver gets ${item}, the oldest.`;
  });
  return sentence || "There is nothing to receive: the receiver falls asleep.";
}

function close() {
  if (sleepingSender) return "The sender is asleep, and only the sender may close.";
  if (channel.closed) return "The channel is closed already: closing it again raises Closed.";
  const woken = sleepingReceiver;
  channel.close();
  if (woken) return "The sender closes the channel. The receiver wakes, and its receive raises Closed.";
  return "The sender closes the channel. What is in the buffer can still be received.";
}

function draw() {
  sendButton.textContent = sleepingSender ? "Send" : `Send ${sent + 1}`;
  const held = sleepingSender ? [make("span", { class: "item" }, String(sent))] : [];
  const sender = thread("sender", `ch.send(${sleepingSender ? sent : sent + 1})`, sleepingSender ? "asleep" : "runs");
  sender.append(...held);
  const got = received.length ? `has received ${received.join(" ")}` : "has received nothing";
  const receiver = thread("receiver", "ch.receive()", sleepingReceiver ? "asleep" : "runs");
  receiver.append(make("small", {}, got));
  const pipe = make(
    "div",
    { class: "pipe" },
    make("code", {}, `ch = Channel(${channel.capacity})`),
    buffer(channel.buffer, channel.capacity, "in the buffer"),
    make("small", {}, `len(ch) is ${channel.buffer.length}${channel.closed ? ", closed" : ""}`),
  );
  return [sender, pipe, receiver];
}
