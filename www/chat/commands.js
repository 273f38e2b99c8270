// @ts-check
// The commands: what can be written into the field besides messages.

/**
 * What a command can do.
 *
 * @typedef {object} Actions
 * @property {(name: string) => void} rename
 * @property {(name: string) => void} enter another room
 * @property {() => void} save
 * @property {(text: string) => void} show a text to this reader alone
 * @property {() => string} people who is here, in words
 */

/**
 * @typedef {object} Command
 * @property {string} argument what must follow, or ""
 * @property {string} what it does
 * @property {(actions: Actions, argument: string) => void} run
 */

/** @type {Record<string, Command>} */
const COMMANDS = {
  help: { argument: "", what: "show this list", run: (actions) => actions.show(help()) },
  name: { argument: "NEW", what: "change your name", run: (actions, name) => actions.rename(name) },
  who: { argument: "", what: "show who is here", run: (actions) => actions.show(actions.people()) },
  room: { argument: "NAME", what: "go to another room", run: (actions, name) => actions.enter(name) },
  save: { argument: "", what: "save what this page shows as a text file", run: (actions) => actions.save() },
};

const COMMAND = /^\/(\p{L}+)(?:\s+([\s\S]*))?$/u; // not /usr/bin

function help() {
  const lines = Object.entries(COMMANDS).map(([name, { argument, what }]) =>
    `/${name}${argument && ` ${argument}`}: ${what}`,
  );
  return [
    ...lines,
    "//...: say something that begins with a slash",
    "Enter sends, Shift+Enter begins a new line, Tab completes a name.",
    "@NAME mentions somebody. `code` and ```several lines of code``` keep their shape.",
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
  if (command.argument && !argument.trim()) throw new Error(`/${name} ${command.argument}: ${command.what}`);
  command.run(actions, argument.trim());
  return "";
}
