// @ts-check
// What is behind a line of the source: its function, with Go's counterpart beside it.

import { make } from "../dom.js";
import { SourceView } from "./source.js";

/** @import { Sources } from "./source.js" */
/** @import { Place } from "./types.js" */

export class LineDetail {
  kind = "line";
  name = ""; // no thread or channel
  lead = make("p", { class: "lead" });
  client = undefined;

  /**
   * @param {Place} place
   * @param {Sources} sources
   */
  constructor({ file, line, name }, sources) {
    this.title = `${file}, line ${line}`;
    const source = new SourceView(sources);
    this.body = make("div", { class: "detail-body of-line" }, ...source.elements);
    source.follow(file, line, name);
  }

  /** A line does not depend on the picture. */
  render() {}

  close() {}
}
