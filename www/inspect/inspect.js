// The inspector: the server's pictures come in, the newest is drawn, or the one that somebody stepped back to.

import { Actions } from "./actions.js";
import { Detail } from "./detail.js";
import { Events } from "./events.js";
import { History } from "./history.js";
import { Lessons } from "./lessons.js";
import { watchServer } from "./live.js";
import { Stage } from "./stage.js";
import { byId, count, draw, hintOf, plural, setText } from "./words.js";

const STRIP_EVERY = 3; // pictures to one drawing of the strip
const MOST_FLIGHTS = 20; // events shown on their way at once
const READING = 8000; // ms that what was pointed at stays explained

const history = new History();
let picture = null; // the one that is drawn
let shownAt = null; // its time while the picture is paused; null: live
let fresh = []; // events of pictures that came since the last drawing
let due = 0;
let pinned = new Set();

const stage = new Stage({
  onThread: (thread) => detail.showThread(thread, picture, pinned),
  onChannel: (channel) => detail.showChannel(channel, picture, pinned),
  onPin: pin,
  onAction: (name, { client }) =>
    actions.run(name, { client }, name === "vanish" ? `Client ${client} has vanished.` : `Client ${client} leaves.`),
});
const detail = new Detail(history, { onPin: pin, onSelect: select });
const events = new Events((event) => detail.showMessage(event), explain);
const actions = new Actions();
const lessons = new Lessons();

const live = watchServer((text) => {
  const newest = history.newest;
  const came = history.add(text);
  if (came.t < newest) {
    // the server was started anew
    events.clear();
    setLive();
  }
  events.add(came.events);
  fresh = [...fresh, ...came.events].slice(-MOST_FLIGHTS); // a hidden page draws nothing
  if (shownAt === null) picture = came;
  due ||= requestAnimationFrame(render);
}, setStatus);

let drawn = 0;
function render() {
  due = 0;
  if (!picture) return;
  stage.render(picture, history.ghosts(picture.t), pinned);
  detail.render(picture, pinned);
  actions.render(picture);
  if (shownAt === null) stage.fly(fresh);
  fresh = [];
  drawTransport();
  if (drawn++ % STRIP_EVERY === 0 || shownAt !== null) drawStrip();
  drawHint();
}

function pin(number) {
  pinned = new Set(pinned);
  if (!pinned.delete(number)) pinned.add(number);
  watch();
  render();
}

// Mark the thread or channel that is looked into. In a crowd its client has to be kept in the drawing.
let lookedInto = 0;
function select(name) {
  stage.select(name);
  lookedInto = picture?.crowd.count ? Number(/-(\d+)$/.exec(name)?.[1] ?? 0) : 0;
  watch();
}

const watch = () => live.watch(new Set([...pinned, lookedInto].filter(Boolean)));

// ---- The connection ----

const lost = () => document.body.dataset.connection === "lost";

function setStatus(status) {
  if (document.body.dataset.connection === status) return;
  document.body.dataset.connection = status;
  byId("status").textContent =
    status === "connected"
      ? "Connected"
      : "The connection to the server is lost. What you see is the last picture. Trying again…";
  if (lost()) {
    stage.settle();
    due ||= requestAnimationFrame(render);
  }
}

// ---- Time ----

const pauseButton = byId("pause");
const scrubber = byId("scrubber");

function setLive() {
  shownAt = null;
  events.upTo(null);
  if (history.length) picture = history.picture(history.length - 1);
  due ||= requestAnimationFrame(render);
}

function showAt(index) {
  if (!history.length) return;
  const at = Math.max(0, Math.min(history.length - 1, index));
  shownAt = history.timeOf(at);
  picture = history.picture(at);
  stage.settle();
  events.upTo(shownAt);
  render();
}

const shownIndex = () => (shownAt === null ? history.length - 1 : history.indexAt(shownAt));
const togglePause = () => (shownAt === null ? showAt(history.length - 1) : setLive());
const step = (by) => showAt(shownIndex() + by);

pauseButton.addEventListener("click", togglePause);
byId("back").addEventListener("click", () => step(-1));
byId("forth").addEventListener("click", () => step(1));
scrubber.addEventListener("input", () => showAt(Number(scrubber.value)));

