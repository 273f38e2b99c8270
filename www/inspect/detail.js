// @ts-check
// The panel below the drawing, which shows what is behind a thread, a channel or a message.

import { byId, make } from "../dom.js";
import { ChannelDetail } from "./channel-detail.js";
import { icon } from "./icon.js";
import { LogDetail } from "./log-detail.js";
import { JourneyDetail } from "./journey.js";
import { emit } from "./signals.js";
import { Sources } from "./source.js";
import { ThreadDetail } from "./thread-detail.js";

/** @import { History } from "./history.js" */
/** @import { Client, Happening, Picture } from "./types.js" */

/** @typedef {ThreadDetail | ChannelDetail | JourneyDetail | LogDetail} Subject what the panel shows */

export class Detail {
  #history;
  #sources = new Sources();
  #panel = byId("detail");
  #title = make("h2", { id: "detail-title" });
  #tools = make("div", { class: "detail-tools" });
  #toolsDrawn = "";

  /** @type {Subject | null} */
  #subject = null;

  /** @type {Element | null} what had the focus before */
  #opener = null;

  /** @param {History} history */
  constructor(history) {
    this.#history = history;
  }

  get open() {
    return this.#subject !== null;
  }

  /**
   * @param {string} name
   * @param {Picture} picture
   * @param {Set<number>} pinned
   */
  showThread(name, picture, pinned) {
    this.#show(new ThreadDetail(name, this.#history, this.#sources));
    this.render(picture, pinned);
  }

  /**
   * @param {string} name
   * @param {Picture} picture
   * @param {Set<number>} pinned
   */
  showChannel(name, picture, pinned) {
    this.#show(new ChannelDetail(name, this.#history, this.#sources));
    this.render(picture, pinned);
  }

  /** @param {Happening} event */
  showMessage(event) {
    this.#show(new JourneyDetail(event));
  }

  /** @param {Picture} picture */
  showLog(picture) {
    this.#show(new LogDetail(this.#sources));
    this.render(picture, new Set());
  }

  close() {
    const inside = this.#panel.contains(document.activeElement);
    this.#subject?.close();
    this.#subject = null;
    this.#panel.hidden = true;
    document.body.removeAttribute("data-detail");
    emit(this.#panel, "selected", "");
    if (inside && this.#opener instanceof HTMLElement && this.#opener.isConnected) this.#opener.focus();
  }

  /**
   * Show the state of the thread or channel in this picture.
   *
   * @param {Picture} picture
   * @param {Set<number>} pinned
   */
  render(picture, pinned) {
    this.#subject?.render(picture);
    this.#renderTools(this.#subject?.client, pinned);
  }

  /** @param {Subject} subject */
  #show(subject) {
    if (!this.#panel.contains(document.activeElement)) this.#opener = document.activeElement;
    this.#subject?.close();
    this.#subject = subject;
    this.#sources.forgetProblems();
    this.#title.textContent = subject.title;
    const close = { type: "button", class: "close", "aria-label": "Close", onclick: () => this.close() };
    this.#renderTools(undefined, new Set());
    this.#panel.replaceChildren(
      make("div", { class: "detail-head" }, this.#title, subject.lead, this.#tools, make("button", close, "×")),
      subject.body,
    );
    this.#panel.hidden = false;
    document.body.dataset.detail = subject.kind; // for the style sheet
    emit(this.#panel, "selected", subject.name);
    this.#panel.focus({ preventScroll: true });
  }

  /**
   * @param {Client | undefined} client the one that the subject belongs to
   * @param {Set<number>} pinned
   */
  #renderTools(client, pinned) {
    const is = client !== undefined && pinned.has(client.number);
    const drawn = client ? `${client.number} ${is}` : "";
    if (this.#toolsDrawn === drawn) return;
    this.#toolsDrawn = drawn;
    const focused = this.#tools.contains(document.activeElement);
    this.#tools.replaceChildren();
    if (!client) return;
    const { number } = client;
    const button = make(
      "button",
      { type: "button", "aria-pressed": String(is), onclick: () => emit(this.#tools, "pin", number) },
      icon("pin"),
      is ? `Client ${number} is pinned` : `Pin client ${number}`,
    );
    this.#tools.append(button);
    if (focused) button.focus();
  }
}
