// The drawing: a row for each client singled out, the channels and the hub between their halves, the crowd below.

import { Wires } from "./wires.js";
import {
  LEGEND,
  briefly,
  byId,
  count,
  duration,
  family,
  hinted,
  icon,
  make,
  plural,
  rate,
  reasonOf,
  setData,
  setText,
  short,
  tellChannel,
  tellThread,
} from "./words.js";

const ROWS = 24;
const GHOSTS = 6; // of clients just evicted
const TALLEST = 84; // px a row
const LOWEST = 22;
const FLOWING = 36;
const SHORT = 400; // px of its height; below it the middle says less
const NARROW = 760; // px of the drawing's width; below it there are no wires
const BINS = 16;

// Where a client's row stands in the drawing stays the same while the client is drawn: only then can eyes follow it.
export class Stage {
  #slots = [];
  #pool = [];
  #wires;
  #handlers;
  #picture = null;
  #selected = "";

  // handlers: onThread(thread), onChannel(channel), onPin(number), onAction(name, details).
  constructor(handlers) {
    this.#handlers = handlers;
    this.board = byId("board");
    this.canvas = byId("canvas");
    this.rows = byId("rows");
    this.#makeMiddle();
    this.#makeCrowd();
    this.#makeFigures();
    for (const [name, word, means] of LEGEND) {
      const item = make("li", { "data-family": name }, icon(name), word);
      hinted(item, () => `${means[0].toUpperCase()}${means.slice(1)}.`);
      byId("legend").append(item);
    }
    this.#wires = new Wires(this.canvas, byId("wires"), byId("dots"), () => this.#geometry());
    new ResizeObserver(() => this.#fit()).observe(this.board);
    this.board.addEventListener("scroll", () => this.#wires.layout(), { passive: true });
    this.rows.addEventListener("keydown", (event) => this.#onKey(event));
    this.rows.addEventListener("focusin", (event) => this.#rove(event.target.closest(".row")));
  }

  // Draw a picture. `ghosts` are the clients evicted just before it.
  render(picture, ghosts, pinned) {
    this.#picture = picture;
    const shown = this.#whoIsShown(picture, ghosts);
    const changed = this.#seat(shown);
    for (const slot of this.#slots) this.#drawRow(slot, pinned);
    this.#drawMiddle(picture);
    const crowded = this.#drawCrowd(picture, shown.length);
    byId("nobody").hidden = shown.length > 0;
    if (changed || crowded) this.#fit();
    this.#slots.forEach(({ row, entry }, at) => this.#wires.mark(at, row.dataset.trouble, Boolean(entry.gone)));
    this.#drawFigures(picture);
  }

  // Show on their way the messages of a picture that came just now.
  fly(events) {
    for (const { kind, client } of events) {
      const from = this.#slots.findIndex((slot) => slot.number === client);
      if (kind === "message") this.#wires.message(from);
      if (kind === "joined") this.#wires.knock(from, "register");
      if (kind === "left") this.#wires.knock(from, "unregister");
    }
  }

  settle() {
    this.#wires.settle();
  }

  // Mark the thread or channel that is looked into.
  select(name) {
    this.#selected = name;
    for (const button of this.canvas.querySelectorAll("[data-name]")) {
      button.toggleAttribute("data-selected", button.dataset.name === name);
    }
  }

  // ---- Rows ----

  #whoIsShown(picture, ghosts) {
    const alive = new Set();
    const shown = picture.clients.slice(0, ROWS).map((client) => {
      alive.add(client.number);
      const ghost = client.evicted ? ghosts.find(({ number }) => number === client.number) : null;
      return { number: client.number, client, gone: client.evicted ? (ghost ?? {}) : null };
    });
    const room = Math.max(3, Math.min(GHOSTS, ROWS - shown.length));
    for (const ghost of ghosts.filter(({ number, before }) => before && !alive.has(number)).slice(0, room)) {
      shown.push({ number: ghost.number, client: ghost.before, gone: ghost });
    }
    return shown;
  }

  // Give each client a row. Returns whether the number of rows has changed.
  #seat(shown) {
    const before = this.#slots.length;
    const wanted = new Map(shown.map((entry) => [entry.number, entry]));
    const free = [];
    for (const slot of this.#slots) {
      slot.entry = wanted.get(slot.number);
      if (slot.entry) wanted.delete(slot.number);
      else free.push(slot);
    }
    for (const entry of wanted.values()) {
      let slot = free.shift();
      if (!slot) {
        slot = this.#pool.pop() ?? this.#makeRow();
        this.#slots.push(slot);
        this.rows.insertBefore(slot.row, this.crowd);
      }
      slot.entry = entry;
      slot.number = entry.number;
    }
    for (const slot of free) {
      // A keyboard's focus must not vanish with the row.
      if (slot.row.contains(document.activeElement)) this.rows.querySelector(".row:not([data-gone]) .read")?.focus();
      slot.row.remove();
      slot.number = 0;
      this.#slots.splice(this.#slots.indexOf(slot), 1);
      this.#pool.push(slot);
    }
    return before !== this.#slots.length || free.length > 0;
  }

  #makeRow() {
    const slot = { number: 0, entry: null };
    const name = make("b");
    const number = make("span", { class: "nr" });
    const who = make("div", { class: "who" }, number, name);
    const read = this.#makeThread("read", () => slot.entry.client.read_pump);
    const write = this.#makeThread("write", () => slot.entry.client.write_pump);
    const send = this.#makeGauge("send", () => slot.entry.client.send);
    const out = make("span", { class: "out" });
    const tool = (label, shape, act) => {
      const words = make("span", { class: "unseen" });
      const button = make(
        "button",
        { type: "button", class: "tool", onclick: act },
        shape === "×" ? "×" : icon(shape),
        words,
      );
      hinted(button, () => label(slot.entry.client));
      return { button, words, label };
    };
    const called = (client) => `client ${client.number}, ${client.name}`;
    const pin = tool(
      (client) => `Pin ${called(client)}: keep it in the drawing, however many there are.`,
      "pin",
      () => this.#handlers.onPin(slot.number),
    );
    const vanish = tool(
      (client) => `Make ${called(client)}, vanish: its packets stop, without a goodbye.`,
      "vanish",
      () => this.#handlers.onAction("vanish", { client: slot.number }),
    );
    const remove = tool(
      (client) => `Have ${called(client)}, leave, with a proper goodbye.`,
      "×",
      () => this.#handlers.onAction("remove", { client: slot.number }),
    );
    const tools = make("span", { class: "tools" }, pin.button, vanish.button, remove.button);
    const verdict = make("span", { class: "verdict" });
    const row = make(
      "div",
      { class: "row", role: "group" },
      who,
      read.button,
      send.button,
      write.button,
      out,
      verdict,
      tools,
    );
    hinted(who, () => {
      const { client } = slot.entry;
      return `Client ${client.number}, ${client.name}, has said ${plural(client.messages_in, "message")}.`;
    });
    hinted(out, () => {
      const { client } = slot.entry;
      const each = client.frames_out ? client.messages_out / client.frames_out : 0;
      return (
        `Its peer was written ${plural(client.messages_out, "message")} in ${plural(client.frames_out, "frame")}: ` +
        `${each.toFixed(1)} messages a frame.`
      );
    });
    hinted(verdict, () => `Client ${slot.number} was evicted: ${reasonOf(slot.entry.gone?.reason)}.`);
    return Object.assign(slot, {
      row,
      name,
      numberMark: number,
      read,
      write,
      send,
      out,
      tools: [pin, vanish, remove],
      pin,
      verdict,
    });
  }

  #drawRow(slot, pinned) {
    const { client, gone } = slot.entry;
    if (slot.drawn !== client.number) {
      slot.drawn = client.number;
      slot.row.setAttribute("aria-label", `client ${client.number}, ${client.name}`);
      setText(slot.numberMark, String(client.number));
      for (const { words, label } of slot.tools) setText(words, label(client));
      setText(slot.read.of, `read pump of client ${client.number}: `);
      setText(slot.write.of, `write pump of client ${client.number}: `);
      setText(slot.send.of, `send channel of client ${client.number}: `);
    }
    setText(slot.name, client.name);
    setText(slot.out, short(client.messages_out));
    const stuck = client.write_pump.state === "stuck" || client.away;
    setData(slot.row, "trouble", gone ? "evicted" : stuck ? "stuck" : "");
    slot.row.toggleAttribute("data-gone", Boolean(gone));
    setText(slot.verdict, gone ? verdictOf(gone.reason) : "");
    // It is evicted because there was no room: that is the last that can be said of its channel.
    const send = gone ? { ...client.send, pending: client.send.capacity, closed: true } : client.send;
    this.#drawThread(slot.read, gone ? { ...client.read_pump, state: "gone", for: 0 } : client.read_pump);
    this.#drawThread(slot.write, gone ? { ...client.write_pump, state: "gone", for: 0 } : client.write_pump);
    this.#drawGauge(slot.send, send);
    slot.pin.button.setAttribute("aria-pressed", String(pinned.has(client.number)));
  }

  #makeThread(kind, thread) {
    const of = make("span", { class: "unseen" });
    const word = make("span", { class: "word" });
    const time = make("span", { class: "for" });
    const shape = icon("waits");
    const button = make(
      "button",
      {
        type: "button",
        class: `thread ${kind}`,
        "data-role": { read: "in", write: "out" }[kind],
        onclick: () => this.#handlers.onThread(thread()),
      },
      shape,
      of,
      word,
      time,
    );
    hinted(
      button,
      () => `${tellThread(thread())} ${thread().file ? `At ${thread().file}, line ${thread().line}.` : ""}`,
    );
    return { button, of, word, time, use: shape.firstChild };
  }

