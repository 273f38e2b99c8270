// @ts-check
// The chat page: one WebSocket, a log of rows, and a form with one field. The components' events are handled here.

import { byId } from "../dom.js";
import { Attention } from "./attention.js";
import { perform } from "./commands.js";
import { Connection } from "./connection.js";
import { Form } from "./form.js";
import { Log } from "./log.js";
import { Naming } from "./naming.js";
import { Outgoing } from "./outgoing.js";
import { People } from "./people.js";
import { addressOfRoom, lobby, roomInAddress } from "./place.js";
import { nameIn } from "./row.js";
import { Session } from "./session.js";
import { Status } from "./status.js";
import { mentions } from "./text.js";

/** @import { Text } from "./outgoing.js" */
/** @import { State } from "./status.js" */
/** @import { Hello, Message, Presence, Refusal, Up } from "./types.js" */

const log = new Log();
const form = new Form(roomInAddress);
const naming = new Naming();
const people = new People();
const status = new Status();
const attention = new Attention();
const session = new Session();

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

/** @param {string} room */
const enter = (room) => location.assign(addressOfRoom(room));

/** Save what the page shows as a text file. */
function save() {
  const address = URL.createObjectURL(new Blob([log.transcript], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${byId("room").textContent}.txt`;
  link.click();
  URL.revokeObjectURL(address);
}

/** What goes to the server and comes from it. @param {boolean} known whether the session is the one from before a reload */
function chat(known) {
  const connection = new Connection(session);
  const outgoing = new Outgoing(roomInAddress, known);
  let askedName = ""; // a name that was asked for, until the server has answered
  let joining = true; // the history of the first join is coming
  let ended = false; // put out of the room
  connection.name = naming.known;

  /** @param {string} name */
  const rename = (name) => {
    askedName = connection.name = name;
    if (connection.isOpen) connection.send({ type: "name", name });
  };
  const actions = { rename, enter, save, people: () => people.words, show: (/** @type {string} */ text) => log.notice(text) };

  /** Draw the line below which everything is new, once the history is complete. */
  const joined = () => {
    joining = false;
    if (!log.isEmpty) log.notice("You joined here", "joined");
  };

  /** Handle an entry of the room's log. @param {(past: boolean) => void} handle @param {Message | Presence} entry */
  const place = (entry, handle) => {
    if (joining && !connection.isPast(entry.id)) joined();
    handle(connection.isPast(entry.id));
    if (joining && !connection.isPast(entry.id + 1)) joined();
  };

  /** @param {Presence} entry @param {(before: string) => string} words */
  const presence = (entry, words) =>
    place(entry, (past) => {
      const before = people.nameBefore(entry);
      if (!past) people.changed(entry);
      form.setName(people.me);
      // One's own coming and going is no news; in a crowd, or before one came, nobody's is.
      const news = !people.isCrowd && !people.isMe(entry) && (!past || connection.returned);
      if (news || entry.type === "name") log.notice(words(before));
    });

  listen(connection, "status", (/** @type {State} */ state) => {
    // The button is about to vanish; a keyboard's focus must not vanish with it.
    if (status.hasFocus && state.name !== "waiting") form.focus();
    ended = state.name === "ended";
    status.render(state);
  });
  listen(connection, "hello", (/** @type {Hello} */ hello) => {
    setRoom(hello.room);
    people.hello(hello);
    naming.suggest(hello.name);
    if (connection.name) naming.keep(connection.name);
    form.setName(hello.name);
    form.setLimit(hello.message_size);
    outgoing.hello(hello, connection.returned);
    byId("empty").dataset.ready = "";
  });
  listen(connection, "msg", (/** @type {Message} */ message) =>
    place(message, (past) => {
      const mine = people.isMe(message);
      const mentioned = !mine && mentions(message.text, people.me);
      const history = past && !connection.returned;
      outgoing.heard(message);
      if (message.name !== null) people.nameBefore({ name: message.name, by: message.by });
      log.message(message, { me: people.me, mine, mentioned, past: history });
      if (!mine && !history) attention.message(nameIn(message), message.text, mentioned);
    }),
  );
  listen(connection, "join", (/** @type {Presence} */ entry) => presence(entry, () => `${entry.name} joined`));
  listen(connection, "leave", (/** @type {Presence} */ entry) => presence(entry, () => `${entry.name} left`));
  listen(connection, "name", (/** @type {Presence} */ entry) => {
    if (people.isMe(entry) && askedName) naming.keep(askedName);
    presence(entry, (before) => `${before || "Somebody"} is now called ${entry.name}`);
  });
  listen(connection, "ack", (/** @type {{ n: number }} */ { n }) => outgoing.acknowledged(n));
  listen(connection, "error", (/** @type {Refusal} */ refusal) => {
    if (refusal.n != null) {
      outgoing.refused(refusal);
    } else {
      connection.name = naming.known;
      form.note(refusal.text);
    }
  });
  listen(connection, "gap", (/** @type {{ unannounced: boolean }} */ { unannounced }) => {
    log.notice("Messages may be missing here.", "gap");
    if (unannounced) outgoing.gap();
  });
  listen(connection, "state", (/** @type {{ log: string }} */ state) => outgoing.setLog(state.log === "up"));
  listen(connection, "closed", () => outgoing.closed());

  listen(outgoing, "up", (/** @type {Up} */ up) => connection.send(up));
  listen(outgoing, "changed", () => log.setOutgoing(outgoing.texts));
  listen(outgoing, "late", () => form.speak("A message has not been delivered yet."));
  listen(outgoing, "stuck", () => connection.end("The server does not answer."));
  listen(outgoing, "refused", (/** @type {{ texts: string[], why: string }} */ { texts, why }) =>
    form.giveBack(texts, `Not sent: ${why}`),
  );

  document.addEventListener("say", (event) => {
    const { detail } = /** @type {CustomEvent<string>} */ (event);
    try {
      const text = perform(detail, actions);
      if (text && ended) throw new Error("You are not in this room any more.");
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
    if (name) rename(name);
  });
  listen(document, "again", (/** @type {Text} */ text) => outgoing.again(text));
  listen(document, "discard", (/** @type {Text} */ text) => outgoing.discard(text));
  listen(document, "reconnect", () => connection.connect());
  session.addEventListener("replaced", () => {
    outgoing.forget();
    connection.connect();
  });

  window.addEventListener("online", () => connection.check());
  // The first "pageshow" comes right after "load"; another one, when the page comes back from the browser's cache.
  const loaded = () => setTimeout(() => window.addEventListener("pageshow", () => connection.check()));
  if (document.readyState === "complete") loaded();
  else window.addEventListener("load", loaded);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) connection.check();
  });

  log.setOutgoing(outgoing.texts);
  form.names = () => people.others;
  form.show(Boolean(naming.known));
  if (naming.known) form.focus();
  else naming.ask();
  connection.connect();
}

setRoom(roomInAddress);
byId("guide", HTMLAnchorElement).href = new URL("guide", lobby).href;
byId("to-lobby", HTMLAnchorElement).href = addressOfRoom("lobby").href;
byId("save").addEventListener("click", save);
byId("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("room-name", HTMLInputElement).value.trim();
  if (name) enter(name);
});

if ("WebSocket" in window) {
  chat(await session.claim());
} else {
  status.render({ name: "none", text: "Not connected", countdown: "" });
  form.disable();
  log.notice("This browser has no WebSockets, so this page cannot chat.");
}
