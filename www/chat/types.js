// @ts-check
// The shapes of what comes and goes over the WebSocket (protocol threadchat.v1), as the type checker reads them.

/**
 * @typedef {object} Person
 * @property {string} name
 * @property {string} by the public tag of a session
 */

/**
 * The server's first frame.
 *
 * @typedef {object} Hello
 * @property {"hello"} type
 * @property {string} room
 * @property {string} token the point in the room's log from which the entries that follow go on
 * @property {number} top entries up to this id are past
 * @property {boolean} recovered whether all that came after the token that the page gave will follow
 * @property {number | null} last the highest number of this session that the log has taken, if it knows one
 * @property {string} name
 * @property {string} by
 * @property {number} count how many people are here
 * @property {Person[]} here
 * @property {number} message_size the longest text, in bytes
 * @property {boolean} [moderator] whether this person is an organiser
 */

/**
 * @typedef {object} Message
 * @property {"msg"} type
 * @property {string} token
 * @property {number} id
 * @property {number} at seconds since 1970
 * @property {string | null} name null: a client without names
 * @property {string} by
 * @property {number | null} [n] the sender's own number
 * @property {string} text
 */

/**
 * Somebody came, left, or took another name.
 *
 * @typedef {object} Presence
 * @property {"join" | "leave" | "name"} type
 * @property {string} token
 * @property {number} id
 * @property {number} at
 * @property {string} name
 * @property {string} by
 */

/**
 * What an organiser has ordered.
 *
 * @typedef {object} Ordered
 * @property {"order"} type
 * @property {string} token
 * @property {number} id
 * @property {string} order
 * @property {string} text what was done, in a sentence
 */

/** @typedef {Message | Presence | Ordered} Entry */

/**
 * @typedef {object} Refusal
 * @property {"error"} type
 * @property {number | null} [n] the text that it is about
 * @property {string} text
 */

/**
 * @typedef {Hello | Entry | Refusal | { type: "ack", n: number } | { type: "gap" }
 *   | { type: "state", log: "up" | "down" }} Down
 */

/**
 * @typedef {{ type: "kick" | "mute" | "pardon", by: string } | { type: "slow", seconds: number }
 *   | { type: "lock", locked: boolean } | { type: "clear" }} Order what an organiser orders
 */

/** @typedef {{ type: "msg", n: number, text: string } | { type: "name", name: string } | Order} Up */

export {};
