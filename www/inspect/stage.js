// @ts-check
// The drawing: a row for each client, the channels and the hub between the rows' halves, the crowd below.

import { byId, setData } from "../dom.js";
import { Crowd } from "./crowd.js";
import { Hub } from "./hub.js";
import { Row } from "./row.js";
import { Wires } from "./wires.js";

/** @import { Entry } from "./row.js" */
/** @import { Client, Eviction, Happening, Picture } from "./types.js" */
/** @import { Ends, Geometry } from "./wires.js" */

const MOST_ROWS = 24;
const MOST_GHOST_ROWS = 6; // of clients just evicted, where there is room
const LEAST_GHOST_ROWS = 3; // of them, where there is none
const TALLEST_ROW = 84; // px
const LOWEST_ROW = 22; // px
const TIGHT_ROW = 32; // px; below it a verdict has one line
const FLOWING_ROW = 36; // px, where the page scrolls
const SHORT_BOARD = 400; // px of height; below it the middle says less
const NARROW_BOARD = 950; // px of width; below it there are no wires

/**
 * @typedef {object} View
 * @property {Picture} picture
 * @property {Eviction[]} ghosts the clients evicted just before the picture
 * @property {Set<number>} pinned the clients that the viewer has pinned
 * @property {Set<number>} watched the clients that have a row, however many others there are
 * @property {string} selected the name of the thread or channel that is looked into
 */

export class Stage {
  #board = byId("board");
  #list = byId("rows");
  #hub = new Hub();
  #crowd = new Crowd();

  /**
   * A client keeps its place in this list, and so in the drawing, for as long as it is drawn: only then can eyes
   * follow it.
   * @type {Row[]}
   */
  #rows = [];