function drawTransport() {
  const paused = shownAt !== null;
  setText(pauseButton, paused ? "Go on" : "Pause");
  pauseButton.setAttribute("aria-pressed", String(paused));
  document.body.toggleAttribute("data-paused", paused);
  const ago = history.newest - picture.t;
  const when = paused ? (ago < 0.05 ? "paused" : `${ago.toFixed(1)} s ago`) : lost() ? "last picture" : "live";
  setText(byId("when"), when);
  if (scrubber.max !== String(history.length - 1)) scrubber.max = history.length - 1;
  if (scrubber.value !== String(shownIndex())) scrubber.value = shownIndex();
  scrubber.setAttribute("aria-valuetext", when);
}

// The fullest send channel over the last minute, and each eviction: where it is worth stepping back to.
function drawStrip() {
  const strip = byId("minute");
  const pictures = history.summary();
  const from = pictures[0].t;
  const span = Math.max(1, history.newest - from);
  strip.setAttribute("viewBox", "0 0 600 30");
  const x = (t) => (((t - from) / span) * 600).toFixed(1);
  const line = pictures.map(({ t, fullest }) => `${x(t)} ${(29 - 26 * fullest).toFixed(1)}`).join("L");
  strip.replaceChildren(
    draw("path", { class: "area", d: `M0 30L${line}L600 30z` }),
    draw("path", { class: "line", d: `M${line}` }),
    ...history.evictions.map(({ t }) => draw("path", { class: "mark", d: `M${x(t)} 0V30` })),
    draw("path", { class: "now", d: `M${x(picture.t)} 0V30` }),
  );
}

// ---- The line that explains ----

let pointed = null;
let pointedTimer = 0;

// Somebody who has read it, or has gone on to something else, wants to know what goes on.
function point(element) {
  pointed = element;
  clearTimeout(pointedTimer);
  if (pointed) pointedTimer = setTimeout(() => point(null), READING);
  drawHint();
}

document.addEventListener(
  "pointermove",
  ({ target }) => {
    const told = target.closest("[data-hinted]");
    if (told !== pointed || told) point(told);
  },
  { passive: true },
);
document.addEventListener("focusin", ({ target }) => {
  if (target.matches(":focus-visible")) point(target.closest("[data-hinted]"));
});

function explain() {
  pointed = null;
  drawHint();
}

function drawHint() {
  const hint = pointed?.isConnected && picture ? hintOf(pointed) : "";
  byId("why").hidden = Boolean(hint) || !events.explaining;
  byId("hint").hidden = !byId("why").hidden;
  setText(byId("hint"), hint || (picture ? narrate(picture) : "A chat server at work, drawn as it runs."));
}

// Without anything pointed at, what is most worth knowing.
function narrate({ clients, hub, channels }) {
  const stuck = clients.filter(({ write_pump: pump, away, evicted }) => !evicted && (pump.state === "stuck" || away));
  if (hub.paused) {
    const { pending, capacity } = channels.broadcast;
    const fills = pending < capacity ? `has ${count(pending)} of ${count(capacity)}. Once it is full,` : "is full:";
    return (
      `You hold the hub still. Its channel broadcast ${fills} ` +
      "no read pump reads any more, and TCP slows the senders down."
    );
  }
  if (stuck.length) {
    const [{ number, send }] = stuck.sort((a, b) => b.send.pending - a.send.pending);
    return (
      `The peer of client ${number} does not read: its write pump is stuck, and its send channel fills, ` +
      `${count(send.pending)} of ${count(send.capacity)}. Nobody waits for it.`
    );
  }
  const who = hub.clients
    ? `${plural(hub.clients, "client")}, two threads each.`
    : "A chat server at work, drawn as it runs.";
  return (
    `${who} Messages go from left to right: read pump, hub, every send channel, write pump. ` +
    "Point at anything to learn what it is; press it to see its code."
  );
}

// ---- Keys and dialogs ----

const typing = (target) => target.closest("input:not([type=range], [type=radio]), textarea, select");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && detail.open) {
    detail.close();
    return;
  }
  if (typing(event.target)) return;
  const onControl = event.target.closest("button, a, input");
  if (event.key === " " && !onControl) togglePause();
  else if (event.key === "p" || event.key === "P") togglePause();
  else if (event.key === "l" || event.key === "L") setLive();
  else if (event.key === "ArrowLeft" && event.target !== scrubber) step(-1);
  else if (event.key === "ArrowRight" && event.target !== scrubber) step(1);
  else if (event.key === "?") byId("help").showModal();
  else return;
  event.preventDefault();
});

byId("open-help").addEventListener("click", () => byId("help").showModal());
byId("open-lessons").addEventListener("click", () => lessons.open());
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

drawHint();
