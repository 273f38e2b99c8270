// What the inspector's other files share: the words for what is shown, numbers as people write them, and elements.

// The states of a thread. `family` gives the colour and the shape; the word is always there too.
const STATES = {
  receiving: { family: "waits", means: "waits to receive from" },
  selecting: { family: "waits", means: "waits for a message on any of its channels" },
  reading: { family: "waits", means: "waits for bytes from its socket" },
  ready: { family: "ready", means: "can go on, and waits for its turn to run" },
  running: { family: "running", means: "runs" },
  writing: { family: "writing", means: "is inside a write to its socket" },
  sending: { family: "sending", means: "waits to send to" },
  stuck: { family: "stuck", means: "has waited long for its peer to take bytes, and stepped away from its channel" },
  paused: { family: "paused", means: "is held still by you" },
  leaving: { family: "leaving", means: "says goodbye: the closing handshake" },
  gone: { family: "leaving", means: "has ended" },
};

export const LEGEND = [
  ["waits", "waits", "receiving, selecting or reading: asleep until something comes"],
  ["ready", "ready", "ready: can go on, and waits for its turn to run"],
  ["running", "running", "running Python code"],
  ["writing", "writing", "writing: inside a write to its socket"],
  ["sending", "sending", "sending: waits to send to a channel that has no room, or whose receiver is busy"],
  ["stuck", "stuck", "stuck: the peer takes no more bytes, and has not for a while"],
  ["paused", "paused", "paused: the hub, held still by you"],
  ["leaving", "leaving", "leaving: the closing handshake, or ended"],
];

export const family = (state) => STATES[state]?.family ?? "waits";

// A sentence about a thread.
export function tellThread(thread) {
  const { means } = STATES[thread.state] ?? { means: thread.state };
  const on = means.endsWith(" from") || means.endsWith(" to") ? ` ${thread.on || "a channel"}` : "";
  return `${thread.name} ${means}${on}, for ${duration(thread.for)}.`;
}

// A sentence about a channel.
export function tellChannel(channel) {
  const room = channel.capacity
    ? `${count(channel.pending)} of ${count(channel.capacity)} messages are waiting in it`
    : "it is unbuffered: a send waits for its receiver";
  const waiting = [];
  if (channel.senders) waiting.push(`${count(channel.senders)} waiting to send`);
  if (channel.receivers) waiting.push(`${count(channel.receivers)} waiting to receive`);
  if (channel.closed) waiting.push("closed");
  return `Channel ${channel.name}: ${[room, ...waiting].join("; ")}.`;
}

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (number) => whole.format(number);
export const short = (number) => (number < 10_000 ? whole.format(number) : compact.format(number));
export const rate = (number) => (number < 10 ? number.toFixed(1) : short(Math.round(number)));

export function duration(seconds) {
  if (seconds < 0.001) return "less than 1 ms";
  if (seconds < 0.1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

export function milliseconds(seconds) {
  const ms = seconds * 1000;
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : count(Math.round(ms));
}

// The reason of an eviction in few words, and all that the server tells of it: "1008 evicted: too slow; 256 waited".
export const reasonOf = (reason) => (reason || "").replace(/^\d+ /, "").replace(/^evicted(: )?/, "");
export const briefly = (reason) => reasonOf(reason).split(";")[0];

export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

export const byId = (id) => document.getElementById(id);

// An element with attributes and children. Strings become text, never HTML: names and messages come from strangers.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  return draw(
    "svg",
    { class: "icon", viewBox: "0 0 12 12", "aria-hidden": "true" },
    draw("use", { href: `#i-${name}` }),
  );
}

// Ten pictures a second, most of them like the one before: touch only what has changed.
const texts = new WeakMap();
export function setText(element, text) {
  if (texts.get(element) === text) return;
  texts.set(element, text);
  element.textContent = text;
}

export function setData(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

export const still = matchMedia("(prefers-reduced-motion: reduce)");

// What is told about an element while it is pointed at or has the focus.
const hints = new WeakMap();
export function hinted(element, tell) {
  hints.set(element, tell);
  element.dataset.hinted = "";
}

export function hintOf(element) {
  const told = element?.closest?.("[data-hinted]");
  return told ? hints.get(told)() : "";
}