  constructor() {
    byId("middle").append(this.#hub.element);
    this.#list.append(this.#crowd.element);
    this.wires = new Wires(byId("canvas"), byId("wires", SVGSVGElement), byId("dots"), () => this.#geometry());
    new ResizeObserver(() => this.#fit()).observe(this.#board);
    const parts = new ResizeObserver(() => this.wires.layout()); // what comes, goes or grows there moves the rest
    for (const part of this.#hub.parts) parts.observe(part);
    this.#board.addEventListener("scroll", () => this.wires.layout(), { passive: true });
    this.#list.addEventListener("keydown", (event) => this.#onKey(event));
    this.#list.addEventListener("focusin", ({ target }) => this.#letTabReach(this.#rowOf(target)));
  }

  /** @param {View} view */
  render({ picture, ghosts, pinned, watched, selected }) {
    const entries = entriesOf(picture.clients, ghosts, watched);
    const changed = this.#seat(entries);
    for (const row of this.#rows) row.render(pinned.has(row.number), selected);
    this.#hub.render(picture, selected);
    const crowded = this.#crowd.render(picture.crowd);
    byId("nobody").hidden = entries.length > 0;
    if (changed || crowded) this.#fit();
    this.#rows.forEach((row, at) => this.wires.mark(at, row.trouble));
  }

  /**
   * Show on their way the messages of a picture that came just now.
   * @param {Happening[]} events
   */
  fly(events) {
    for (const { kind, client } of events) {
      const from = this.#rows.findIndex((row) => row.number === client);
      if (kind === "message") this.wires.message(from);
      if (kind === "joined") this.wires.knock(from, "register");
      if (kind === "left") this.wires.knock(from, "unregister");
    }
  }

  /**
   * Give each client a row. A client that is new takes the place of one that has gone.
   *
   * @param {Entry[]} entries
   * @returns {boolean} whether the number of rows has changed
   */
  #seat(entries) {
    const before = this.#rows.length;
    const wanted = new Map(entries.map((entry) => [entry.client.number, entry]));
    /** @type {Row[]} */
    const free = [];
    for (const row of this.#rows) {
      const entry = wanted.get(row.number);
      if (entry) row.entry = entry;
      else free.push(row);
      wanted.delete(row.number);
    }
    for (const entry of wanted.values()) {
      const row = free.shift();
      if (row) row.entry = entry;
      else this.#add(new Row(entry));
    }
    for (const row of free) this.#remove(row);
    return before !== this.#rows.length;
  }

  /** @param {Row} row */
  #add(row) {
    this.#rows.push(row);
    this.#list.insertBefore(row.element, this.#crowd.element);
  }

  /** @param {Row} row */
  #remove(row) {
    const focused = row.element.contains(document.activeElement);
    row.element.remove();
    this.#rows.splice(this.#rows.indexOf(row), 1);
    // A keyboard's focus must not vanish with the row.
    if (focused) this.#rows.find(({ entry }) => !entry.evicted)?.read.element.focus();
  }

  // ---- Keys ----

  /** @param {EventTarget | null} target */
  #rowOf(target) {
    return this.#rows.find(({ element }) => target instanceof Node && element.contains(target));
  }

  /**
   * Let Tab reach the buttons of this row and of no other. The up and down keys go from row to row.
   * @param {Row | undefined} reached
   */
  #letTabReach(reached) {
    if (!reached) return;
    for (const row of this.#rows) {
      setData(row.element, "current", row === reached ? "yes" : "");
      for (const button of row.element.querySelectorAll("button")) button.tabIndex = row === reached ? 0 : -1;
    }
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const row = this.#rowOf(event.target);
    if (!step || !row) return;
    event.preventDefault();
    const column = [...row.element.querySelectorAll("button")].findIndex((button) => button === event.target);
    const next = this.#rows[this.#rows.indexOf(row) + step]?.element.querySelectorAll("button")[column];
    if (!next) return;
    next.tabIndex = 0;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  // ---- Sizes ----

  /** Called when the board's size or the number of rows has changed. */
  #fit() {
    const crowd = this.#crowd.element;
    const narrow = this.#board.clientWidth < NARROW_BOARD;
    setData(this.#board, "size", narrow ? "narrow" : "wide");
    this.#board.style.setProperty("--crowd", `${crowd.offsetHeight}px`);
    const rows = Math.max(1, this.#rows.length);
    const flows = getComputedStyle(this.#board).overflowY === "visible"; // the page scrolls, so there is room
    const room = flows
      ? rows * FLOWING_ROW
      : this.#board.clientHeight - byId("heads").offsetHeight - crowd.offsetHeight - 8;
    setData(this.#board, "height", !narrow && !flows && this.#board.clientHeight < SHORT_BOARD ? "short" : "");
    const height = Math.max(LOWEST_ROW, Math.min(TALLEST_ROW, Math.floor(room / rows)));
    this.#list.style.setProperty("--row", `${height}px`);
    setData(this.#list, "tight", height < TIGHT_ROW ? "yes" : "");
    this.#letTabReach(this.#rows.find(({ element }) => element.dataset.current) ?? this.#rows[0]);
    this.wires.layout();
  }

  /**
   * What the wires connect; null where there are none.
   * @returns {Geometry | null}
   */
  #geometry() {
    if (this.#board.dataset.size === "narrow") return null;
    /** @type {Ends[]} */
    const ends = this.#rows.map(({ read, send, peer, trouble }) => ({
      read: read.element,
      send: send.track,
      out: peer,
      trouble,
      crowd: false,
    }));
    const { element, read, send, write } = this.#crowd;
    if (!element.hidden) ends.push({ read, send, out: write, trouble: "", crowd: true });
    const inbox = Object.fromEntries(Object.entries(this.#hub.inbox).map(([name, { element }]) => [name, element]));
    const { shown, said, thread, reader } = this.#hub.writer;
    const back = shown.reader ? reader.element : null;
    const writer = shown.writer ? { said: said.element, thread: thread.element, reader: back } : null;
    return { ends, inbox, hub: this.#hub.thread.element, writer };
  }
}

/**
 * The clients that have a row: those of the picture, the watched ones before others where there are too many, and
 * those just evicted.
 *
 * @param {Client[]} clients
 * @param {Eviction[]} ghosts
 * @param {Set<number>} watched
 * @returns {Entry[]}
 */
function entriesOf(clients, ghosts, watched) {
  const first = clients.filter(({ number }) => watched.has(number));
  const others = clients.filter(({ number }) => !watched.has(number));
  const chosen = new Set([...first, ...others].slice(0, MOST_ROWS));
  const entries = clients
    .filter((client) => chosen.has(client))
    .map((client) => ({ client, evicted: client.evicted ? (ghostOf(client, ghosts) ?? {}) : null }));
  const drawn = new Set(clients.map(({ number }) => number));
  const room = Math.max(LEAST_GHOST_ROWS, Math.min(MOST_GHOST_ROWS, MOST_ROWS - entries.length));
  const gone = ghosts.flatMap((ghost) =>
    ghost.before && !drawn.has(ghost.number) ? { client: ghost.before, evicted: ghost } : [],
  );
  return [...entries, ...gone.slice(0, room)];
}

/**
 * @param {Client} client
 * @param {Eviction[]} ghosts
 */
const ghostOf = (client, ghosts) => ghosts.find(({ number }) => number === client.number);
