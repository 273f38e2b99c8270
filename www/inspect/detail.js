// What is behind a thread, a channel or a message: the panel below the drawing.

import { ask } from "./live.js";
import {
  byId,
  count,
  draw,
  duration,
  family,
  icon,
  make,
  milliseconds,
  plural,
  setText,
  tellChannel,
  tellThread,
} from "./words.js";

const DWELL = 400; // ms that one function's source stays before another takes its place
const AGAIN = 500; // ms until a journey that is not over is asked for again
const LONGEST = 20; // times it is asked for
const SPAN = 60; // seconds of history

const STEPS = {
  typed: "sent by the browser or the bot",
  read: "its read pump has it whole",
  broadcast: "it is in the channel to the hub",
  buffered: "the hub has put it into every send channel",
  coalesced: "a write pump has put it into a frame, with all else that was pending",
  written: "the kernel has the frame",
};

// What is called at an end of a channel, where no thread stands at it just now. The hub sends to clients all that is
// pending at once, and receives from all its channels at once.
const toClient = (name) => name.startsWith("send-");
function callAt(end, name) {
  if (end === "send") return toClient(name) ? "Channel.send_what_fits" : "Channel.send";
  return toClient(name) ? "Channel.receive" : "select";
}

export class Detail {
  #shown = null; // { kind: "thread" | "channel" | "message", ... }
  #opener = null;
  #sources = new Map(); // "file function" -> the server's answer
  #loading = new Map(); // "file function" -> the promise of it
  #picked = ""; // a frame of the stack, by its key
  #stack = null; // the one whose sources are being asked for
  #swapped = -Infinity;
  #code = "";
  #timer = 0;
  #handlers;
  #history;

  // handlers: onPin(number), onSelect(name).
  constructor(history, handlers) {
    this.#history = history;
    this.#handlers = handlers;
    this.panel = byId("detail");
    this.title = make("h2", { id: "detail-title" });
    this.lead = make("p", { class: "lead" });
    this.tools = make("div", { class: "detail-tools" });
    const close = make(
      "button",
      { type: "button", class: "close", "aria-label": "Close", onclick: () => this.close() },
      "×",
    );
    this.body = make("div", { class: "detail-body" });
    this.panel.append(make("div", { class: "detail-head" }, this.title, this.lead, this.tools, close), this.body);
  }

  get open() {
    return !this.panel.hidden;
  }

