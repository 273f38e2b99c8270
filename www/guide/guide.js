// @ts-check
// The guide's scripts. Without them the guide can be read as well.

import "./scroll.js";
