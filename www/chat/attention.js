// @ts-check
// What happens while nobody looks at the page: the number of unread messages in its title, and a notification of a
// mention, if the person has allowed it.

import { byId } from "../dom.js";

const LONGEST = 200; // characters of a message in a notification

export class Attention {
  #title = document.title;
  #unread = 0;
  #button = byId("notify", HTMLButtonElement);

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.#unread = 0;
      this.#render();
    });
    // Browsers allow notifications only over https or on this machine itself.
    this.#button.hidden = !("Notification" in window && isSecureContext && Notification.permission === "default");
    this.#button.addEventListener("click", async () => {
      await Notification.requestPermission();
      this.#button.hidden = Notification.permission !== "default";
    });
  }

  /** @param {string} room */
  setRoom(room) {
    this.#title = room === "lobby" ? "threadchat" : `${room} · threadchat`;
    this.#render();
  }

  /**
   * A new message of somebody else has come.
   *
   * @param {string} name
   * @param {string} text
   * @param {boolean} mentioned whether it addresses the reader
   */
  message(name, text, mentioned) {
    if (!document.hidden) return;
    this.#unread++;
    this.#render();
    if (!mentioned || !("Notification" in window) || Notification.permission !== "granted") return;
    try {
      const notification = new Notification(name, { body: text.slice(0, LONGEST), tag: "threadchat" });
      notification.onclick = () => {
        window.focus();
        notification.close();
      };
    } catch {
      // Chrome on Android has notifications for service workers alone.
    }
  }

  #render() {
    document.title = this.#unread ? `(${this.#unread}) ${this.#title}` : this.#title;
  }
}