  close() {
    clearTimeout(this.#timer);
    const inside = this.panel.contains(document.activeElement);
    this.#shown = null;
    this.panel.hidden = true;
    document.body.removeAttribute("data-detail");
    this.#handlers.onSelect("");
    if (inside && this.#opener?.isConnected) this.#opener.focus();
  }

  // The panel follows the picture: what the thread or channel is at in this one.
  render(picture, pinned) {
    if (this.#shown?.kind === "thread") this.#drawThread(picture, pinned);
    if (this.#shown?.kind === "channel") this.#drawChannel(picture, pinned);
  }

  // ---- A thread ----

  showThread({ name }, picture, pinned) {
    this.#begin({ kind: "thread", name }, name);
    this.#makeThreadBody();
    this.#drawThread(picture, pinned);
  }

  #makeThreadBody() {
    this.python = make("ol", { class: "code", tabindex: "0" });
    this.pythonTitle = make("h3");
    this.go = make("pre", { class: "code go", tabindex: "0", "aria-label": "The same in Go" });
    this.goTitle = make("h3");
    this.stack = make("ol", { class: "frames" });
    this.strip = draw("svg", {
      class: "strip",
      viewBox: "0 0 600 26",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    this.changes = make("ul", { class: "changes" });
    this.body.className = "detail-body of-thread";
    this.body.replaceChildren(
      make("div", { class: "source" }, this.pythonTitle, this.python),
      make("div", { class: "source" }, this.goTitle, this.go),
      make(
        "div",
        { class: "aside" },
        make("h3", {}, "Its stack"),
        this.stack,
        make("h3", {}, "Its last minute"),
        this.strip,
        this.changes,
      ),
    );
  }

  #drawThread(picture, pinned) {
    const { thread, client } = findThread(picture, this.#shown.name);
    this.#drawPin(client, pinned);
    if (!thread) {
      setText(this.lead, "It is not in this picture.");
      return;
    }
    setText(this.lead, tellThread(thread).slice(thread.name.length + 1));
    this.#followStack(thread.stack);
    this.#drawStack(thread.stack);
    this.#drawStrip(picture.t, thread.name);
  }

  #drawStack(stack) {
    const key = JSON.stringify([stack, this.#code]);
    if (this.stack.dataset.key === key) return;
    this.stack.dataset.key = key;
    const at = [...this.stack.querySelectorAll("button")].indexOf(document.activeElement);
    this.stack.replaceChildren(
      ...stack.map(([file, line, name]) =>
        make(
          "li",
          {},
          make(
            "button",
            {
              type: "button",
              "aria-pressed": String(keyOf(file, name) === this.#code),
              onclick: () => {
                this.#picked = keyOf(file, name);
                this.#swapped = -Infinity;
                this.#followStack(stack);
                this.#drawStack(stack);
              },
            },
            make("b", {}, name),
            ` ${file}:${line}`,
          ),
        ),
      ),
    );
    if (at >= 0) this.stack.querySelectorAll("button")[at]?.focus();
  }

  // Show the frame that was picked; otherwise the innermost one that Go's chat has too, or else the innermost.
  #followStack(stack) {
    if (!stack.length) return;
    let shown = stack.find(([file, , name]) => keyOf(file, name) === this.#picked);
    for (const frame of shown ? [] : [...stack].reverse()) {
      const source = this.#sources.get(keyOf(frame[0], frame[2]));
      if (!source) {
        // It is known with the next picture; or at once, should there be none.
        this.#load(frame[0], frame[2]).then(() => {
          if (this.#stack === stack) this.#followStack(stack);
        });
        this.#stack = stack;
        return;
      }
      if (source.go) {
        shown = frame;
        break;
      }
    }
    this.#follow(...(shown ?? stack.at(-1)));
  }

  #follow(file, line, name) {
    const key = keyOf(file, name);
    if (key !== this.#code && performance.now() - this.#swapped < DWELL) return; // a blink nobody could read
    this.line = line;
    if (key !== this.#code) {
      this.#code = key;
      this.#swapped = performance.now();
      this.#showSource(file, name);
    }
    this.#markLine();
  }

  #load(file, name) {
    const key = keyOf(file, name);
    if (!this.#loading.has(key))
      this.#loading.set(
        key,
        this.#fetch(file, name).finally(() => this.#loading.delete(key)),
      );
    return this.#loading.get(key);
  }

  async #fetch(file, name) {
    let source;
    try {
      source = await ask(
        `inspect/source?${new URLSearchParams({ file, function: name })}`,
        `There is no source of ${name}.`,
      );
    } catch (error) {
      source = { file, first_line: 1, lines: [], go: "", go_from: "", problem: error.message };
    }
    this.#sources.set(keyOf(file, name), source);
  }

  async #showSource(file, name) {
    const key = keyOf(file, name);
    if (!this.#sources.has(key)) await this.#load(file, name);
    if (this.#code !== key) return;
    const source = this.#sources.get(key);
    this.pythonTitle.textContent = source.problem ?? `${name} in ${source.file}`;
    this.python.setAttribute("aria-label", `Source of ${name}`);
    const indent = Math.min(...source.lines.filter((line) => line.trim()).map((line) => line.search(/\S/)), 40);
    this.python.replaceChildren(
      ...source.lines.map((line, i) => {
        const number = source.first_line + i;
        return make("li", { value: number, "data-line": number }, make("code", {}, line.slice(indent) || " "));
      }),
    );
    this.goTitle.textContent = source.go
      ? `the same in Go${source.go_from ? `, in ${source.go_from}` : ""}`
      : "no counterpart in Go's chat";
    this.go.textContent = source.go;
    this.go.hidden = !source.go;
    this.#markLine(true);
  }

  #markLine(anew = false) {
    const marked = this.python.querySelector("[aria-current]");
    const line = this.python.querySelector(`[data-line="${this.line}"]`);
    if (marked === line && !anew) return;
    marked?.removeAttribute("aria-current");
    line?.setAttribute("aria-current", "true");
    if (!line) return;
    // Scroll the listing alone, not the page.
    const top = line.offsetTop - this.python.offsetTop;
    if (
      anew ||
      top < this.python.scrollTop ||
      top + line.offsetHeight > this.python.scrollTop + this.python.clientHeight
    ) {
      this.python.scrollTop = top - this.python.clientHeight / 2;
    }
  }

  #drawStrip(now, name) {
    const changes = this.#history.threadChanges(name).filter(([t]) => t <= now);
    const x = (t) => Math.max(0, ((t - (now - SPAN)) / SPAN) * 600);
    this.strip.replaceChildren(
      ...changes.map(([t, state], i) => {
        const end = changes[i + 1]?.[0] ?? now;
        return draw("rect", {
          x: x(t).toFixed(1),
          y: 2,
          width: Math.max(1, x(end) - x(t)).toFixed(1),
          height: 22,
          "data-family": family(state),
        });
      }),
    );
    const latest = changes.slice(-6).reverse();
    const key = JSON.stringify(latest);
    if (this.changes.dataset.key === key) return;
    this.changes.dataset.key = key;
    this.changes.replaceChildren(
      ...latest.map(([t, state, on], i) => {
        const end = i ? latest[i - 1][0] : null;
        return make(
          "li",
          { "data-family": family(state) },
          icon(family(state)),
          make("b", {}, state),
          on ? ` ${on}` : "",
          make("span", {}, end === null ? "now" : `for ${duration(end - t)}`),
        );
      }),
    );
  }

  // ---- A channel ----

  showChannel({ name }, picture, pinned) {
    this.#begin({ kind: "channel", name, end: toClient(name) ? "receive" : "send" }, `channel ${name}`);
    this.#makeThreadBody();
    this.body.classList.add("of-channel");
    this.endButtons = Object.fromEntries(
      ["send", "receive"].map((end) => [
        end,
        make(
          "button",
          {
            type: "button",
            onclick: () => {
              this.#shown.end = end;
              this.#swapped = -Infinity;
              this.#drawEnds();
            },
          },
          end === "send" ? "who sends" : "who receives",
        ),
      ]),
    );
    this.waiters = make("ul", { class: "changes" });
    this.body.lastChild.replaceChildren(
      make(
        "div",
        { class: "ends", role: "group", "aria-label": "Show the source of" },
        ...Object.values(this.endButtons),
      ),
      make("h3", {}, "Threads at it now"),
      this.waiters,
      make("h3", {}, "How full, in the last minute"),
      this.strip,
      make("p", { class: "note" }),
    );
    this.note = this.body.lastChild.lastChild;
    this.#drawEnds();
    this.#drawChannel(picture, pinned);
  }

  #drawEnds() {
    for (const [end, button] of Object.entries(this.endButtons))
      button.setAttribute("aria-pressed", String(end === this.#shown.end));
  }

  #drawChannel(picture, pinned) {
    const { channel, client } = findChannel(picture, this.#shown.name);
    this.#drawPin(client, pinned);
    if (!channel) {
      setText(this.lead, "It is not in this picture.");
      return;
    }
    const told = tellChannel(channel).slice(`Channel ${channel.name}: `.length);
    setText(this.lead, told[0].toUpperCase() + told.slice(1));
    const at = threadsOf(picture).filter(
      ({ on, state }) => on === channel.name || (state === "selecting" && !toClient(channel.name)),
    );
    const key = at.map(({ name, state }) => `${name} ${state}`).join();
    if (this.waiters.dataset.key !== key) {
      this.waiters.dataset.key = key;
      this.waiters.replaceChildren(
        ...at
          .slice(0, 8)
          .map(({ name, state }) =>
            make(
              "li",
              { "data-family": family(state) },
              icon(family(state)),
              make("b", {}, name),
              make("span", {}, state),
            ),
          ),
      );
      if (!at.length) this.waiters.append(make("li", {}, "none that is drawn"));
    }
    const sends = (thread) => thread.state === "sending";
    const thread = at.find((thread) => sends(thread) === (this.#shown.end === "send"));
    if (thread?.stack.length) this.#followStack(thread.stack);
    else this.#follow("channel.py", 0, callAt(this.#shown.end, channel.name));
    this.#drawFills(picture.t, channel);
  }

  #drawFills(now, channel) {
    const fills = this.#history.channelFills(channel.name).filter(([t]) => t <= now);
    const x = (t) => (((t - (now - SPAN)) / SPAN) * 600).toFixed(1);
    const y = ([, pending, capacity]) => (25 - 24 * (capacity ? Math.min(1, pending / capacity) : 0)).toFixed(1);
    const line = fills.map((fill) => `${x(fill[0])} ${y(fill)}`).join("L");
    this.strip.replaceChildren(
      ...(line
        ? [
            draw("path", { class: "area", d: `M${x(fills[0][0])} 26L${line}L${x(now)} 26z` }),
            draw("path", { class: "line", d: `M${line}` }),
          ]
        : []),
    );
    const most = Math.max(0, ...fills.map(([, pending]) => pending));
    setText(
      this.note,
      channel.capacity
        ? `At most ${count(most)} of ${count(channel.capacity)}.`
        : "It holds nothing: sender and receiver meet.",
    );
  }

  #drawPin(client, pinned) {
    const key = client ? `${client.number} ${pinned.has(client.number)}` : "";
    if (this.tools.dataset.key === key) return;
    this.tools.dataset.key = key;
    const focused = this.tools.contains(document.activeElement);
    this.tools.replaceChildren();
    if (!client) return;
    const is = pinned.has(client.number);
    const button = make(
      "button",
      { type: "button", "aria-pressed": String(is), onclick: () => this.#handlers.onPin(client.number) },
      icon("pin"),
      is ? `Client ${client.number} is pinned` : `Pin client ${client.number}`,
    );
    this.tools.append(button);
    if (focused) button.focus();
  }

  // ---- A message ----

  async showMessage(event) {
    this.#begin({ kind: "message", id: event.id }, "The journey of a message");
    setText(this.lead, `“${event.text}”`);
    this.body.className = "detail-body of-message";
    this.body.replaceChildren(make("p", { class: "note" }, "Asking the server…"));
    await this.#followJourney(event.id, 0);
  }

  async #followJourney(id, times) {
    let journey;
    try {
      journey = await ask(`inspect/message/${id}`, "This message is too old: the server has forgotten its journey.");
    } catch (error) {
      if (this.#shown?.id === id && !times) this.body.replaceChildren(make("p", { class: "note" }, error.message));
      return;
    }
    if (this.#shown?.id !== id) return;
    this.#drawJourney(journey);
    const over =
      journey.deliveries.every(({ written, evicted }) => written != null || evicted) &&
      journey.steps.some(({ step }) => step === "written");
    if (!over && times < LONGEST) this.#timer = setTimeout(() => this.#followJourney(id, times + 1), AGAIN);
  }

  #drawJourney({ text, client, steps, deliveries }) {
    setText(this.lead, `“${text}”, from client ${client}`);
    const first = steps[0]?.t ?? 0;
    const last = Math.max(first, ...steps.map(({ t }) => t));
    const since = (t) => (t == null ? "" : milliseconds(t - first));
    const items = steps.map(({ step, t, thread, file, line }, i) =>
      make(
        "li",
        { "data-step": step },
        make("span", { class: "at" }, make("b", {}, since(t)), " ms"),
        make("strong", {}, step),
        make("span", { class: "means" }, STEPS[step] ?? ""),
        make("span", { class: "by" }, [thread, file && `${file}:${line}`].filter(Boolean).join("\n")),
        i ? make("span", { class: "delta" }, `+${milliseconds(t - steps[i - 1].t)} ms`) : null,
      ),
    );
    const ruler = draw("svg", {
      class: "ruler",
      viewBox: "0 0 1000 14",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    const x = (t) => (last > first ? (t - first) / (last - first) : 0) * 1000;
    steps.slice(1).forEach(({ step, t }, i) =>
      ruler.append(
        draw("rect", {
          x: x(steps[i].t).toFixed(1),
          y: 3,
          width: Math.max(1.5, x(t) - x(steps[i].t)).toFixed(1),
          height: 8,
          "data-step": step,
        }),
      ),
    );
    const rows = deliveries.map((delivery) =>
      make(
        "tr",
        { "data-evicted": delivery.evicted },
        make("th", { scope: "row" }, `${delivery.client} ${delivery.name}`),
        make("td", {}, since(delivery.buffered)),
        make("td", {}, since(delivery.coalesced)),
        make("td", {}, delivery.with == null ? "" : count(delivery.with)),
        make("td", {}, delivery.evicted ? "evicted" : delivery.written == null ? "waits" : since(delivery.written)),
      ),
    );
    const head = ["client", "buffered", "in a frame", "of", "written"].map((word) =>
      make("th", { scope: "col" }, word),
    );
    const place = this.body.querySelector(".deliveries")?.scrollTop ?? 0;
    this.body.replaceChildren(
      make(
        "div",
        { class: "journey" },
        ruler,
        make("ol", { class: "steps" }, ...items),
        make(
          "p",
          { class: "note" },
          `${milliseconds(last - first)} ms from the first step to the last. The bar is drawn to scale.`,
        ),
      ),
      make(
        "div",
        { class: "deliveries", tabindex: "0", role: "group", "aria-label": "Deliveries" },
        make(
          "table",
          {},
          make("caption", {}, `Delivered to ${plural(deliveries.length, "client")}, in ms`),
          make("thead", {}, make("tr", {}, ...head)),
          make("tbody", {}, ...rows),
        ),
      ),
    );
    this.body.querySelector(".deliveries").scrollTop = place;
  }

  #begin(shown, title) {
    clearTimeout(this.#timer);
    if (!this.panel.contains(document.activeElement)) this.#opener = document.activeElement;
    this.#shown = shown;
    this.#code = "";
    this.#picked = "";
    this.#stack = null;
    // What the server could not tell it may tell now.
    for (const [key, { problem }] of this.#sources) if (problem) this.#sources.delete(key);
    this.#swapped = -Infinity;
    this.tools.replaceChildren();
    delete this.tools.dataset.key;
    this.title.textContent = title;
    this.panel.hidden = false;
    document.body.dataset.detail = shown.kind;
    this.#handlers.onSelect(shown.name ?? "");
    this.panel.focus({ preventScroll: true });
  }
}

const keyOf = (file, name) => `${file} ${name}`;

function threadsOf({ hub, clients }) {
  return [hub.thread, ...clients.flatMap(({ read_pump: read, write_pump: write }) => [read, write])];
}

function findThread(picture, name) {
  if (picture.hub.thread.name === name) return { thread: picture.hub.thread };
  for (const client of picture.clients) {
    for (const thread of [client.read_pump, client.write_pump]) if (thread.name === name) return { thread, client };
  }
  return {};
}

function findChannel(picture, name) {
  const channel = Object.values(picture.channels).find((channel) => channel.name === name);
  if (channel) return { channel };
  const client = picture.clients.find(({ send }) => send.name === name);
  return client ? { channel: client.send, client } : {};
}
