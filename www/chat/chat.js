// @ts-check
// The chat page: one WebSocket, a log of rows, and a form with one field. The components' events are handled here.

import { byId } from "../dom.js";
import { Arrivals } from "./arrivals.js";
import { Attention } from "./attention.js";
import { perform } from "./commands.js";
import { Connection } from "./connection.js";
import { Form } from "./form.js";
import { Key } from "./key.js";
import { Log } from "./log.js";
import { Naming } from "./naming.js";
import { Outgoing } from "./outgoing.js";
import { People } from "./people.js";
import { addressOfRoom, lobby, roomInAddress } from "./place.js";
import { Session } from "./session.js";
import { Status } from "./status.js";

/** @import { Text } from "./outgoing.js" */
/** @import { State } from "./status.js" */
/** @import { Hello, Message, Order, Ordered, Presence, Refusal, Up } from "./types.js" */

const log = new Log();
const form = new Form(roomInAddress);
const naming = new Naming();
const people = new People();
const key = new Key();
const status = new Status();
const attention = new Attention();
const session = new Session();
const known = await session.claim();
const connection = new Connection(session);
const outgoing = new Outgoing(roomInAddress, known);
const arrivals = new Arrivals(connection, log, people, attention);

let askedName = ""; // a name that was asked for, until the server has answered
let organiser = false; // whether this person is one
let ended = false; // put out of the room, or not let in

/**
 * Call `handler` with the value that comes with each event of this name.
 *
 * @template Value
 * @param {EventTarget} target
 * @param {string} name
 * @param {(value: Value) => void} handler
 */
function listen(target, name, handler) {
  target.addEventListener(name, (event) => handler(/** @type {CustomEvent<Value>} */ (event).detail));
}

/** @param {string} room */
function setRoom(room) {
  byId("room").textContent = room;
  attention.setRoom(room);
}

// From the server

listen(connection, "status", (/** @type {State} */ state) => {
  // The button is about to vanish; a keyboard's focus must not vanish with it.
  if (status.hasFocus && state.name !== "waiting") form.focus();
  ended = state.name === "ended";
  status.render(state);
});
listen(connection, "hello", (/** @type {Hello} */ hello) => {
  setRoom(hello.room);
  organiser = hello.moderator === true;
  people.hello(hello);
  naming.suggest(hello.name);
  if (connection.name) naming.keep(connection.name);
  form.setName(hello.name);
  form.setLimit(hello.message_size);
  outgoing.hello(hello, connection.returned);
  arrivals.hello();
  byId("empty").dataset.ready = "";
});
listen(connection, "msg", (/** @type {Message} */ message) => {
  outgoing.heard(message);
  arrivals.message(message);
});
listen(connection, "order", (/** @type {Ordered} */ entry) => arrivals.order(entry));
listen(connection, "presence", (/** @type {Presence} */ entry) => {
  arrivals.presence(entry);
  if (!people.isMe(entry)) return;
  form.setName(people.me);
  if (entry.type === "name" && askedName) naming.keep(askedName);
});
listen(connection, "gap", (/** @type {{ unannounced: boolean }} */ { unannounced }) => {
  log.notice("Messages may be missing here.", "gap");
  if (unannounced) outgoing.gap();
});
listen(connection, "ack", (/** @type {{ n: number }} */ { n }) => outgoing.acknowledged(n));
listen(connection, "error", (/** @type {Refusal} */ refusal) => {
  if (refusal.n != null) {
    outgoing.refused(refusal);
  } else {
    connection.name = naming.known; // if it was a name that was refused
    form.note(refusal.text);
  }
});
listen(connection, "state", (/** @type {{ log: string }} */ state) => outgoing.setLog(state.log === "up"));
listen(connection, "closed", () => outgoing.closed());
connection.addEventListener("shut", async () => {
  if (!(await key.isMissing()) || connection.isOpen) return;
  connection.halt("This chat has a key.");
  key.ask();
});

// To the server

listen(outgoing, "up", (/** @type {Up} */ up) => connection.send(up));
listen(outgoing, "changed", () => log.setOutgoing(outgoing.texts));
listen(outgoing, "late", () => form.speak("A message has not been delivered yet."));
listen(outgoing, "stuck", () => connection.end("The server does not answer."));
listen(outgoing, "refused", (/** @type {{ texts: string[], why: string }} */ { texts, why }) =>
  form.giveBack(texts, `Not sent: ${why}`),
);
session.addEventListener("replaced", () => {
  outgoing.forget();
  connection.connect();
});

// From the person

const actions = {
  /** @param {string} name */
  rename(name) {
    askedName = connection.name = name;
    if (connection.isOpen) connection.send({ type: "name", name });
  },
  /** @param {string} room */
  enter: (room) => location.assign(addressOfRoom(room)),
  save() {
    const address = URL.createObjectURL(new Blob([log.transcript], { type: "text/plain" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = `${byId("room").textContent}.txt`;
    link.click();
    URL.revokeObjectURL(address);
  },
  /** @param {string} text */
  show: (text) => log.notice(text),
  people: () => people.words,
  isOrganiser: () => organiser,
  /** @param {string} name */
  tagOf: (name) => people.tagOf(name),
  /** @param {Order} order */
  order(order) {
    if (!connection.isOpen) throw new Error("There is no connection just now.");
    connection.send(order);
  },
};

document.addEventListener("say", (event) => {
  const { detail } = /** @type {CustomEvent<string>} */ (event);
  try {
    const text = perform(detail, actions);
    if (text && ended) throw new Error("You are not in this room.");
    if (text) outgoing.say(text);
    log.scrollToBottom(); // a person who speaks wants to see the answer
  } catch (error) {
    event.preventDefault();
    form.note(/** @type {Error} */ (error).message);
  }
});
listen(document, "named", (/** @type {string} */ name) => {
  naming.done();
  form.show(true);
  form.focus();
  if (name) actions.rename(name);
});
listen(document, "again", (/** @type {Text} */ text) => outgoing.again(text));
listen(document, "discard", (/** @type {Text} */ text) => outgoing.discard(text));
listen(document, "opened", () => connection.connect());
listen(document, "reconnect", () => connection.connect());
byId("save").addEventListener("click", actions.save);
byId("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = byId("room-name", HTMLInputElement).value.trim();
  if (room) actions.enter(room);
});

// From the browser

window.addEventListener("online", () => connection.check());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connection.check();
});
// The first "pageshow" comes right after "load"; another one, when the page comes back from the browser's cache.
const onceLoaded = () => setTimeout(() => window.addEventListener("pageshow", () => connection.check()));
if (document.readyState === "complete") onceLoaded();
else window.addEventListener("load", onceLoaded);

// The beginning

setRoom(roomInAddress);
byId("guide", HTMLAnchorElement).href = new URL("guide", lobby).href;
byId("to-lobby", HTMLAnchorElement).href = addressOfRoom("lobby").href;
form.names = () => people.others;
log.setOutgoing(outgoing.texts);
if ("WebSocket" in window) {
  connection.name = naming.known;
  form.show(connection.name !== "");
  if (connection.name) form.focus();
  else naming.ask();
  await key.takeFromAddress();
  if (!connection.isTrying) connection.connect();
} else {
  status.render({ name: "none", text: "Not connected", countdown: "" });
  log.notice("This browser has no WebSockets, so this page cannot chat.");
}
