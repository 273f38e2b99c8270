// @ts-check
// The steps of the tour: what is asked, what is then done to the server, and why it came out so.

import { fullness } from "./kernel.js";
import { count, duration, milliseconds, plural } from "./words.js";

/** @import { Show } from "./show.js" */
/** @import { Client, Held, Picture } from "./types.js" */

const FAST = 60; // messages a second: a stuck client's buffers are full in six seconds, and the slow bot keeps up
const SLOW = 12; // messages a second
const FILLED = 0.6; // of a buffer of the kernel's
const BURST = 100; // messages; they fit into a send channel, so that nobody is evicted for it
const TOGETHER = 10; // clients that join at the same moment
const SPOUT = 50; // messages that a talker says at once...
const SPOUT_MS = 350; // ...this often: the hub's channel is full in two seconds
const LOOK_MS = 1500; // that something stays to be looked at
const HELLO = "Hello from the tour";

/**
 * A thread or a channel that the explanation names, and the time of the picture to look at: null is now.
 * @typedef {{ name: string, t: number | null }} Point
 */

/**
 * A line of the source: the file, the function, and a text that the line has.
 * @typedef {[file: string, name: string, text: string]} Line
 */

/**
 * @typedef {object} Seen
 * @property {string} told what was seen, with its figures
 * @property {string} why two sentences
 * @property {Point[]} points
 * @property {number} [message] the id of the message that can be followed
 */

/**
 * @typedef {object} TourStep
 * @property {string} title
 * @property {string} question
 * @property {string[]} answers
 * @property {number} right the index of the answer that is
 * @property {boolean} [inMemory] whether it is so only where no log writer stands before the hub
 * @property {string} watch where to look meanwhile
 * @property {Line} line where it is decided
 * @property {(show: Show) => Promise<Seen>} play bring it about
 */

