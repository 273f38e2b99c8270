// @ts-check
// The commands: what can be written into the field besides messages.

/** @import { Order } from "./types.js" */

/**
 * What a command can do.
 *
 * @typedef {object} Actions
 * @property {(name: string) => void} rename
 * @property {(name: string) => void} enter another room
 * @property {() => void} save
 * @property {(text: string) => void} show a text to this reader alone
 * @property {() => string} people who is here, in words
 * @property {() => boolean} isOrganiser
 * @property {(name: string) => string} tagOf somebody
 * @property {(order: Order) => void} order something, as an organiser
 */

/**
 * @typedef {object} Command
 * @property {string} argument what must follow, or ""
 * @property {string} what it does
 * @property {boolean} [organisers] whether it is for organisers alone
 * @property {(actions: Actions, argument: string) => void} run
 */

/** @type {Record<string, Command>} */
const COMMANDS = {
  help: { argument: "", what: "show this list", run: (actions) => actions.show(help(actions.isOrganiser())) },
  name: { argument: "NEW", what: "change your name", run: (actions, name) => actions.rename(name) },
  who: { argument: "", what: "show who is here", run: (actions) => actions.show(actions.people()) },
  room: { argument: "NAME", what: "go to another room", run: (actions, name) => actions.enter(name) },
  save: { argument: "", what: "save what this page shows as a text file", run: (actions) => actions.save() },
  kick: ordering("NAME", "put somebody out of the room", (name, tagOf) => ({ type: "kick", by: tagOf(name) })),
  mute: ordering("NAME", "let somebody say nothing", (name, tagOf) => ({ type: "mute", by: tagOf(name) })),
  pardon: ordering("NAME", "take a /kick or /mute back", (name, tagOf) => ({ type: "pardon", by: tagOf(name) })),
  slow: ordering("SECONDS", "let everybody speak once in so long; 0 ends it", (text) => ({
    type: "slow",
    seconds: numberIn(text),
  })),
  lock: ordering("", "let nobody new in", () => ({ type: "lock", locked: true })),
  unlock: ordering("", "let everybody in again", () => ({ type: "lock", locked: false })),
  clear: ordering("", "drop all that was said", () => ({ type: "clear" })),
};

const COMMAND = /^\/(\p{L}+)(?:\s+([\s\S]*))?$/u; // not /usr/bin

/**
 * A command for organisers.
 *
 * @param {string} argument
 * @param {string} what
 * @param {(argument: string, tagOf: Actions["tagOf"]) => Order} make
 * @returns {Command}
 */
function ordering(argument, what, make) {
  return { argument, what, organisers: true, run: (actions, given) => actions.order(make(given, actions.tagOf)) };
}

/** @param {string} text */
function numberIn(text) {
  const number = Number(text);
  if (!(number >= 0)) throw new Error(`${text} is not a number of seconds.`);
  return number;
}

/** @param {boolean} isOrganiser */
function help(isOrganiser) {
  const lines = Object.entries(COMMANDS)
    .filter(([, { organisers }]) => isOrganiser || !organisers)
    .map(([name, { argument, what }]) => `/${name}${argument && ` ${argument}`}: ${what}`);
  return [
    ...lines,
    "//...: say something that begins with a slash",
    "Enter sends, Shift+Enter begins a new line, Tab completes a name.",
    "@NAME mentions somebody. `code` and ```several lines of code``` keep their shape.",
    "How it works: the guide, and in a terminal threadchat demo, threadchat lesson and threadchat exercise.",
  ].join("\n");
}

/**
 * Do what the text asks for, if it is a command. Returns the text to be said, "" if it was a command. Throws an Error
 * with a sentence for the person if the command is wrong.
 *
 * @param {string} text
 * @param {Actions} actions
 */
export function perform(text, actions) {
  if (text.startsWith("//")) return text.slice(1);
  const [, name, argument = ""] = COMMAND.exec(text) ?? [];
  if (name === undefined) return text;
  const command = Object.hasOwn(COMMANDS, name.toLowerCase()) ? COMMANDS[name.toLowerCase()] : null;
  if (!command) throw new Error(`There is no /${name}. /help lists the commands; //${name} says it.`);
  if (command.organisers && !actions.isOrganiser()) throw new Error(`/${name} is for organisers.`);
  if (command.argument && !argument.trim()) throw new Error(`/${name} ${command.argument}: ${command.what}`);
  command.run(actions, argument.trim());
  return "";
}
