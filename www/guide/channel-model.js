// @ts-check
// Go's channels and `select` without threads: what channel.py does, a step at a time. Where a thread there would
// sleep, a function is kept here, to be called when the thread would wake.
//
// The guide's figures are drawn from this. tests/test_guide_figures.py gives the real channels the same steps.

/**
 * A case of a select: a receive from the channel or, with an item, a send to it.
 *
 * @typedef {{ channel: Channel, item?: string }} Case
 */

/**
 * How a case proceeded: with the item received, "" for a send; or, if the channel is closed, by raising Closed.
 *
 * @typedef {{ case: Case, item: string, closed: boolean }} Outcome
 */

/** @typedef {{ wake: (item: string, closed: boolean) => void, item: string }} Sleeper */

export class Channel {
  /** @type {string[]} */
  buffer = [];
  /** @type {Sleeper[]} */
  senders = [];
  /** @type {Sleeper[]} */
  receivers = [];
  closed = false;

  /** @param {number} capacity */
  constructor(capacity) {
    this.capacity = capacity;
  }

  /**
   * Send, or sleep until that is possible.
   *
   * @param {string} item
   * @param {(outcome: Outcome) => void} done
   */
  send(item, done) {
    select([{ channel: this, item }], done);
  }

  /**
   * Receive, or sleep until there is something to receive.
   *
   * @param {(outcome: Outcome) => void} done
   */
  receive(done) {
    select([{ channel: this }], done);
  }

  /** Wake all that sleep here, to raise Closed. */
  close() {
    this.closed = true;
    for (const sleeper of [...this.receivers, ...this.senders]) sleeper.wake("", true);
  }

  /** @param {string} item there must be a receiver or room */
  offer(item) {
    if (this.receivers.length) this.receivers[0].wake(item, false);
    else this.buffer.push(item);
  }

  /** The oldest item. There must be one. If a sender sleeps, its item moves up. */
  take() {
    if (this.senders.length) {
      const sender = this.senders[0];
      this.buffer.push(sender.item);
      sender.wake("", false);
    }
    return this.buffer.shift() ?? "";
  }
}

/** @param {Case} _ */
export function isReady({ channel, item }) {
  if (channel.closed) return true;
  if (item === undefined) return channel.buffer.length + channel.senders.length > 0;
  return channel.buffer.length < channel.capacity || channel.receivers.length > 0;
}

/**
 * Let one of the cases that are ready proceed. If none is, sleep in the lines of all their channels until one is.
 *
 * @param {Case[]} cases
 * @param {(outcome: Outcome) => void} done called at once, or when it wakes
 * @param {(ready: Case[]) => Case} choose at random, if not said otherwise
 */
export function select(cases, done, choose = oneOf) {
  const ready = cases.filter(isReady);
  if (ready.length) {
    done(proceed(choose(ready)));
    return;
  }
  /** @type {Sleeper[]} */
  const places = [];
  for (const each of cases) {
    /** @type {Sleeper["wake"]} */
    const wake = (item, closed) => {
      for (const { channel } of cases) {
        channel.senders = channel.senders.filter((sleeper) => !places.includes(sleeper));
        channel.receivers = channel.receivers.filter((sleeper) => !places.includes(sleeper));
      }
      done({ case: each, item, closed });
    };
    places.push({ wake, item: each.item ?? "" });
    (each.item === undefined ? each.channel.receivers : each.channel.senders).push(places[places.length - 1]);
  }
}

/**
 * @param {Case} chosen which is ready
 * @returns {Outcome}
 */
function proceed(chosen) {
  const { channel, item } = chosen;
  if (item === undefined) {
    const empty = !channel.buffer.length && !channel.senders.length;
    return { case: chosen, item: empty ? "" : channel.take(), closed: empty };
  }
  if (!channel.closed) channel.offer(item);
  return { case: chosen, item: "", closed: channel.closed };
}

/**
 * One of them, each with the same probability.
 *
 * @template T
 * @param {T[]} items
 */
export function oneOf(items) {
  return items[Math.floor(Math.random() * items.length)];
}
