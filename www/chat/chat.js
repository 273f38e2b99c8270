// @ts-check
// The chat page: one WebSocket, a log of rows, and a form with one field. The components' events are handled here.

import { Connection } from "./connection.js";
import { Form } from "./form.js";
import { Log } from "./log.js";
import { Status } from "./status.js";

const log = new Log();
const form = new Form();
const status = new Status();

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

if ("WebSocket" in window) {
  const connection = new Connection();
  listen(connection, "status", (/** @type {import("./status.js").State} */ state) => {
    // The button is about to vanish; a keyboard's focus must not vanish with it.
    if (status.hasFocus && state.name !== "waiting") form.focus();
    status.render(state);
    form.setOpen(connection.isOpen);
  });
  listen(connection, "limit", (/** @type {number} */ bytes) => form.setLimit(bytes));
  listen(connection, "lines", (/** @type {string[]} */ lines) => lines.forEach((line) => log.append(line)));
  listen(connection, "notice", (/** @type {string} */ text) => log.append(text, "notice"));
  listen(document, "say", (/** @type {string} */ text) => {
    connection.send(text);
    log.scrollToBottom(); // a person who speaks wants to see the answer
  });
  listen(document, "reconnect", () => connection.reconnectNow());
  window.addEventListener("online", () => connection.reconnectNow());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) connection.reconnectNow();
  });
  connection.connect();
} else {
  status.render({ name: "none", text: "Not connected", countdown: "" });
  form.disable();
  log.append("This browser has no WebSockets, so this page cannot chat.", "notice");
}
