// @ts-check
// The guide's scripts. Without them the guide can be read as well: the figures then stand still.

import "./channel-figure.js";
import "./progress.js";
import "./room-figure.js";
import "./scroll.js";
import "./select-figure.js";
import "./turns-figure.js";