/** @type {TourStep[]} */
export const STEPS = [
  {
    title: "A client stops reading",
    question: "A client joins and reads nothing, while the others go on talking. What happens to the others?",
    answers: [
      "They wait: the hub cannot pass on the next message before this client has taken the last.",
      "Nothing: its messages wait in a buffer of its own. When that is full, the hub puts this client out.",
      "They go on, and the server keeps what it has not read, until its memory is full.",
    ],
    right: 1,
    watch: "Watch the client that joins now.",
    line: ["hub.py", "Hub._wait_or_evict", "self._evict(client)"],
    async play(show) {
      await show.setPace(FAST);
      const [number] = await show.add("stuck", 1);
      const began = show.picture;
      const other = reader(began);
      show.points = new Set([`send-${number}`, `writePump-${number}`]);
      const is = (/** @type {(client: Client) => unknown} */ test) => (/** @type {Picture} */ { clients }) =>
        clients.some((client) => client.number === number && test(client));
      const eviction = (/** @type {Picture} */ { events }) =>
        events.find(({ kind, client }) => kind === "evicted" && client === number);
      show.signs = [
        sign("the kernel’s buffers fill", is((client) => fills(client.kernel) || fills(client.unread))),
        sign("its write pump gets stuck", is(({ waits, away }) => waits || away)),
        sign("its send channel fills", is(({ send }) => send.pending * 2 >= send.capacity)),
        sign("the hub evicts it", eviction),
      ];
      let last = began.t;
      const evicted = await show.until((picture) => {
        const found = eviction(picture);
        if (!found && picture.clients.some((client) => client.number === number)) last = picture.t;
        return found;
      });
      const now = other && show.client(other.number);
      const heard = now ? count(now.messages_out - other.messages_out) : "";
      const meanwhile = now ? ` Meanwhile client ${now.number} got all ${heard} messages.` : "";
      return {
        told:
          `Client ${number} was evicted after ${duration(evicted.t - began.t)}, with ${evicted.waiting} of ` +
          `${evicted.capacity} messages waiting.${meanwhile}`,
        why:
          `The hub only puts messages into send-${number}, which never takes long while there is room, so it ` +
          "waits for nobody’s socket. " +
          `When the channel was full and writePump-${number} still stuck in its write, the hub would have had to ` +
          "wait, and evicted the client instead.",
        points: [at(`writePump-${number}`, last), at(`send-${number}`, last), at("hub")],
      };
    },
  },
  {
    title: "The way of a message",
    question: "You say hello. How many threads handle your message on its way to one other client?",
    answers: [
      "One: your client’s thread writes it to everybody’s socket.",
      "Two: one that reads your socket, and one that writes to the other’s.",
      "Three: one that reads your socket, the hub, and one that writes to the other’s.",
    ],
    right: 2,
    inMemory: true,
    watch: "Watch the client “inspector”, and the message that it says now.",
    line: ["hub.py", "Hub.run", "self._pass_on([value"],
    async play(show) {
      const said = show.event(({ kind, text }) => kind === "message" && text === HELLO);
      await show.act("say", { text: HELLO, typed: Date.now() });
      const { client, id = 0 } = await said;
      show.points = new Set([`readPump-${client}`, "broadcast", "hub"]);
      const { steps, deliveries } = await show.journey(id);
      const to = deliveries.find((each) => each.client !== client && each.written !== null) ?? deliveries[0];
      const read = steps.find(({ step }) => step === "read")?.t ?? 0;
      const took = to?.written ? milliseconds(to.written - read) : "";
      const when = took && ` ${took} ms after it was read, client ${to.client} had it.`;
      const pump = `writePump-${to?.client ?? client}`;
      show.points = new Set([...show.points, pump]);
      return {
        told: `It went to ${plural(deliveries.length, "client")}.${when}`,
        why:
          `readPump-${client} read it from its socket and sent it to broadcast, the hub put it into every send ` +
          `channel, and ${pump} wrote it to its own socket, like all others. ` +
          "No socket is read by two threads or written by two, and no thread but the hub knows who is there.",
        points: [at(`readPump-${client}`), at("broadcast"), at("hub"), at(pump)],
        message: id,
      };
    },
  },
  {
    title: "Many at once",
    question: `A client says ${BURST} messages at once. How many frames does each of the others get?`,
    answers: [
      `${BURST}: every message is a frame.`,
      "Far fewer: a frame has all that was waiting when the write pump came.",
      "One: the hub collects them first.",
    ],
    right: 1,
    watch: "Watch the messages in the send channels, and the frames of the last second.",
    line: ["outbox.py", "Outbox.receive_in_turn", "items = self._take_all()"],
    async play(show) {
      if (!reader(show.picture)) await show.add("quiet", 1);
      const before = await show.until(reader);
      const { number } = before;
      show.points = new Set([`send-${number}`, `writePump-${number}`]);
      const got = show.until(({ clients }) => {
        const now = clients.find((client) => client.number === number);
        return now && now.messages_out - before.messages_out >= BURST && now;
      });
      await show.act("burst", { messages: BURST });
      const now = await got;
      const frames = now.frames_out - before.frames_out;
      await show.wait(LOOK_MS);
      return {
        told:
          `Client ${number} got ${plural(now.messages_out - before.messages_out, "message")} in ` +
          `${plural(frames, "frame")}.`,
        why:
          `While writePump-${number} was writing, or waited for its turn to run, more messages came into ` +
          `send-${number}, and then it took them all at once. ` +
          "So the busier the chat, the fewer writes a message needs; a frame has a line for each.",
        points: [at(`writePump-${number}`), at(`send-${number}`)],
      };
    },
  },
  {
    title: "A client leaves",
    question: "A client says goodbye. Its write pump sleeps until a message comes. What ends it?",
    answers: [
      "The read pump stops the thread.",
      "The hub closes the client’s send channel, and the pump finds it closed.",
      "Nothing: it sleeps until the server stops.",
    ],
    right: 1,
    watch: "Watch the client that joins now, and leaves.",
    line: ["hub.py", "Hub.run", "value.send.close()"],
    async play(show) {
      const [number] = await show.add("quiet", 1);
      show.points = new Set([`readPump-${number}`, `send-${number}`, `writePump-${number}`, "unregister"]);
      await show.wait(LOOK_MS);
      const last = show.picture.t;
      await show.remove(number);
      return {
        told: `Client ${number} has gone, and both of its threads with it.`,
        why:
          `readPump-${number} came to the end of its loop and sent the client to unregister, and the hub removed ` +
          `it from the set and closed send-${number}. ` +
          `A receive from a closed channel ends the loop of writePump-${number}: a thread is never stopped from ` +
          "outside, it returns.",
        points: [at(`readPump-${number}`, last), at("unregister"), at("hub"), at(`writePump-${number}`, last)],
      };
    },
  },
  {
    title: "The hub stands still",
    question: "We hold the hub for a few seconds, while everybody goes on talking. What becomes of their messages?",
    answers: [
      "They are lost, as nobody passes them on.",
      "They wait, first in the hub’s channel, then at their senders, and are late.",
      "Another thread passes them on.",
    ],
    right: 1,
    inMemory: true,
    watch: "Watch the channel broadcast, and then the read pumps.",
    line: ["client.py", "Client.read_pump", "self.hub.broadcast.send(said)"],
    async play(show) {
      await show.setPace(SLOW); // few and short ones, so that the slow bot can take them all when the hub goes on
      show.points = new Set(["broadcast", "hub"]);
      show.signs = [
        sign("broadcast fills", ({ channels: { broadcast } }) => broadcast.pending * 2 >= broadcast.capacity),
        sign("broadcast is full", ({ channels: { broadcast } }) => broadcast.pending >= broadcast.capacity),
        sign("read pumps wait to send, and read no more", (picture) => blocked(picture).length),
        sign("the hub goes on", ({ hub }) => show.signs[2].seen && !hub.paused),
      ];
      await show.act("pause", {}, ["resume", {}]);
      while (!blocked(show.picture).length) {
        await show.act("burst", { messages: SPOUT });
        await show.wait(SPOUT_MS);
      }
      await show.wait(LOOK_MS / 2); // the others come to it as well
      const held = show.picture;
      const pumps = blocked(held);
      const [{ number }] = pumps;
      show.points = new Set(["broadcast", ...pumps.map(({ read_pump: { name } }) => name)]);
      await show.wait(LOOK_MS / 2);
      show.undo();
      const waiting = held.channels.broadcast.pending;
      await show.until(({ hub }) => hub.messages >= held.hub.messages + waiting);
      return {
        told:
          `${count(waiting)} messages waited in broadcast, and ${plural(pumps.length, "read pump")} held one ` +
          "more. All of them have gone out now.",
        why:
          `When broadcast was full, readPump-${number} waited in its send and read no more from its socket, so ` +
          "that TCP made the sender wait too. " +
          "Nothing is lost and nothing grows without a bound: a queue with a limit slows down who fills it.",
        points: [at("broadcast", held.t), at(`readPump-${number}`, held.t), at("hub", held.t)],
      };
    },
  },
  {
    title: "No lock",
    question:
      `${TOGETHER} clients join at the same moment, and leave again. How many threads change the hub’s set of ` +
      "clients?",
    answers: [
      "Each client’s own, one after the other: the set has a lock.",
      "Each client’s own, all at once: in Python a set can take that.",
      "One, the hub’s: the others send it their clients.",
    ],
    right: 2,
    watch: "Watch the channels register and unregister, and the hub.",
    line: ["hub.py", "Hub.run", "self.clients.add(value)"],
    async play(show) {
      show.points = new Set(["register", "unregister", "hub"]);
      const numbers = await show.add("quiet", TOGETHER);
      await show.wait(LOOK_MS);
      await Promise.all(numbers.map((number) => show.remove(number)));
      return {
        told:
          `Clients ${Math.min(...numbers)} to ${Math.max(...numbers)} joined and have gone again; ` +
          `${plural(show.picture.hub.clients, "client")} are there.`,
        why:
          "Each client’s thread sent it to register and went on once the hub had taken it, and later the same " +
          "with unregister; only the hub’s thread ever touches the set. " +
          "What one thread alone touches needs no lock, and as that thread takes one case after the other, all " +
          "clients see the messages in one order.",
        points: [at("register"), at("unregister"), at("hub")],
      };
    },
  },
];

/**
 * @param {string} name of a thread or a channel
 * @param {number | null} t
 * @returns {Point}
 */
const at = (name, t = null) => ({ name, t });

/**
 * @param {string} words
 * @param {(picture: Picture) => unknown} test
 */
const sign = (words, test) => ({ words, test, seen: false });

/** @param {Held | null} held */
const fills = (held) => fullness(held) >= FILLED;

/**
 * A client that reads and says nothing: what others say can be counted at it.
 * @param {Picture} picture
 */
const reader = ({ clients }) => clients.find(({ name, away }) => name === "quiet bot" && !away);

/**
 * The clients whose read pumps wait to send to the hub.
 * @param {Picture} picture
 */
const blocked = ({ clients }) => clients.filter(({ read_pump: pump }) => pump.state === "sending");
