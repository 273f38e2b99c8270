// The chat page: one WebSocket, a log of rows, and a form with one field.

const MAX_ROWS = 5000;         // the oldest rows go first
const FRAME = 16;              // ms of messages gathered into one change of the page
const FIRST_DELAY = 1000;      // ms: the longest wait before the first new attempt...
const LONGEST_DELAY = 10_000;  // ...doubled for each failure, but never more than this
const SETTLED = 5000;          // ms a connection must last before the waits start short again
const CONNECT_TIMEOUT = 10_000;

const byId = (id) => document.getElementById(id);
const log = byId("log");
const form = byId("form");
const msg = byId("msg");
const send = byId("send");
const counter = byId("counter");
const more = byId("more");
const state = byId("state");
const countdown = byId("countdown");
const reconnect = byId("reconnect");

// ---- The log ----

let pending = [];     // rows not yet on the page
let flushTimer = 0;
let unread = 0;       // messages added below what the reader is looking at
let following = true; // the log was at its bottom when last seen

// Add one row. Rows reach the page in batches, so that a burst costs one layout a frame and not one
// a line. A timer sets the pace, as a hidden page is given no animation frames.
function appendLog(text, kind = "message") {
  pending.push({ text, kind });
  flushTimer ||= setTimeout(flushLog, FRAME);
}

function flushLog() {
  flushTimer = 0;
  const items = pending.slice(-MAX_ROWS);
  pending = [];

  // Measure before changing anything: where the reader is, and where the oldest row that stays is.
  const doScroll = isAtBottom();
  const excess = Math.max(0, log.childElementCount + items.length - MAX_ROWS);
  const anchor = log.children[excess];
  const before = anchor?.getBoundingClientRect().top;

  for (let i = 0; i < excess; i++) log.firstChild?.remove();
  log.append(...items.map(makeRow));

  if (doScroll) {
    scrollToBottom();
  } else {
    // Removing rows above pulls the others up; give back exactly as much.
    if (anchor && excess) log.scrollTop += anchor.getBoundingClientRect().top - before;
    setUnread(unread + items.filter((item) => item.kind === "message").length);
  }
}

function makeRow({ text, kind }) {
  const item = document.createElement("div");
  item.className = kind;
  item.textContent = text; // never HTML: the text comes from strangers
  return item;
}

function isAtBottom() {
  // Zoomed pages have fractions of a pixel, so do not ask for exact equality.
  return log.scrollHeight - log.clientHeight - log.scrollTop < 2;
}

function scrollToBottom() {
  log.scrollTop = log.scrollHeight;
  following = true;
  setUnread(0);
}

function setUnread(count) {
  unread = count;
  more.hidden = count === 0;
  if (count) more.textContent = count === 1 ? "1 new message" : `${count} new messages`;
}

log.addEventListener("scroll", () => {
  following = isAtBottom();
  if (following) setUnread(0);
}, { passive: true });

// A phone's keyboard or a turned screen changes the log's size: stay at the bottom if it was there.
new ResizeObserver(() => { if (following) scrollToBottom(); }).observe(log);

more.addEventListener("mousedown", (event) => event.preventDefault()); // leave the focus in the field
more.addEventListener("click", () => {
  // The button is about to vanish; a keyboard's focus must not vanish with it.
  if (document.activeElement === more) log.focus({ preventScroll: true });
  scrollToBottom();
});

// ---- The form ----

const encoder = new TextEncoder();
let limit = 512; // bytes in one message, until the server says otherwise

const byteLength = (text) => encoder.encode(text).length;

// Show how the text in the field stands against the limit, and whether it can be sent.
function checkLength() {
  const bytes = byteLength(msg.value.trim());
  const over = bytes > limit;
  let text = "";
  if (bytes > limit * 0.8) text = `${bytes} of ${limit} bytes`;
  if (over) text += `: ${bytes - limit} too many to send`;
  counter.textContent = text;
  msg.setAttribute("aria-invalid", String(over));
  send.setAttribute("aria-disabled", String(over || !isOpen()));
}

