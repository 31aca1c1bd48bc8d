// statistics.cu against sorting: mean, lower median, k-th largest, the list of the largest, counts over a
// limit, and maxima and means by row and column. NaN counts as larger than infinity, whatever its sign.

import type { Device } from "../../../src/cuda/device.ts";
import {
  checkAxes,
  checkRatios,
  checkSelection,
} from "../../../src/doctor/self_test/statistics.ts";
import type { Random } from "../../random.ts";
import { faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("order statistics and counts are exact at odd sizes", (device, random) => {
  const full = device.multiprocessors * 8 * Math.min(256, device.maxThreadsPerBlock);
  for (const count of [1, 2, 3, 15, 16, 17, 31, 33, 63, 65, 127, 255, 577, full + 1, 100_003]) {
    checkSelection(device, random.normals(count), 2, "normal values");
  }
});

kernelTest("values that share many leading bits are told apart", (device, random) => {
  const near = Float32Array.from({ length: 5001 }, () => 1 + random.below(600) * 2 ** -23);
  checkSelection(device, near, 1, "neighbours of 1");
  const tiny = new Float32Array(
    Uint32Array.from({ length: 3001 }, () => random.below(2000) | random.below(2) << 31).buffer,
  );
  checkSelection(device, tiny, 1.5, "denormal values");
  const any = new Float32Array(
    Uint32Array.from({ length: 4001 }, () => random.bits() & 0xbfffffff).buffer,
  );
  checkSelection(device, any, 3, "values of any exponent below 2");
});

kernelTest("ties, equal values and zeros are counted", (device, random) => {
  for (const count of [1, 5, 64, 1000, 4099]) {
    checkSelection(device, new Float32Array(count), 1000, "zeros");
    checkSelection(
      device,
      new Float32Array(count).fill(-2.5),
      0.5,
      "equal values, all over the limit",
    );
    checkSelection(
      device,
      new Float32Array(count).fill(-2.5),
      1,
      "equal values, none over the limit",
    );
  }
  const few = Float32Array.from({ length: 3001 }, () => (random.below(7) - 3) / 2);
  checkSelection(device, few, 1, "seven values");
  const one = new Float32Array(2051);
  one[2050] = -7;
  checkSelection(device, one, 1000, "one value among zeros");
});

kernelTest("NaN and infinity are the largest, and the limit follows the mean", (device, random) => {
  for (const special of [Infinity, -Infinity, NaN]) {
    const x = random.normals(999);
    x[0] = x[500] = x[998] = special;
    checkSelection(device, x, 2, `${special} among normal values`);
    checkSelection(device, x.fill(special), 2, `${special} alone`);
  }
  const negative = random.normals(77);
  new Uint32Array(negative.buffer)[76] = 0xffc00000;
  checkSelection(device, negative, 2, "a NaN with a sign");
});

kernelTest("maxima and means by row and by column equal the reference", (device, random) => {
  for (const rows of [1, 2, 33]) {
    for (const columns of [1, 2, 31, 33, 63, 64, 65, 127, 128, 577]) {
      checkAxes(device, random.normals(rows * columns), rows, columns);
    }
  }
  checkAxes(device, random.normals(5000), 5000, 1);
  checkAxes(device, random.normals(70_003), 1, 70_003);
});

kernelTest(
  "the first row wins among equals, and NaN and infinity win over numbers",
  (device, random) => {
    const x = Float32Array.from({ length: 40 * 65 }, () => random.below(3) - 1);
    checkAxes(device, x, 40, 65);
    checkAxes(device, new Float32Array(130), 2, 65);
    checkAxes(device, new Float32Array(130).fill(NaN), 2, 65);
    const mixed = random.normals(7 * 3);
    mixed[4] = NaN;
    mixed[8] = -Infinity;
    mixed[17] = Infinity;
    checkAxes(device, mixed, 7, 3);
  },
);

kernelTest(
  "ratios to a row's mean keep their sign, and are 0 in a row of mean 0",
  (device, random) => {
    for (const columns of [1, 2, 31, 33, 577]) checkRatios(device, 5, columns, random);
    checkRatios(device, device.multiprocessors * 8 * 8 + 1, 3, random);
  },
);

const selected = (device: Device, random: Random, prefix = "") => {
  checkSelection(device, random.normals(578), 2, "normal values", prefix);
  checkSelection(
    device,
    new Float32Array(new Uint32Array(578).fill(0x3f800201).buffer),
    2,
    "equal values, the last bit of each part set",
    prefix,
  );
};
const axes = (device: Device, random: Random, prefix = "") => {
  checkAxes(device, random.normals(3 * 65), 3, 65, prefix);
  checkAxes(device, new Float32Array(3 * 65).fill(-1), 3, 65, prefix);
};
const file = "statistics.cu";
faultsAreFound([
  {
    name: "the upper median is found",
    file,
    from: "(count - 1) / 2",
    to: "count / 2",
    check: selected,
  },
  {
    name: "the (k+1)-th largest is found",
    file,
    from: "count - top :",
    to: "count - top - 1 :",
    check: selected,
  },
  {
    name: "one bit is lost while refining",
    file,
    from: "(1u << width) - 1",
    to: "(1u << width) - 2",
    check: selected,
  },
  {
    name: "the limit itself counts as over it",
    file,
    from: /over \+= (bits|magnitude\(x\[i\]\)) > limit/g,
    to: "over += $1 >= limit - 1000000",
    check: selected,
  },
  {
    name: "the last row wins among equals",
    file,
    from: "bits > largest[t] ? row",
    to: "bits >= largest[t] ? row",
    check: axes,
  },
  { name: "bins are not emptied", file, from: "bins[i] = 0;\n", to: ";\n", check: selected },
]);
