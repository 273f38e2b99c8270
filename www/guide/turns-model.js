// @ts-check
// Many write pumps, one interpreter lock: who is woken, and when. With a run queue this is what runtime/runqueue.py and
// outbox.py do, a step at a time; without one, every pump is woken as soon as there is a message for it.
//
// The guide's figure is drawn from this. tests/test_guide_figures.py gives the real run queue and outboxes the same steps.

export class RunQueue {
  #free = 1;
  #urgentIsNext = true;
  /** @type {(() => void)[]} */
  line = [];
  /** @type {(() => void)[]} */
  urgent = [];

  /**
   * Call `wake` as soon as there is a turn.
   *
   * @param {() => void} wake
   * @param {boolean} urgent
   */
  ready(wake, urgent) {
    if (!this.#free) {
      (urgent ? this.urgent : this.line).push(wake);
      return;
    }
    this.#free -= 1;
    wake();
  }

  /** Give a turn back: the next in line gets it. */
  next() {
    const line = this.urgent.length && (this.#urgentIsNext || !this.line.length) ? this.urgent : this.line;
    const wake = line.shift();
    if (!wake) {
      this.#free += 1;
      return;
    }
    this.#urgentIsNext = line === this.line;
    wake();
  }
}

/** No line and no turns: what becomes ready is woken at once. */
export class NoRunQueue {
  /** @param {() => void} wake */
  ready(wake) {
    wake();
  }

  next() {}
}

/** @typedef {{ state: "asleep" | "in line" | "awake", pending: number, urgent: boolean }} Pump */

export class Crowd {
  /** @type {Pump[]} */
  pumps;
  /** The pumps that want to run Python. Only one of them has the lock. @type {Pump[]} */
  awake = [];
  frames = 0;
  messages = 0; // in these frames

  /**
   * @param {number} count
   * @param {RunQueue | NoRunQueue} queue
   */
  constructor(count, queue) {
    this.queue = queue;
    this.pumps = Array.from({ length: count }, () => ({ state: "asleep", pending: 0, urgent: false }));
  }

  /**
   * A client speaks, and everybody has one more message pending.
   *
   * @param {Pump} speaker
   */
  speak(speaker) {
    speaker.urgent = true;
    for (const pump of this.pumps) {
      pump.pending += 1;
      if (pump.state !== "asleep") continue;
      pump.state = "in line";
      const wake = () => {
        pump.state = "awake";
        this.awake.push(pump);
      };
      this.queue.ready(wake, pump.urgent);
    }
  }

  /** The pump that has waited for the lock longest gets it. It takes all that is pending for it, as one frame. */
  run() {
    const pump = this.awake.shift();
    if (!pump) return;
    this.frames += 1;
    this.messages += pump.pending;
    pump.pending = 0;
    pump.urgent = false;
    this.queue.next();
    pump.state = "asleep";
  }
}
