// The wires between threads and channels, and the dots that travel along them.

import { draw, still } from "./words.js";

const IN = 650; // ms a dot takes from a read pump to the channel
const ACROSS = 250; // ms from the channel into the hub
const OUT = 650; // ms from the hub to a send channel
const THROUGH = 300; // ms through the send channel to the write pump
const LEAVE = 200; // ms from the write pump to the peer
const MOST_DOTS = 240; // on their way at once; what is beyond is not drawn
const GLOW = 700; // ms a wire is lit where nothing shall move
const SAMPLES = 12; // points of a curve that a dot passes

export class Wires {
  #canvas;
  #svg;
  #dots;
  #geometry;
  #rows = []; // for each row: { in, out, through, leave }
  #across = {}; // for each channel into the hub
  #moving = new Set();

  // `geometry()` gives the elements to connect, or null where nothing shall be connected.
  constructor(canvas, svg, dots, geometry) {
    this.#canvas = canvas;
    this.#svg = svg;
    this.#dots = dots;
    this.#geometry = geometry;
  }

  // Draw all wires anew; called when something has moved.
  layout() {
    const geometry = this.#geometry();
    this.settle();
    this.#svg.replaceChildren();
    this.#rows = [];
    this.#across = {};
    if (!geometry) return;
    // Measure everything before changing anything.
    const origin = this.#canvas.getBoundingClientRect();
    const boxOf = (element) => {
      const box = element.getBoundingClientRect();
      return {
        left: box.left - origin.left,
        right: box.right - origin.left,
        y: (box.top + box.bottom) / 2 - origin.top,
        height: box.height,
      };
    };
    const inbox = Object.fromEntries(Object.entries(geometry.inbox).map(([name, element]) => [name, boxOf(element)]));
    const hub = boxOf(geometry.hub);
    const ends = geometry.ends.map((end) => ({
      ...end,
      readBox: boxOf(end.read),
      sendBox: boxOf(end.send),
      outBox: boxOf(end.out),
    }));

    const fan = (index, box) =>
      box.y + (ends.length > 1 ? index / (ends.length - 1) - 0.5 : 0) * Math.min(box.height * 0.6, ends.length * 9);
    ends.forEach((end, index) => {
      const { readBox, sendBox, outBox } = end;
      const into = [
        [readBox.right + 3, readBox.y],
        [inbox.broadcast.left - 3, fan(index, inbox.broadcast)],
      ];
      const out = [
        [hub.right + 3, fan(index, hub)],
        [sendBox.left - 3, sendBox.y],
      ];
      const wire = (ends) => draw("path", { class: "wire", d: curve(...ends) });
      const row = {
        crowd: end.crowd,
        trouble: "",
        gone: false,
        into,
        out,
        wireIn: wire(into),
        wireOut: wire(out),
        through: [
          [sendBox.left, sendBox.y],
          [sendBox.right - 4, sendBox.y],
        ],
        leave: [
          [outBox.left - 6, sendBox.y],
          [outBox.right, sendBox.y],
        ],
      };
      this.#svg.append(row.wireIn, row.wireOut);
      this.#rows.push(row);
    });
    for (const [name, box] of Object.entries(inbox)) {
      const ends = [
        [box.right + 2, box.y],
        [hub.left - 3, hub.y + (box.y - inbox.broadcast.y) * 0.5],
      ];
      const wire = draw("path", { class: "wire strong", d: curve(...ends) });
      this.#svg.append(wire, draw("path", { class: "head", d: `M${ends[1][0] - 6} ${ends[1][1] - 4}l6 4-6 4z` }));
      this.#across[name] = { ends, wire, box };
    }
  }

  // How the client of a row fares: a wire to one that does not read, or has gone, looks so.
  mark(at, trouble, gone) {
    const row = this.#rows[at];
    if (!row || (row.trouble === trouble && row.gone === gone)) return;
    Object.assign(row, { trouble, gone });
    for (const wire of [row.wireIn, row.wireOut]) wire.dataset.trouble = trouble;
  }

  // A message from the client of row `from` (-1: somebody of the crowd) to everybody.
  message(from) {
    const start = this.#rows[from] ?? this.#rows.find((row) => row.crowd);
    const { ends, wire, box } = this.#across.broadcast ?? {};
    if (!ends) return;
    const receivers = this.#rows.filter((row) => !row.gone);
    if (still.matches) {
      this.#light([start?.wireIn, wire, ...receivers.map((row) => row.wireOut)]);
      return;
    }
    if (this.#moving.size > MOST_DOTS) return;
    let at = 0; // ms
    if (start) this.#dot(points(...start.into), at, IN, "message");
    if (start) at += IN;
    this.#dot([[box.left, box.y], ...points(...ends)], at, ACROSS, "message");
    at += ACROSS;
    for (const row of receivers) {
      this.#dot(points(...row.out), at, OUT, "message");
      // Where nobody receives, it stays in the channel.
      if (row.trouble || row.crowd) continue;
      this.#dot(row.through, at + OUT, THROUGH, "message");
      this.#dot(row.leave, at + OUT + THROUGH, LEAVE, "message");
    }
  }

  // A client's thread at the door: it joins or leaves.
  knock(from, name) {
    const door = this.#across[name];
    if (!door) return;
    if (still.matches) {
      this.#light([door.wire]);
      return;
    }
    const row = this.#rows[from];
    if (row) this.#dot(points(row.into[0], [door.box.left, door.box.y]), 0, IN, name);
    this.#dot(points(...door.ends), row ? IN : 0, ACROSS, name);
  }

  // No dot stays on its way.
  settle() {
    for (const animation of this.#moving) animation.cancel();
  }

  #dot(path, delay, duration, kind) {
    const dot = document.createElement("span");
    dot.className = `dot ${kind}`;
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

  #light(wires) {
    for (const wire of wires.filter(Boolean)) {
      wire.classList.add("lit");
      clearTimeout(wire.unlight);
      wire.unlight = setTimeout(() => wire.classList.remove("lit"), GLOW);
    }
  }
}

function control([x0, y0], [x1, y1]) {
  const bend = (x1 - x0) * 0.55;
  return [
    [x0, y0],
    [x0 + bend, y0],
    [x1 - bend, y1],
    [x1, y1],
  ];
}

function curve(from, to) {
  const [a, b, c, d] = control(from, to).map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
  return `M${a}C${b} ${c} ${d}`;
}

function points(from, to) {
  const [a, b, c, d] = control(from, to);
  return Array.from({ length: SAMPLES + 1 }, (_, i) => {
    const t = i / SAMPLES;
    const u = 1 - t;
    return [0, 1].map(
      (axis) => u ** 3 * a[axis] + 3 * u * u * t * b[axis] + 3 * u * t * t * c[axis] + t ** 3 * d[axis],
    );
  });
}
