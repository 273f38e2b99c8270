// @ts-check
// The inspector. Pictures come from the server; this script hands the newest one, or the one that somebody went back to,
// to the components, and does what the components ask for (signals.js).

import { byId, find } from "../dom.js";
import { Controls } from "./controls.js";
import { Detail } from "./detail.js";
import { Events } from "./events.js";
import { Explanation } from "./explanation.js";
import { Figures } from "./figures.js";
import { History } from "./history.js";
import { makeLegend } from "./legend.js";
import { Lessons } from "./lessons.js";
import { Rooms } from "./rooms.js";
import { watchServer } from "./server.js";
import { Own } from "./own.js";
import { listen } from "./signals.js";
import { Stage } from "./stage.js";
import { Tour } from "./tour.js";
import { Transport } from "./transport.js";

/** @import { Status } from "./server.js" */
/** @import { Gone, Happening, Picture } from "./types.js" */

const MOST_FLIGHTS = 20; // events shown on their way at once

const history = new History();
const stage = new Stage();
const detail = new Detail(history);
const events = new Events();
const explanation = new Explanation();
const figures = new Figures();
const transport = new Transport(history);
const controls = new Controls();
const lessons = new Lessons();
const tour = new Tour(history);
const own = new Own();
const rooms = new Rooms();
makeLegend();

/** @type {Picture | null} the one that is drawn */
let picture = null;

/** @type {number | null} its time while the picture is paused; null: live */
let shownAt = null;

/** @type {Happening[]} events of pictures that came since the last drawing */
let fresh = [];

/** @type {Set<number>} the numbers of the clients that the viewer has pinned */
let pinned = new Set();

let selected = ""; // the name of the thread or channel that is looked into, or ""
let frame = 0; // the animation frame in which the next drawing is made; 0: none is due

const live = watchServer(rooms.shown, (text) => {
  const told = /** @type {Picture | Gone} */ (JSON.parse(text));
  rooms.see(told);
  controls.room = rooms.shown;
  if ("gone" in told) {
    drawSoon();
    return;
  }
  if (history.precedes(told)) startAnew();
  const came = history.add(text);
  events.add(came.events);
  if (shownAt === null) explanation.evicted(came.events.filter(({ kind }) => kind === "evicted"));
  fresh = [...fresh, ...came.events].slice(-MOST_FLIGHTS); // a hidden page draws nothing
  if (shownAt === null) picture = came;
  tour.see(came);
  drawSoon();
}, setStatus);

// ---- Drawing ----

function drawSoon() {
  frame ||= requestAnimationFrame(render);
}

function render() {
  frame = 0;
  document.body.toggleAttribute("data-blank", !picture); // for the style sheet
  if (!picture) return;
  const paused = shownAt !== null;
  stage.render({ picture, ghosts: history.ghosts(picture.t), pinned, watched: watched(), selected });
  figures.render(picture);
  detail.render(picture, pinned);
  controls.render(picture);
  own.render(picture);
  if (!paused) stage.fly(fresh);
  fresh = [];
  transport.render(picture, shownIndex(), paused, isLost() || rooms.isGone);
  explanation.render(picture);
  tour.render();
}

/** The clients that have to be in the picture: in a crowd, the one that is looked into too. */
function watched() {
  const lookedInto = picture?.crowd.count ? Number(/^(?:readPump|writePump|send)-(\d+)$/.exec(selected)?.[1] ?? 0) : 0;
  return new Set([...pinned, ...(lookedInto ? [lookedInto] : [])]);
}

// ---- The connection ----

const isLost = () => document.body.dataset.connection === "lost";

/** @param {Status} status */
function setStatus(status) {
  if (document.body.dataset.connection === status) return;
  document.body.dataset.connection = status; // for the style sheet
  byId("status").textContent =
    status === "connected"
      ? "Connected"
      : "The connection to the server is lost. What you see is the last picture. Trying again…";
  if (!isLost()) return;
  stage.wires.settle();
  drawSoon();
}

/** The pictures are of another room, or come from a new server. */
function startAnew() {
  history.forget();
  events.clear();
  explanation.clear();
  tour.startAnew();
  setLive();
}

/** @param {string} room to show from now on */
function enter(room) {
  rooms.enter(room);
  controls.room = room;
  pinned = new Set();
  live.look(room);
  startAnew();
  picture = null;
  detail.close();
}

// ---- Time ----

function setLive() {
  shownAt = null;
  events.upTo(null);
  if (history.length) picture = history.picture(history.length - 1);
  drawSoon();
}

/** @param {number} index of the picture to show; the page is paused then */
function showAt(index) {
  if (!history.length) return;
  picture = history.picture(Math.max(0, Math.min(history.length - 1, index)));
  shownAt = picture.t;
  stage.wires.settle();
  events.upTo(shownAt);
  render();
}

const shownIndex = () => (shownAt === null ? history.length - 1 : history.indexAt(shownAt));
const togglePause = () => (shownAt === null ? showAt(history.length - 1) : setLive());

/** @param {number} by */
const step = (by) => showAt(shownIndex() + by);

// ---- What the components ask for ----

listen("toggle-pause", togglePause);
listen("step", step);
listen("show-picture", showAt);
listen("open-thread", (name) => picture && detail.showThread(name, picture, pinned));
listen("open-channel", (name) => picture && detail.showChannel(name, picture, pinned));
listen("open-line", (place) => detail.showLine(place));
listen("go-live", setLive);
listen("close-detail", () => detail.close());
listen("open-log", () => picture && detail.showLog(picture));
listen("show-room", enter);
listen("open-message", (event) => detail.showMessage(event));
listen("act", ({ action, details, said }) => controls.run(action, details, said));
listen("selected", (name) => {
  selected = name;
  live.watch(watched());
  drawSoon();
});
listen("pin", (number) => {
  pinned = new Set(pinned);
  if (!pinned.delete(number)) pinned.add(number);
  live.watch(watched());
  render();
});

// ---- Keys and dialogs ----

const help = byId("help", HTMLDialogElement);

/** @type {Record<string, (() => void) | undefined>} */
const KEYS = {
  p: togglePause,
  l: setLive,
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  "?": () => help.showModal(),
};

/** Whether the key does something of its own where the focus is. */
function isTaken(/** @type {KeyboardEvent} */ { key, target }) {
  if (!(target instanceof Element)) return false;
  if (target.closest("input:not([type=range], [type=radio]), textarea, select")) return true;
  if (key === " ") return target.closest("button, a, input") !== null;
  return key.startsWith("Arrow") && target.matches("[type=range]");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && (tour.focused || (tour.open && !detail.open))) {
    tour.leave();
    return;
  }
  if (event.key === "Escape" && detail.open) {
    detail.close();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const press = KEYS[key === " " ? "p" : key];
  if (!press || isTaken(event)) return;
  press();
  event.preventDefault();
});

byId("open-help").addEventListener("click", () => help.showModal());
byId("open-lessons").addEventListener("click", () => lessons.open());
for (const dialog of document.querySelectorAll("dialog")) {
  find(dialog, ".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop
  });
}
