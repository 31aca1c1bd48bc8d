// cast.cu against a conversion that looks at both neighbours, and back.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../../src/cuda/device.ts";
import type { Random } from "../../random.ts";
import {
  bfloat16ToNumbers,
  faultsAreFound,
  given,
  kernelTest,
  numbersToBfloat16,
  wanted,
} from "./bench.ts";

function toBfloat16(device: Device, x: Float32Array, prefix = ""): Uint16Array {
  const from = given(device, "float32", x), to = wanted(device, "bfloat16", x.length);
  device.kernel(`${prefix}cast_float32_to_bfloat16`)
    .overElements(x.length, to.pointer, from.pointer, x.length);
  return to.take();
}

/** Every bfloat16 number, the middles between neighbours, and a little beside them. */
function everyTie(): Float32Array {
  const words = new Uint32Array(3 * 65536);
  for (let bits = 0; bits < 65536; bits++) {
    words.set([bits << 16 | 0x7fff, bits << 16 | 0x8000, bits << 16 | 0x8001], 3 * bits);
  }
  return new Float32Array(words.buffer);
}

const ties = (device: Device, _: Random, prefix = "") => {
  const x = everyTie(), actual = toBfloat16(device, x, prefix), expected = numbersToBfloat16(x);
  for (let i = 0; i < x.length; i++) {
    const isNaN = x[i] !== x[i];
    const same = isNaN ? bfloat16ToNumbers([actual[i]])[0] !== 0 : actual[i] === expected[i];
    assert(same, `${x[i]} became ${actual[i].toString(16)}, not ${expected[i].toString(16)}`);
    assert(!isNaN || Number.isNaN(bfloat16ToNumbers([actual[i]])[0]), "NaN became a number");
  }
};

kernelTest("float32 rounds to the nearest bfloat16, to even at ties, to infinity beyond", ties);

kernelTest("NaN stays NaN with its sign, whatever its payload", (device) => {
  const words = Uint32Array.of(0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7fc00000);
  const bits = toBfloat16(device, new Float32Array(words.buffer));
  assertEquals([...bits], [0x7fc0, 0xffc0, 0x7fff, 0xffff, 0x7fc0]);
});

kernelTest("odd sizes are converted to the last element", (device, random) => {
  const beyond = device.multiprocessors * 8 * Math.min(256, device.maxThreadsPerBlock) + 1;
  for (const count of [1, 2, 31, 33, 63, 65, 127, 577, beyond]) {
    const x = random.normals(count, 100);
    assertEquals(toBfloat16(device, x), numbersToBfloat16(x));
  }
});

kernelTest("each of the 65,536 bfloat16 patterns becomes the same float32", (device) => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const from = given(device, "bfloat16", bits), to = wanted(device, "float32", bits.length);
  device.kernel("cast_bfloat16_to_float32")
    .overElements(bits.length, to.pointer, from.pointer, bits.length);
  const words = new Uint32Array(to.take().buffer);
  assertEquals(words.findIndex((word, i) => word !== (i << 16) >>> 0), -1);
});

Deno.test("the reference rounds known values right", () => {
  // 1 + 2⁻⁸ lies between 1 and 1 + 2⁻⁷: to even is 1; 1 + 3·2⁻⁸ goes up to 1 + 2⁻⁶.
  // Infinity begins halfway between the largest number and 2¹²⁸, at 3.39618e38.
  const x = [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -8), 3.4e38, 3.3961e38, -0, 2 ** -149];
  assertEquals(
    [...numbersToBfloat16(x)],
    [0x3f80, 0x3f80, 0x3f82, 0xbf80, 0x7f80, 0x7f7f, 0x8000, 0],
  );
});

faultsAreFound([
  {
    name: "the first element is left out",
    file: "cast.cu",
    from: "i = span_begin(count)",
    to: "i = span_begin(count) + 1",
    check: ties,
  },
  {
    name: "the upper half is taken without rounding",
    file: "cast.cu",
    from: "from_float<bfloat16>(x[i])",
    to: "bfloat16{static_cast<unsigned short>(__float_as_uint(x[i]) >> 16)}",
    check: ties,
  },
]);
