// sort.cu against stable sorting in TypeScript: odd sizes, equal elements, NaN, infinities and zeros.

import type { Device } from "../../../src/cuda/device.ts";
import { checkQuantile, checkSort, checkUnsort } from "../../../src/doctor/self_test/sort.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

const TYPES = ["float32", "bfloat16"] as const;

kernelTest("rows are sorted at odd sizes, in either direction", (device, random) => {
  for (const dtype of TYPES) {
    for (const columns of [1, 2, 31, 33, 63, 65, 577, 5003]) {
      for (const descending of [false, true]) {
        checkSort(device, random.normals(3 * columns, 100), columns, columns, descending, dtype);
      }
    }
    const rows = device.multiprocessors * 8 * 8 + 3;
    checkSort(device, random.normals(rows * 2), 2, 2, false, dtype);
  }
});

kernelTest("the first of sorted rows are the first, however many", (device, random) => {
  for (const columns of [1, 33, 65, 577, 5003]) {
    for (const top of [1, 2, 7, 32, 64, columns - 1].filter((top) => top > 0 && top <= columns)) {
      for (const descending of [false, true]) {
        checkSort(device, random.normals(2 * columns), columns, top, descending);
      }
    }
  }
  checkSort(device, random.normals(5), 5, 0, true);
});

kernelTest(
  "equal elements keep their order; NaN is the largest, and -0 equals 0",
  (device, random) => {
    const special = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 2 ** -149, -(2 ** -149), 3e38, -3e38];
    for (const columns of [11, 100, 700]) {
      const x = Float32Array.from({ length: 2 * columns }, () => special[random.below(11)]!);
      for (const top of [columns, 5, 11]) {
        for (const descending of [false, true]) checkSort(device, x, columns, top, descending);
      }
    }
  },
);

kernelTest("gradients of sorted rows go where the elements came from", (device, random) => {
  for (const dtype of TYPES) {
    for (const [columns, top] of [[1, 1], [33, 33], [577, 64]] as const) {
      checkUnsort(device, random, 3, columns, top, dtype);
    }
  }
});

kernelTest("quantiles lie between their neighbours", (device, random) => {
  for (const [columns, position] of [[1, 0], [2, 0.5], [33, 31.75], [33, 0], [33, 32]] as const) {
    checkQuantile(device, random, 300, columns, position);
  }
});

const sorted = (device: Device, random: Random, prefix: string) => {
  checkSort(device, random.normals(4 * 700), 700, 700, false, "float32", prefix);
};
faultsAreFound([
  {
    name: "the last digit's first bits are forgotten",
    file: "sort.cu",
    from: "shift < 32",
    to: "shift < 20",
    check: sorted,
  },
  {
    name: "equal elements change places",
    file: "sort.cu",
    from: "{key, i}",
    to: "{key, columns - 1 - i}",
    check: (device, _, prefix) => {
      checkSort(device, new Float32Array(70), 70, 70, false, "float32", prefix);
    },
  },
  {
    name: "too few elements are kept",
    file: "sort.cu",
    from: "if (key <= last)",
    to: "if (key < last)",
    check: (device, _, prefix) => {
      checkSort(device, new Float32Array(700).fill(1), 700, 5, true, "float32", prefix);
    },
  },
  {
    name: "negative numbers are sorted by their size",
    file: "sort.cu",
    from: "? ~bits :",
    to: "? bits ^ 0x80000000u :",
    check: sorted,
  },
  {
    name: "a quantile is not NaN where the row has one",
    file: "sort.cu",
    from: "most != most ? most : value",
    to: "value",
    check: (device, random, prefix) => checkQuantile(device, random, 5, 33, 7.5, prefix),
  },
]);