  #drawThread({ button, word, time, use }, thread) {
    const kind = family(thread.state);
    if (button.dataset.family !== kind) {
      button.dataset.family = kind;
      use.setAttribute("href", `#i-${kind}`);
    }
    if (button.dataset.name !== thread.name) {
      button.dataset.name = thread.name;
      button.toggleAttribute("data-selected", thread.name === this.#selected);
    }
    setText(word, thread.state);
    setText(time, thread.for >= 0.1 ? duration(thread.for) : "");
  }

  #makeGauge(kind, channel) {
    const of = make("span", { class: "unseen" });
    const fill = make("span", { class: "fill" });
    const track = make("span", { class: "track" }, fill);
    const pending = make("span", { class: "pending" });
    const button = make(
      "button",
      { type: "button", class: `gauge ${kind}`, onclick: () => this.#handlers.onChannel(channel()) },
      of,
      track,
      pending,
    );
    hinted(button, () => tellChannel(channel()));
    return { button, of, track, fill, pending };
  }

  #drawGauge({ button, fill, pending }, channel) {
    const part = channel.capacity ? Math.min(1, channel.pending / channel.capacity) : 0;
    const scale = `scaleX(${part.toFixed(4)})`;
    if (fill.style.transform !== scale) fill.style.transform = scale;
    setData(button, "level", part >= 0.99 ? "full" : part >= 0.5 ? "high" : "low");
    if (button.dataset.name !== channel.name) {
      button.dataset.name = channel.name;
      button.toggleAttribute("data-selected", channel.name === this.#selected);
    }
    setText(pending, channel.capacity ? `${count(channel.pending)}/${count(channel.capacity)}` : "unbuffered");
  }