msg.addEventListener("input", checkLength);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  msg.focus();
  const text = msg.value.trim();
  // Text that cannot be sent now stays in the field.
  if (!text || byteLength(text) > limit || !isOpen()) return;
  conn.send(text);
  msg.value = "";
  checkLength();
});

// ---- The connection ----

let conn = null;
let failures = 0;    // attempts since a connection last settled
let lost = false;    // a connection was lost, and none has come in its place
let retryTimer = 0;  // set only while waiting to reconnect

const isOpen = () => conn !== null && conn.readyState === WebSocket.OPEN;

// A page served over https must use wss, and the address must keep any prefix of the page's own.
const address = new URL("ws", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";

async function connect() {
  clearTimeout(retryTimer);
  retryTimer = 0;
  if (failures) setStatus("reconnecting", "Reconnecting…");
  else setStatus("connecting", "Connecting…");
  await fetchLimit(); // first, so that nothing too long is sent as soon as the connection opens

  let settleTimer = 0;
  let opened = false;
  conn = new WebSocket(address);
  const giveUpTimer = setTimeout(() => { if (!opened) conn.close(); }, CONNECT_TIMEOUT);

  conn.onopen = () => {
    opened = true;
    if (lost) appendLog("Connected again. What was said in between is not shown.", "notice");
    lost = false;
    settleTimer = setTimeout(() => { failures = 0; }, SETTLED);
    setStatus("connected", "Connected");
  };

  conn.onmessage = (event) => {
    // The server may put several messages in one, a line each.
    for (const line of event.data.split("\n")) appendLog(line);
  };

  conn.onclose = (event) => {
    clearTimeout(giveUpTimer);
    clearTimeout(settleTimer);
    const why = opened ? explain(event) : "Could not connect.";
    // One row for each connection lost; a busy server's refusal is a failed attempt, not a loss.
    if (opened && event.code !== 1013) {
      appendLog("Connection closed.", "notice");
      lost = true;
      // What concerns this page alone is worth reading after it is connected again.
      if (event.code === 1008 || event.code === 1009) appendLog(why, "notice");
    }
    // Full jitter: pages that lost the same server must not all come back at the same moment.
    const delay = Math.random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures++);
    waitToReconnect(why, Date.now() + delay);
  };
}

function waitToReconnect(why, due) {
  const left = due - Date.now();
  if (left <= 0) {
    connect();
    return;
  }
  const seconds = Math.ceil(left / 1000);
  setStatus("waiting", `${why} Reconnecting`, `in ${seconds} ${seconds === 1 ? "second" : "seconds"}`);
  retryTimer = setTimeout(waitToReconnect, left - (seconds - 1) * 1000, why, due);
}

// Try at once, but only if waiting: an attempt under way is left alone.
function reconnectNow() {
  if (retryTimer) connect();
}

async function fetchLimit() {
  try {
    const response = await fetch("limits", { cache: "no-store", signal: AbortSignal.timeout(3000) });
    const { message_size: size } = await response.json();
    if (Number.isInteger(size) && size > 0) limit = size;
  } catch {
    // Keep the limit known so far.
  }
  checkLength();
}

function explain({ code, reason }) {
  switch (code) {
    case 1001: return "The server is stopping.";
    case 1006: return "The connection was lost.";
    case 1008: return `The server removed this page: ${(reason || "it was not keeping up").replace(/\.?$/, ".")}`;
    case 1009: return "The server found a message too long.";
    case 1013: return "The server is busy.";
    default: return "The connection ended.";
  }
}

function setStatus(name, text, seconds = "") {
  document.body.dataset.connection = name; // for the style sheet
  if (state.textContent !== text) state.textContent = text; // told aloud once, not at each tick
  countdown.textContent = seconds;
  if (name !== "waiting" && document.activeElement === reconnect) msg.focus();
  reconnect.hidden = name !== "waiting";
  checkLength();
}

if ("WebSocket" in window) {
  reconnect.addEventListener("click", reconnectNow);
  window.addEventListener("online", reconnectNow);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) reconnectNow(); });
  connect();
} else {
  document.body.dataset.connection = "none";
  state.textContent = "Not connected";
  msg.disabled = send.disabled = true;
  appendLog("This browser has no WebSockets, so this page cannot chat.", "notice");
}
