// @ts-check
// The line of figures above the drawing.

import { byId, make, setText } from "../dom.js";
import { hinted } from "./hints.js";
import { rate } from "./words.js";

/** @import { Picture } from "./types.js" */

/** @type {{ word: string, means: string, tell: (picture: Picture) => string }[]} */
const FIGURES = [
  {
    word: "messages/s",
    means: "Messages that the hub passes on per second.",
    tell: ({ rates }) => rate(rates.messages),
  },
  {
    word: "deliveries/s",
    means: "Each message goes to every client: messages times clients.",
    tell: ({ rates }) => rate(rates.deliveries),
  },
  {
    word: "frames/s",
    means: "Frames that the write pumps write per second. A frame carries everything that was pending.",
    tell: ({ rates }) => rate(rates.frames),
  },
  {
    word: "messages a frame",
    means: "When a write pump falls behind, messages share a frame. That is how it catches up.",
    tell: ({ rates }) => rate(rates.messages_a_frame),
  },
  {
    word: "ms for this picture",
    means: "The processor time that the server spent on this picture, in milliseconds.",
    tell: ({ cost_ms: cost }) => cost.toFixed(1),
  },
];

export class Figures {
  #values = FIGURES.map(({ word, means, tell }) => {
    const value = make("dd");
    const figure = make("div", {}, value, make("dt", {}, word));
    hinted(figure, () => means);
    byId("figures").append(figure);
    return { value, tell };
  });

  /** @param {Picture} picture */
  render(picture) {
    for (const { value, tell } of this.#values) setText(value, tell(picture));
  }
}
