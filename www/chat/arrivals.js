// @ts-check
// What the room's log brings: messages, people who come, go or change names, and what an organiser has done.

import { nameIn } from "./row.js";
import { mentions } from "./text.js";

/** @import { Attention } from "./attention.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Log } from "./log.js" */
/** @import { People } from "./people.js" */
/** @import { Message, Ordered, Presence } from "./types.js" */

export class Arrivals {
  #connection;
  #log;
  #people;
  #attention;
  #joining = true; // the history of the first join is coming

  /**
   * @param {Connection} connection
   * @param {Log} log
   * @param {People} people
   * @param {Attention} attention
   */
  constructor(connection, log, people, attention) {
    this.#connection = connection;
    this.#log = log;
    this.#people = people;
    this.#attention = attention;
  }

  /** A connection is there: if the room has no history, it is complete. */
  hello() {
    this.#joined(1);
  }

  /** @param {Message} message */
  message(message) {
    this.#joined(message.id);
    const mine = this.#people.isMe(message);
    const mentioned = !mine && mentions(message.text, this.#people.me);
    const history = this.#isHistory(message.id);
    if (message.name !== null) this.#people.nameBefore({ name: message.name, by: message.by });
    this.#log.message(message, { me: this.#people.me, mine, mentioned, history });
    if (!mine && !history) this.#attention.message(nameIn(message), message.text, mentioned);
    this.#joined(message.id + 1);
  }

  /** @param {Presence} entry */
  presence(entry) {
    this.#joined(entry.id);
    const before = this.#people.nameBefore(entry);
    if (!this.#connection.isPast(entry.id)) this.#people.changed(entry);
    // One's own coming and going is no news. In a crowd nobody's is, and neither is what happened before one came.
    const told = !this.#people.isCrowd && !this.#people.isMe(entry) && !this.#isHistory(entry.id);
    const words = {
      join: told && `${entry.name} joined`,
      leave: told && `${entry.name} left`,
      name: `${before || "Somebody"} is now called ${entry.name}`,
    }[entry.type];
    if (words) this.#log.notice(words);
    this.#joined(entry.id + 1);
  }

  /** @param {Ordered} entry */
  order(entry) {
    this.#joined(entry.id);
    if (entry.order === "clear") this.#log.clear();
    this.#log.notice(entry.text);
    this.#joined(entry.id + 1);
  }

  /** Whether an entry was there before this page was. @param {number} id */
  #isHistory(id) {
    return this.#connection.isPast(id) && !this.#connection.returned;
  }

  /** Draw the line below the history if the entry with this id is the first new one. @param {number} id */
  #joined(id) {
    if (!this.#joining || this.#connection.isPast(id)) return;
    this.#joining = false;
    if (!this.#log.isEmpty) this.#log.notice("You joined here", "joined");
    this.#log.readOut();
  }
}
