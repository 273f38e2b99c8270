// @ts-check
// The name: asked for once, in the place of the message's field, and remembered in this browser. Sends "named".

import { byId } from "../dom.js";
import { nameInAddress, setNameInAddress } from "./place.js";
import { recall, remember } from "./store.js";

export class Naming {
  #form = byId("naming", HTMLFormElement);
  #field = byId("name", HTMLInputElement);

  constructor() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#form.dispatchEvent(new CustomEvent("named", { bubbles: true, detail: this.#field.value.trim() }));
    });
  }

  /** The name that this person goes by, or "". */
  get known() {
    return nameInAddress() || recall("browser", "name") || "";
  }

  /** @param {string} name */
  keep(name) {
    if (nameInAddress()) setNameInAddress(name);
    else remember("browser", "name", name);
  }

  ask() {
    this.#form.hidden = false;
    this.#field.focus();
  }

  done() {
    this.#form.hidden = true;
  }

  /** What the person is called if no name is chosen. @param {string} name */
  suggest(name) {
    this.#field.placeholder = name;
  }
}
