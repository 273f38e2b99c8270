// @ts-check
// Tab completes a name in a field; Tab again, the next name that begins so.

const PART = /(^|\s)@?([\p{L}\p{N}\p{M}_.-]+)$/u; // the beginning of a name, before the cursor

export class Completion {
  /** @type {() => string[]} */
  names = () => [];
  #field;
  /**
   * Where the last Tab's name is, and which one is next.
   * @type {{ start: number, end: number, names: string[], index: number }}
   */
  #last = { start: 0, end: -1, names: [], index: 0 };

  /** @param {HTMLTextAreaElement} field */
  constructor(field) {
    this.#field = field;
  }

  /** Complete the name before the cursor. Returns whether there is one. */
  next() {
    const { selectionStart: cursor, selectionEnd } = this.#field;
    if (cursor !== selectionEnd) return false;
    if (cursor !== this.#last.end && !this.#begin(cursor)) return false;
    const { start, end, names, index } = this.#last;
    const name = `@${names[index]} `;
    this.#field.setRangeText(name, start, end, "end");
    this.#last = { start, end: start + name.length, names, index: (index + 1) % names.length };
    return true;
  }

  /** @param {number} cursor */
  #begin(cursor) {
    const [all, before, part] = PART.exec(this.#field.value.slice(0, cursor)) ?? [];
    if (all === undefined) return false;
    const names = this.names().filter((name) => name.toLowerCase().startsWith(part.toLowerCase()));
    this.#last = { start: cursor - all.length + before.length, end: cursor, names, index: 0 };
    return names.length > 0;
  }
}