  // One row at a time can be reached by Tab; up and down go from row to row.
  #rove(row) {
    if (!row) return;
    for (const slot of this.#slots) setData(slot.row, "current", slot.row === row ? "yes" : "");
    for (const button of this.rows.querySelectorAll(".row button")) button.tabIndex = row.contains(button) ? 0 : -1;
  }

  #onKey(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const at = this.#slots.findIndex((slot) => slot.row.contains(event.target));
    if (!step || at === -1) return;
    event.preventDefault();
    const buttons = [...this.#slots[at].row.querySelectorAll("button")];
    const next = this.#slots[at + step]?.row.querySelectorAll("button")[buttons.indexOf(event.target)];
    if (!next) return;
    next.tabIndex = 0;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  // ---- The channels into the hub, and the hub ----

  #makeMiddle() {
    this.inbox = {};
    const inbox = make("div", { class: "inbox" });
    for (const name of ["register", "broadcast", "unregister"]) {
      const gauge = this.#makeGauge(name, () => this.#picture.channels[name]);
      gauge.button.prepend(make("span", { class: "title" }, name));
      gauge.waiting = make("span", { class: "waiting" });
      gauge.button.append(gauge.waiting);
      inbox.append(gauge.button);
      this.inbox[name] = gauge;
    }
    this.hub = this.#makeThread("hub", () => this.#picture.hub.thread);
    this.hub.button.id = "hub";
    this.hub.button.prepend(make("span", { class: "title" }, "hub"));
    this.hubFigures = {};
    const figures = make("span", { class: "hub-figures" });
    for (const [key, word] of [
      ["clients", "clients"],
      ["messages", "messages"],
      ["batches", "batches"],
      ["evicted", "evicted"],
    ]) {
      this.hubFigures[key] = make("b");
      figures.append(make("span", {}, this.hubFigures[key], ` ${word}`));
    }
    this.hub.button.append(figures);
    this.queueDots = make("span", { class: "queue-dots", "aria-hidden": "true" });
    this.queueText = make("span");
    const queue = make(
      "div",
      { id: "queue" },
      make("span", { class: "title" }, "run queue"),
      this.queueDots,
      this.queueText,
    );
    hinted(queue, () => {
      const { turns, free, waiting } = this.#picture.run_queue;
      const wanted = turns === 1 ? "the one turn" : `one of ${turns} turns`;
      return (
        `Run queue: ${plural(waiting, "thread")} ready, each waiting for ${wanted} to run; ` +
        `${free ? `${free} free` : "none free"}. Woken all at once they would fight over Python's one lock.`
      );
    });
    byId("middle").append(make("div", {}, inbox, make("div", { class: "core" }, this.hub.button, queue)));
  }

