// @ts-check
// The wires between threads and channels, and the dots that travel along them.

import { draw, make } from "../dom.js";
import { curve, points } from "./curves.js";

/** @import { Line, Point } from "./curves.js" */

const IN_MS = 650; // a dot's time from a read pump to the channel into the hub
const ACROSS_MS = 250; // from that channel into the hub, or to the log writer, and from there to the hub
const OUT_MS = 650; // from the hub to a send channel
const THROUGH_MS = 300; // through the send channel to the write pump
const LEAVE_MS = 200; // from the write pump to the peer
const GLOW_MS = 700; // a wire is lit this long, where nothing may move
const MOST_DOTS = 240; // on their way at once; further messages are not drawn
const FAN_PX = 9; // between the ends of two wires at the hub

const motion = matchMedia("(prefers-reduced-motion: reduce)");

/** @typedef {{ left: number, right: number, y: number, height: number }} Box `y` is its middle */
/** @typedef {{ line: Line, wire: SVGElement, box: Box }} Across from a channel to its thread */

/**
 * The elements that the wires of a client, or of the crowd, begin and end at.
 * @typedef {{ read: Element, send: Element, out: Element, crowd: boolean, trouble: string }} Ends
 */

/**
 * Where there is a log writer, the read pumps send to its channel.
 * @typedef {{ ends: Ends[], inbox: Record<string, Element>, hub: Element, writer: Writer | null }} Geometry
 */

/** @typedef {{ said: Element, thread: Element, reader: Element | null }} Writer */

/**
 * The wires of a client, or of the crowd.
 * @typedef {object} RowWires
 * @property {boolean} crowd
 * @property {string} trouble
 * @property {Line} into from the read pump to the channel into the hub
 * @property {Line} out from the hub to the send channel
 * @property {Line} through from end to end of the send channel
 * @property {Line} leave from the write pump to the peer
 * @property {SVGElement} wireIn
 * @property {SVGElement} wireOut
 */

export class Wires {
  #canvas;
  #svg;
  #dots;
  #geometry;

  /** @type {RowWires[]} the clients' in the order of their rows, then the crowd's */
  #rows = [];

  /** @type {Record<string, Across>} from each channel into the hub, and to the log writer, by the channel's name */
  #across = {};

  /** @type {{ line: Line, wire: SVGElement }[]} from the log writer to the hub, or to the log reader and from there */
  #down = [];

  /** @type {Set<Animation>} of dots on their way */
  #moving = new Set();

  /** @type {WeakMap<SVGElement, number>} the timers that end the light of wires that are lit */
  #timers = new WeakMap();

  /**
   * @param {Element} canvas what the elements' places are measured from
   * @param {SVGElement} svg holds the wires
   * @param {Element} dots holds the dots
   * @param {() => Geometry | null} geometry tells what to connect; null: nothing
   */
  constructor(canvas, svg, dots, geometry) {
    this.#canvas = canvas;
    this.#svg = svg;
    this.#dots = dots;
    this.#geometry = geometry;
  }

