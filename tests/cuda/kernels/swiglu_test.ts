// swiglu.cu against silu(gate) · up in float64.

import type { Device } from "../../../src/cuda/device.ts";
import { checkSwiglu, PAIRS } from "../../../src/doctor/self_test/swiglu.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

const simple = (device: Device, random: Random, prefix = "") =>
  checkSwiglu(device, random.normals(2 * 5 * 33, 3), 5, 33, PAIRS[0], prefix);

kernelTest("swiglu equals silu(gate) · up at odd sizes", (device, random) => {
  for (const rows of [1, 2, 33]) {
    for (const columns of [1, 2, 31, 33, 63, 65, 127, 577]) {
      for (const types of PAIRS) {
        checkSwiglu(device, random.normals(2 * rows * columns, 4), rows, columns, types);
      }
    }
  }
  const many = device.multiprocessors * 8 * 8 + 3; // more rows than warps of a full grid
  checkSwiglu(device, random.normals(2 * many * 3), many, 3);
});

kernelTest("swiglu goes to 0 and to the identity far out, and keeps NaN", (device) => {
  const gate = [-0, 0, 100, 1e30, -80, NaN, 1, 2 ** -140, Infinity];
  const up = [1, 1, 2, 1e-3, 1, 1, NaN, 1, 1];
  checkSwiglu(device, Float32Array.of(...gate, ...up), 1, gate.length);
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
    from: "z = to_float(gate[c])",
    to: "z = to_float(up[c])",
    check: simple,
  },
]);