  #drawMiddle(picture) {
    for (const [name, gauge] of Object.entries(this.inbox)) {
      const channel = picture.channels[name];
      this.#drawGauge(gauge, channel);
      setText(gauge.waiting, channel.senders ? `${short(channel.senders)} wait to send` : "");
      setData(gauge.button, "blocked", channel.senders ? "yes" : "");
    }
    const { thread, paused } = picture.hub;
    this.#drawThread(this.hub, paused ? { ...thread, state: "paused" } : thread);
    for (const [key, element] of Object.entries(this.hubFigures)) setText(element, short(picture.hub[key]));
    const { waiting, turns, free } = picture.run_queue;
    setText(
      this.queueText,
      waiting ? `${plural(waiting, "thread")} in line` : free === turns ? "empty" : "a pump has the turn",
    );
    const dots = Math.min(waiting, 24);
    while (this.queueDots.childElementCount < dots) this.queueDots.append(make("i"));
    while (this.queueDots.childElementCount > dots) this.queueDots.lastChild.remove();
  }

  // ---- The crowd ----

  #makeCrowd() {
    const bar = () => ({ bar: make("span", { class: "stack" }), list: make("ul", { class: "counts" }) });
    this.reading = bar();
    this.writing = bar();
    this.crowdTitle = make("b");
    this.crowdNote = make("span");
    this.bins = [];
    const bins = make("span", { class: "bins", "aria-hidden": "true" });
    for (let i = 0; i < BINS; i++) {
      const fill = make("i");
      this.bins.push(fill);
      const bin = make("span", {}, fill);
      hinted(bin, () => {
        const [from, to] = [Math.ceil((i / BINS) * 100), Math.floor(((i + 1) / BINS) * 100)];
        return `${plural(this.#picture.crowd.fill[i], "client")} with a send channel filled ${from} to ${to} per cent.`;
      });
      bins.prepend(bin); // as in a gauge, the full ones stand at the left
    }
    this.fills = make("span", { class: "unseen" });
    const histogram = make(
      "div",
      { class: "histogram" },
      bins,
      make("span", { class: "axis" }, make("span", {}, "full"), make("span", {}, "empty")),
      this.fills,
    );
    this.crowd = make(
      "div",
      { id: "crowd", role: "group", "aria-label": "All clients", hidden: true },
      make("div", { class: "who" }, this.crowdTitle, this.crowdNote),
      make("div", { class: "pumps read" }, this.reading.bar, this.reading.list),
      histogram,
      make("div", { class: "pumps write" }, this.writing.bar, this.writing.list),
    );
    hinted(
      this.crowd,
      () => `All ${plural(this.#everyone(), "client")}: what their pumps do, and how many send channels are how full.`,
    );
    this.rows.append(this.crowd);
  }

  #everyone() {
    return this.#picture.crowd.fill.reduce((sum, clients) => sum + clients, 0);
  }

  // Returns whether the crowd has come or gone.
  #drawCrowd({ crowd }) {
    const before = this.crowd.hidden;
    this.crowd.hidden = !crowd.count;
    if (!crowd.count) return before !== this.crowd.hidden;
    setText(this.crowdTitle, `all ${count(this.#everyone())}`);
    setText(this.crowdNote, `${count(crowd.count)} not drawn one by one`);
    const most = Math.max(1, ...crowd.fill);
    crowd.fill.forEach((clients, i) => {
      // Small numbers next to large ones must still be seen.
      const part = clients ? Math.max(0.06, Math.log1p(clients) / Math.log1p(most)) : 0;
      this.bins[i].style.transform = `scaleY(${part.toFixed(3)})`;
    });
    const full = crowd.fill.at(-1);
    setText(this.fills, `${plural(full, "send channel")} nearly full, ${count(crowd.fill[0])} nearly empty`);
    this.#drawStack(this.reading, crowd.reading);
    this.#drawStack(this.writing, crowd.writing);
    return before !== this.crowd.hidden;
  }

  #drawStack({ bar, list }, states) {
    const entries = Object.entries(states)
      .filter(([, number]) => number)
      .sort((a, b) => b[1] - a[1]);
    while (bar.childElementCount < entries.length) {
      bar.append(make("i"));
      const shape = icon("waits");
      list.append(make("li", {}, shape, make("b"), make("span")));
    }
    while (bar.childElementCount > entries.length) {
      bar.lastChild.remove();
      list.lastChild.remove();
    }
    entries.forEach(([state, number], i) => {
      const kind = family(state);
      const item = list.children[i];
      setData(bar.children[i], "family", kind);
      bar.children[i].style.flexGrow = number;
      if (item.dataset.family !== kind) {
        item.dataset.family = kind;
        item.querySelector("use").setAttribute("href", `#i-${kind}`);
      }
      setText(item.children[1], count(number));
      setText(item.children[2], state);
    });
  }

  // ---- Figures ----

  #makeFigures() {
    this.figures = {};
    for (const [key, word, means] of [
      ["messages", "messages/s", "Messages that the hub passes on, a second."],
      ["deliveries", "deliveries/s", "Each message goes to every client: messages times clients."],
      ["frames", "frames/s", "What the write pumps write: a frame carries all that was pending."],
      [
        "messages_a_frame",
        "messages a frame",
        "Where a write pump falls behind, messages share a frame. That is how it catches up.",
      ],
      ["cost", "ms for this picture", "What taking this picture cost the server, in milliseconds of processor time."],
    ]) {
      const value = make("dd");
      const figure = make("div", {}, value, make("dt", {}, word));
      hinted(figure, () => means);
      this.figures[key] = value;
      byId("figures").append(figure);
    }
  }

  #drawFigures({ rates, cost_ms: cost }) {
    for (const [key, element] of Object.entries(this.figures)) {
      setText(element, key === "cost" ? cost.toFixed(1) : rate(rates[key]));
    }
  }

  // ---- Sizes ----

  #fit() {
    const narrow = this.board.clientWidth < NARROW;
    setData(this.board, "size", narrow ? "narrow" : "wide");
    this.board.style.setProperty("--crowd", `${this.crowd.offsetHeight}px`);
    const rows = Math.max(1, this.#slots.length);
    const flows = getComputedStyle(this.board).overflowY === "visible"; // the page scrolls, so there is room
    const room = flows
      ? rows * FLOWING
      : this.board.clientHeight - byId("heads").offsetHeight - this.crowd.offsetHeight - 8;
    setData(this.board, "height", !narrow && !flows && this.board.clientHeight < SHORT ? "short" : "");
    const height = Math.max(LOWEST, Math.min(TALLEST, Math.floor(room / rows)));
    this.rows.style.setProperty("--row", `${height}px`);
    setData(this.rows, "tight", height < 32 ? "yes" : "");
    if (![...this.rows.querySelectorAll(".row")].some((row) => row.dataset.current)) this.#rove(this.#slots[0]?.row);
    this.#wires.layout();
  }

  // Where the wires begin and end; null where there are none.
  #geometry() {
    if (this.board.dataset.size === "narrow") return null;
    const ends = this.#slots.map(({ read, send, out }) => ({ read: read.button, send: send.track, out }));
    if (!this.crowd.hidden) {
      const [read, send, out] = [".read", ".histogram", ".write"].map((part) => this.crowd.querySelector(part));
      ends.push({ read, send, out, crowd: true });
    }
    const inbox = Object.fromEntries(Object.entries(this.inbox).map(([name, { button }]) => [name, button]));
    return { ends, inbox, hub: this.hub.button };
  }
}

const verdictOf = (reason) => ["evicted", briefly(reason)].filter(Boolean).join(": ");
