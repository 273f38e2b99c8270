// What happened: the list of events, and for an eviction the sentence that says why.

import { briefly, byId, count, make, plural, reasonOf, setText } from "./words.js";

const MOST = 300; // rows
const EXPLAINED = 25_000; // ms that an explanation stays

const CHAIN = [
  "its peer stopped reading",
  "the kernel’s buffers filled",
  "its write pump got stuck in send",
  "its send channel filled",
  "the hub would have blocked",
];

export class Events {
  #waiting = []; // events not in the list yet: the picture is paused, or somebody points at the list
  #paused = false;
  #pointedAt = false;
  #evicted = new Map();
  #timer = 0;

  // Calls `onMessage(event)` when a message is picked, and `onExplain()` when there is an eviction to explain
  // (`explaining`), or no longer.
  constructor(onMessage, onExplain) {
    this.onMessage = onMessage;
    this.onExplain = onExplain;
    this.explaining = false;
    this.list = byId("log");
    this.tip = byId("tip");
    this.why = byId("why");
    this.why.querySelector("button").addEventListener("click", () => this.#hideWhy());
    for (const button of byId("filter").children) button.addEventListener("click", () => this.#filter(button));
    // What moves away under the pointer cannot be pressed.
    this.list.addEventListener("pointerenter", () => {
      this.#pointedAt = true;
    });
    this.list.addEventListener("pointerleave", () => {
      this.#pointedAt = false;
      this.#next();
    });
  }

  // Add what happened since the last picture.
  add(events) {
    this.#waiting.push(...events);
    this.#waiting.splice(0, this.#waiting.length - MOST);
    this.#next();
    const evictions = events.filter(({ kind }) => kind === "evicted");
    if (evictions.length && !this.#paused) this.#explain(evictions);
  }

  // Show what had happened at `t`; null: all, from now on as it comes.
  upTo(t) {
    this.#paused = t !== null;
    if (this.#paused) this.#show((event) => event.t <= t);
    else this.#next();
    for (const item of this.list.children) item.hidden = this.#paused && Number(item.dataset.t) > t;
  }

  clear() {
    this.#waiting = [];
    this.list.replaceChildren();
    this.#hideWhy();
  }

  #next() {
    if (!this.#paused && !this.#pointedAt) this.#show(() => true);
    const held = this.#pointedAt && !this.#paused ? this.#waiting.length : 0;
    setText(
      this.tip,
      held
        ? `${count(held)} more as soon as you point elsewhere.`
        : this.list.childElementCount
          ? "Press a message to follow its journey."
          : "Nothing yet.",
    );
  }

  #show(isDue) {
    const due = this.#waiting.filter(isDue);
    if (!due.length) return;
    this.#waiting = this.#waiting.filter((event) => !isDue(event));
    this.list.prepend(...due.map((event) => this.#item(event)).reverse());
    while (this.list.childElementCount > MOST) this.list.lastChild.remove();
  }

  #item(event) {
    const at = make("time", {}, `${event.t.toFixed(1)} s`);
    if (event.kind === "message") {
      return make(
        "li",
        { "data-kind": "message", "data-t": event.t },
        make(
          "button",
          { type: "button", onclick: () => this.onMessage(event) },
          at,
          make("span", { class: "from" }, make("span", { class: "unseen" }, "client "), `${event.client}`),
          make("span", { class: "text" }, event.text),
        ),
      );
    }
    const who = make(
      "span",
      { class: "text" },
      `client ${event.client}${event.name ? `, ${event.name},` : ""} `,
      make("b", {}, event.kind),
      event.reason ? `: ${event.kind === "evicted" ? briefly(event.reason) : event.reason}` : "",
    );
    return make("li", { "data-kind": event.kind, "data-t": event.t }, make("div", {}, at, who));
  }

  #filter(button) {
    for (const other of byId("filter").children) other.setAttribute("aria-pressed", String(other === button));
    this.list.dataset.show = button.dataset.show;
  }

  #explain(evictions) {
    for (const event of evictions) this.#evicted.set(event.client, event);
    const all = [...this.#evicted.values()];
    const last = all.at(-1);
    const some = all.slice(-3).map(({ client, name }) => `client ${client}${name ? ` (${name})` : ""}`);
    const who = all.length <= 3 ? some.join(", ") : plural(all.length, "client");
    const title = `${who[0].toUpperCase()}${who.slice(1)} ${all.length === 1 ? "was" : "were"} evicted`;
    const reason = reasonOf(last.reason);
    this.why.querySelector("h2").textContent = title;
    this.why
      .querySelector("ol")
      .replaceChildren(...CHAIN.map((step) => make("li", {}, step)), make("li", {}, "evicted"));
    this.why.querySelector("p").textContent = `${reason && `: ${reason}`}. Nobody else waited.`;
    this.explaining = true;
    this.onExplain();
    byId("aloud").textContent = `${title}${reason && `: ${reason}`}.`;
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
