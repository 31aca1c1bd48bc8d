// swiglu.cu against silu(gate) · up in float64.

import type { Device } from "../../../src/cuda/device.ts";
import type { Random } from "../../random.ts";
import { TOLERANCE } from "../../tolerance.ts";
import { assertClose, faultsAreFound, given, kernelTest, wanted } from "./bench.ts";

function check(device: Device, gateUp: Float32Array, rows: number, columns: number, prefix = "") {
  const x = given(device, "float32", gateUp);
  const y = wanted(device, "float32", rows * columns);
  device.kernel(`${prefix}swiglu`).overRows(rows, y.pointer, x.pointer, rows, columns);
  const expected = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const gate = gateUp[2 * r * columns + c], up = gateUp[(2 * r + 1) * columns + c];
      expected[r * columns + c] = gate / (1 + Math.exp(-gate)) * up;
    }
  }
  // fast_exp's two places are four roundings; then a sum, a division and a product.
  assertClose(y.take(), expected, TOLERANCE.elementwise(8), `swiglu [${rows}, ${columns}]`);
}

const simple = (device: Device, random: Random, prefix = "") =>
  check(device, random.normals(2 * 5 * 33, 3), 5, 33, prefix);

kernelTest("swiglu equals silu(gate) · up at odd sizes", (device, random) => {
  for (const rows of [1, 2, 33]) {
    for (const columns of [1, 2, 31, 33, 63, 65, 127, 577]) {
      check(device, random.normals(2 * rows * columns, 4), rows, columns);
    }
  }
  const many = device.multiprocessors * 8 * 8 + 3; // more rows than warps of a full grid
  check(device, random.normals(2 * many * 3), many, 3);
});

kernelTest("swiglu goes to 0 and to the identity far out, and keeps NaN", (device) => {
  const gate = [-0, 0, 100, 1e30, -80, NaN, 1, 2 ** -140, Infinity];
  const up = [1, 1, 2, 1e-3, 1, 1, NaN, 1, 1];
  check(device, Float32Array.of(...gate, ...up), 1, gate.length);
});

faultsAreFound([
  {
    name: "the last column is left out",
    file: "swiglu.cu",
    from: "c < columns",
    to: "c < columns - 1",
    check: simple,
  },
  {
    name: "one column too many is written",
    file: "swiglu.cu",
    from: "c < columns",
    to: "c <= columns",
    check: simple,
  },
  {
    name: "gate and up change places",
    file: "swiglu.cu",
    from: "-gate[c]",
    to: "-up[c]",
    check: simple,
  },
]);
