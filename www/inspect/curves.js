// @ts-check
// The curves of the wires: from one point to another, level at both ends.

const SAMPLES = 12; // points of a curve that a dot passes

/** @typedef {[x: number, y: number]} Point */
/** @typedef {[from: Point, to: Point]} Line */

/**
 * The control points of the Bezier curve between two ends.
 *
 * @param {Line} line
 * @returns {[Point, Point, Point, Point]}
 */
function control([[x0, y0], [x1, y1]]) {
  const bend = (x1 - x0) * 0.55;
  return [
    [x0, y0],
    [x0 + bend, y0],
    [x1 - bend, y1],
    [x1, y1],
  ];
}

/** @param {Line} line */
export function curve(line) {
  const [a, b, c, d] = control(line).map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
  return `M${a}C${b} ${c} ${d}`;
}

/**
 * Points along the curve.
 *
 * @param {Line} line
 * @returns {Point[]}
 */
export function points(line) {
  const [a, b, c, d] = control(line);
  return Array.from({ length: SAMPLES + 1 }, (_, i) => {
    const t = i / SAMPLES;
    const u = 1 - t;
    /** @param {0 | 1} axis */
    const at = (axis) => u ** 3 * a[axis] + 3 * u * u * t * b[axis] + 3 * u * t * t * c[axis] + t ** 3 * d[axis];
    return [at(0), at(1)];
  });
}
