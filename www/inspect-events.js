// What happened: the list of events, and for an eviction the sentence that says why.

import { byId, make, plural } from "./inspect-words.js";

const MOST = 300;          // rows
const EXPLAINED = 25_000;  // ms that an explanation stays

const WORDS = { joined: "joined", left: "left", evicted: "evicted", stopped: "stopped" };
const CHAIN = [
  "its peer stopped reading", "the kernel’s buffers for it filled", "its write pump was stuck inside send",
  "its send channel filled", "the hub’s send would have blocked",
];

export class Events {
  #waiting = [];      // events of pictures not shown yet, while the picture is paused
  #show = "all";
  #evicted = new Map();
  #timer = 0;

  // Calls `onMessage(event)` when a message is picked, and `onExplain()` when there is an eviction to explain
  // (`explaining`), or no longer.
  constructor(onMessage, onExplain) {
    this.onMessage = onMessage;
    this.onExplain = onExplain;
    this.explaining = false;
    this.list = byId("log");
    this.why = byId("why");
    this.why.querySelector("button").addEventListener("click", () => this.#hideWhy());
    for (const button of byId("filter").children) button.addEventListener("click", () => this.#filter(button));
  }

  // Add a picture's events; while `held`, only once the picture goes on.
  add(events, held) {
    this.#waiting.push(...events);
    if (held) this.#waiting.splice(0, this.#waiting.length - MOST);
    else this.#flush();
  }

  // Show what had happened at `t` (null: all).
  upTo(t) {
    if (t === null) this.#flush();
    else this.#flush(t);
    for (const item of this.list.children) item.hidden = t !== null && Number(item.dataset.t) > t;
  }

  clear() {
    this.#waiting = [];
    this.list.replaceChildren();
    this.#hideWhy();
  }

  #flush(until = Infinity) {
    const due = this.#waiting.filter(({ t }) => t <= until);
    this.#waiting = this.#waiting.filter(({ t }) => t > until);
    if (!due.length) return;
    this.list.prepend(...due.slice(-MOST).map((event) => this.#item(event)).reverse());
    while (this.list.childElementCount > MOST) this.list.lastChild.remove();
    byId("quiet").hidden = true;
    const evictions = due.filter(({ kind }) => kind === "evicted");
    if (evictions.length) this.#explain(evictions);
  }

  #item(event) {
    const at = make("time", {}, `${event.t.toFixed(1)} s`);
    if (event.kind === "message") {
      return make("li", { "data-kind": "message", "data-t": event.t },
        make("button", { type: "button", onclick: () => this.onMessage(event) }, at,
          make("span", { class: "from" }, `${event.client}`), make("span", { class: "text" }, event.text)));
    }
    const who = make("span", { class: "text" }, `client ${event.client}${event.name ? `, ${event.name},` : ""} `,
      make("b", {}, WORDS[event.kind] ?? event.kind), event.reason ? `: ${event.reason.replace(/^evicted: /, "")}` : "");
    return make("li", { "data-kind": event.kind, "data-t": event.t }, make("div", {}, at, who));
  }

  #filter(button) {
    this.#show = button.dataset.show;
    for (const other of byId("filter").children) other.setAttribute("aria-pressed", String(other === button));
    this.list.dataset.show = this.#show;
  }

  #explain(evictions) {
    for (const event of evictions) this.#evicted.set(event.client, event);
    const all = [...this.#evicted.values()];
    const last = all.at(-1);
    const some = all.slice(-3).map(({ client, name }) => `client ${client}${name ? ` (${name})` : ""}`);
    const who = all.length <= 3 ? some.join(", ") : plural(all.length, "client");
    const title = `${who[0].toUpperCase()}${who.slice(1)} ${all.length === 1 ? "was" : "were"} evicted.`;
    this.why.querySelector("h2").textContent = title;
    this.why.querySelector("ol").replaceChildren(...CHAIN.map((step) => make("li", {}, step)), make("li", {}, "evicted"));
    this.why.querySelector("p").textContent = `Told why: “${last.reason || "evicted"}”. Nobody else waited.`;
    this.explaining = true;
    this.onExplain();
    byId("aloud").textContent = `${title} ${last.reason || ""}`;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#hideWhy(), EXPLAINED);
  }

  #hideWhy() {
    clearTimeout(this.#timer);
    this.#evicted.clear();
    this.explaining = false;
    this.onExplain();
  }
}