  /** Draw all wires anew. Call this when what they connect has moved. */
  layout() {
    this.settle();
    this.#svg.replaceChildren();
    this.#rows = [];
    this.#across = {};
    this.#down = [];
    const geometry = this.#geometry();
    if (!geometry) return;
    // Measure everything before changing anything: the browser then computes the layout once.
    const hub = this.#boxOf(geometry.hub);
    const inbox = Object.entries(geometry.inbox).map(([name, element]) => ({ name, box: this.#boxOf(element) }));
    const broadcast = this.#boxOf(geometry.inbox.broadcast);
    const { writer } = geometry;
    const [said, thread] = writer ? [this.#boxOf(writer.said), this.#boxOf(writer.thread)] : [];
    const door = said ?? broadcast; // to which the read pumps send
    const rows = geometry.ends.map((ends, at) => {
      const [read, send, out] = [this.#boxOf(ends.read), this.#boxOf(ends.send), this.#boxOf(ends.out)];
      /** @param {Box} box */
      const fan = (box) => fanned(box, at, geometry.ends.length);
      return makeRow(ends, {
        into: [
          [read.right + 3, read.y],
          [door.left - 3, fan(door)],
        ],
        out: [
          [hub.right + 3, fan(hub)],
          [send.left - 3, send.y],
        ],
        through: [
          [send.left, send.y],
          [send.right - 4, send.y],
        ],
        leave: [
          [out.left - 6, send.y],
          [out.right, send.y],
        ],
      });
    });
    this.#rows = rows;
    for (const { wireIn, wireOut } of rows) this.#svg.append(wireIn, wireOut);
    for (const { name, box } of inbox) this.#connect(name, box, [hub.left - 3, hub.y + (box.y - broadcast.y) * 0.5]);
    if (!said || !thread) return;
    this.#connect("said", said, [thread.left - 3, said.y]);
    const reader = writer?.reader && this.#boxOf(writer.reader);
    if (!reader) {
      const x = (hub.left + hub.right) / 2;
      const end = hub.y - hub.height / 2 - 3;
      this.#lead([[x, thread.y + thread.height / 2 + 2], [x, end]], `M${x - 4} ${end - 6}l4 6 4-6z`);
      return;
    }
    const tip = reader.right + 3;
    this.#lead([[thread.left - 2, reader.y], [tip, reader.y]], `M${tip + 6} ${reader.y - 4}l-6 4 6 4z`);
    const low = reader.y + reader.height / 2 - 6;
    /** @type {Point} */
    const end = [hub.left - 3, hub.y - hub.height / 2 + 14];
    this.#lead([[reader.right + 2, low], end], `M${end[0] - 6} ${end[1] - 4}l6 4-6 4z`);
  }

  /**
   * Draw a wire on the way from the log writer to the hub.
   *
   * @param {Line} line
   * @param {string} head the path of its head
   */
  #lead(line, head) {
    const wire = draw("path", { class: "wire strong", d: curve(line) });
    this.#svg.append(wire, draw("path", { class: "head", d: head }));
    this.#down.push({ line, wire });
  }

  /**
   * Draw the wire from a channel to its thread.
   *
   * @param {string} name the channel's
   * @param {Box} box
   * @param {Point} end
   */
  #connect(name, box, end) {
    /** @type {Line} */
    const line = [[box.right + 2, box.y], end];
    const wire = draw("path", { class: "wire strong", d: curve(line) });
    this.#svg.append(wire, draw("path", { class: "head", d: `M${end[0] - 6} ${end[1] - 4}l6 4-6 4z` }));
    this.#across[name] = { line, wire, box };
  }

  /**
   * Show how a client fares by the look of its wires.
   *
   * @param {number} at the index of its row
   * @param {string} trouble "stuck": it does not read; "evicted"; or ""
   */
  mark(at, trouble) {
    const row = this.#rows[at];
    if (!row || row.trouble === trouble) return;
    row.trouble = trouble;
    row.wireIn.dataset.trouble = row.wireOut.dataset.trouble = trouble;
  }

  /**
   * Show a message on its way from a client to everybody.
   * @param {number} from the index of the client's row; -1: a client of the crowd
   */
  message(from) {
    const door = this.#across.said ?? this.#across.broadcast;
    if (!door) return;
    const start = this.#rows[from] ?? this.#rows.find((row) => row.crowd);
    const receivers = this.#rows.filter((row) => row.trouble !== "evicted");
    if (motion.matches) {
      const down = this.#down.map(({ wire }) => wire);
      this.#light([...(start ? [start.wireIn] : []), door.wire, ...down, ...receivers.map((row) => row.wireOut)]);
      return;
    }
    if (this.#moving.size > MOST_DOTS) return;
    let at = 0; // ms
    if (start) {
      this.#dot(points(start.into), at, IN_MS, "message");
      at += IN_MS;
    }
    this.#dot([[door.box.left, door.box.y], ...points(door.line)], at, ACROSS_MS, "message");
    at += ACROSS_MS;
    for (const { line } of this.#down) {
      this.#dot(points(line), at, ACROSS_MS, "message");
      at += ACROSS_MS;
    }
    for (const row of receivers) {
      this.#dot(points(row.out), at, OUT_MS, "message");
      // A message that nobody receives stays in the channel.
      if (row.trouble || row.crowd) continue;
      this.#dot(row.through, at + OUT_MS, THROUGH_MS, "message");
      this.#dot(row.leave, at + OUT_MS + THROUGH_MS, LEAVE_MS, "message");
    }
  }

  /**
   * Show a client that joins or leaves.
   *
   * @param {number} from the index of its row, or -1
   * @param {"register" | "unregister"} name the channel that it knocks at
   */
  knock(from, name) {
    const door = this.#across[name];
    if (!door) return;
    if (motion.matches) {
      this.#light([door.wire]);
      return;
    }
    const row = this.#rows[from];
    if (row) this.#dot(points([row.into[0], [door.box.left, door.box.y]]), 0, IN_MS, name);
    this.#dot(points(door.line), row ? IN_MS : 0, ACROSS_MS, name);
  }

  /** Remove all dots. */
  settle() {
    for (const animation of this.#moving) animation.cancel();
  }

  /**
   * @param {Element} element
   * @returns {Box}
   */
  #boxOf(element) {
    const [box, origin] = [element.getBoundingClientRect(), this.#canvas.getBoundingClientRect()];
    return {
      left: box.left - origin.left,
      right: box.right - origin.left,
      y: (box.top + box.bottom) / 2 - origin.top,
      height: box.height,
    };
  }

  /**
   * @param {Point[]} path
   * @param {number} delay ms
   * @param {number} duration ms
   * @param {string} kind a class in wires.css
   */
  #dot(path, delay, duration, kind) {
    const dot = make("span", { class: `dot ${kind}` });
    this.#dots.append(dot);
    const frames = path.map(([x, y]) => ({ transform: `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)` }));
    const animation = dot.animate(frames, { duration, delay, easing: "linear" });
    const end = () => {
      dot.remove();
      this.#moving.delete(animation);
    };
    this.#moving.add(animation);
    animation.onfinish = end;
    animation.oncancel = end;
  }

  /** @param {SVGElement[]} wires */
  #light(wires) {
    for (const wire of wires) {
      wire.classList.add("lit");
      clearTimeout(this.#timers.get(wire));
      this.#timers.set(
        wire,
        setTimeout(() => wire.classList.remove("lit"), GLOW_MS),
      );
    }
  }
}

/**
 * @param {Ends} ends
 * @param {{ into: Line, out: Line, through: Line, leave: Line }} lines
 * @returns {RowWires}
 */
function makeRow({ crowd, trouble }, lines) {
  const wireIn = draw("path", { class: "wire", "data-trouble": trouble, d: curve(lines.into) });
  const wireOut = draw("path", { class: "wire", "data-trouble": trouble, d: curve(lines.out) });
  return { crowd, trouble, ...lines, wireIn, wireOut };
}

/**
 * Where at the side of a box the wire at this index ends, so that the wires spread.
 *
 * @param {Box} box
 * @param {number} at
 * @param {number} wires
 */
const fanned = (box, at, wires) =>
  box.y + (wires > 1 ? at / (wires - 1) - 0.5 : 0) * Math.min(box.height * 0.6, wires * FAN_PX);
