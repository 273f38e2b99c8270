// The last minute: the pictures, and what each thread and channel did in it.

const KEPT = 60; // seconds
const GHOSTS = 12; // seconds for which an evicted client stays in the picture

export class History {
  // Pictures are kept as text, a tenth of the size of the objects; one is read again when somebody steps back to it.
  #pictures = [];
  #threads = new Map(); // name -> [[t, state, on], ...], the changes alone
  #channels = new Map(); // name -> [[t, pending, capacity], ...]
  #lastSeen = new Map(); // client's number -> the client as it was drawn last
  evictions = []; // { t, client, reason }

  // Take a picture's JSON text; returns the picture.
  add(text) {
    const picture = JSON.parse(text);
    const { t } = picture;
    const last = this.#pictures.at(-1);
    if (last && t < last.t) this.#forget(); // another server
    let fullest = 0;
    for (const client of picture.clients) {
      this.#noteThread(t, client.read_pump);
      this.#noteThread(t, client.write_pump);
      this.#noteChannel(t, client.send);
      this.#lastSeen.set(client.number, client);
      if (client.send.capacity) fullest = Math.max(fullest, client.send.pending / client.send.capacity);
    }
    this.#noteThread(t, picture.hub.thread);
    for (const channel of Object.values(picture.channels)) this.#noteChannel(t, channel);
    for (const event of picture.events) {
      if (event.kind === "evicted") this.#noteEviction(t, event);
    }
    this.#pictures.push({ t, text, fullest });
    this.#trim(t - KEPT);
    return picture;
  }

  get length() {
    return this.#pictures.length;
  }
  get newest() {
    return this.#pictures.at(-1)?.t ?? 0;
  }
  timeOf(index) {
    return this.#pictures[index].t;
  }
  picture(index) {
    return JSON.parse(this.#pictures[index].text);
  }

  // The index of the last picture that is not after `t`.
  indexAt(t) {
    let index = this.#pictures.length - 1;
    while (index > 0 && this.#pictures[index].t > t) index--;
    return index;
  }

  // For the strip above the scrubber.
  summary() {
    return this.#pictures;
  }

  // The clients evicted a moment before `t`, each once, the latest first.
  ghosts(t) {
    return this.evictions.filter((eviction) => eviction.t <= t && t - eviction.t < GHOSTS).reverse();
  }

  threadChanges(name) {
    return this.#threads.get(name) ?? [];
  }
  channelFills(name) {
    return this.#channels.get(name) ?? [];
  }

  #noteThread(t, { name, state, on, for: since }) {
    const changes = this.#threads.get(name);
    if (!changes) this.#threads.set(name, [[t - Math.min(since, KEPT), state, on]]);
    else if (changes.at(-1)[1] !== state || changes.at(-1)[2] !== on) changes.push([t, state, on]);
  }

  #noteChannel(t, { name, pending, capacity }) {
    const fills = this.#channels.get(name);
    if (!fills) this.#channels.set(name, [[t, pending, capacity]]);
    else fills.push([t, pending, capacity]);
  }

  #noteEviction(t, { client: number, name, reason }) {
    const before = this.#lastSeen.get(number);
    this.evictions.push({ t, number, name: name ?? before?.name ?? `client ${number}`, reason, before });
  }

  #trim(oldest) {
    const drop = (list, time) => {
      const keep = list.findIndex((entry) => time(entry) >= oldest);
      if (keep > 0) list.splice(0, keep);
      return keep !== -1;
    };
    drop(this.#pictures, (picture) => picture.t);
    drop(this.evictions, (eviction) => eviction.t);
    for (const [name, fills] of this.#channels) if (!drop(fills, ([t]) => t)) this.#channels.delete(name);
    for (const changes of this.#threads.values()) {
      while (changes.length > 1 && changes[1][0] < oldest) changes.shift(); // the state at `oldest` began before it
    }
    // A name that no longer comes up (a client that left) is forgotten with its last picture.
    if (this.#lastSeen.size > 500) {
      const drawn = new Set([...this.#channels.keys()].map((name) => Number(name.replace("send-", ""))));
      for (const number of this.#lastSeen.keys()) if (!drawn.has(number)) this.#lastSeen.delete(number);
      for (const name of this.#threads.keys()) {
        const number = Number(name.split("-")[1]);
        if (number && !drawn.has(number)) this.#threads.delete(name);
      }
    }
  }

  #forget() {
    this.#pictures = [];
    this.#threads.clear();
    this.#channels.clear();
    this.#lastSeen.clear();
    this.evictions = [];
  }
}
