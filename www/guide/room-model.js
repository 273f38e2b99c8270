// @ts-check
// One client that may be slow, in a room where others talk: what hub.py, outbox.py and client.py do, a step at a time.
//
// The guide's figure is drawn from this. tests/test_guide_figures.py gives the real hub and outbox the same steps.

export class Room {
  /** What waits for the hub while it waits for the client. @type {string[]} */
  broadcast = [];
  /** The client's channel `send`. @type {string[]} */
  send = [];
  /** The frame that the write pump is writing, if any. @type {string[]} */
  frame = [];
  /** What the hub could not send to the client yet; while there is some, the hub waits. @type {string[]} */
  rest = [];
  stuck = false; // whether the frame has waited for more than a quarter of a second
  evicted = false;
  heard = 0; // messages that the others have got
  read = 0; // messages that the client has got
  waits = 0; // how often the hub waited

  /** @param {number} capacity of the client's channel */
  constructor(capacity) {
    this.capacity = capacity;
  }

  /**
   * Somebody sends a message to the hub.
   *
   * @param {string} message
   */
  say(message) {
    this.broadcast.push(message);
    this.#serve();
  }

  /** The client takes the frame. The write pump goes on with all that is pending, an item of a waiting hub included. */
  takeFrame() {
    this.read += this.frame.length;
    this.stuck = false;
    this.frame = [...this.send, ...this.rest.splice(0, 1)];
    this.send = [];
    this.#passOnRest();
    this.#serve();
  }

  /** The client has not taken the frame for a quarter of a second. */
  getStuck() {
    this.stuck = true;
    if (this.rest.length) this.#evict();
    this.#serve();
  }

  /** The hub's loop. */
  #serve() {
    while (this.broadcast.length && !this.rest.length) {
      const messages = this.broadcast.splice(0);
      this.heard += messages.length;
      if (!this.evicted) {
        this.rest = messages;
        this.#passOnRest();
      }
    }
  }

  /** Hub._wait_or_evict: send what fits, and wait for the rest, unless the client is stuck. */
  #passOnRest() {
    if (!this.rest.length) return;
    this.#fill();
    if (!this.frame.length) {
      this.frame = this.send.splice(0); // the write pump was waiting for messages
      this.#fill();
    }
    if (!this.rest.length) return;
    if (this.stuck) this.#evict();
    else this.waits += 1;
  }

  #fill() {
    this.send.push(...this.rest.splice(0, this.capacity - this.send.length));
  }

  #evict() {
    this.evicted = true;
    [this.send, this.rest, this.frame] = [[], [], []];
  }
}
