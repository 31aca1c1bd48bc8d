// Conversions between types, for every bfloat16 number and what lies between two of them.

import type { Device } from "../../cuda/device.ts";
import { assertAllSame, assertSame, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import type { DType } from "../../tensor/dtype.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";

/** Converts on the device. */
export function toBfloat16(device: Device, x: Float32Array, prefix = ""): Uint16Array {
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

/** Compares the conversion of {@linkcode everyTie} with one that looks at both neighbours. */
export function checkTies(device: Device, _: Random, prefix = ""): number {
  const x = everyTie(), actual = toBfloat16(device, x, prefix), expected = numbersToBfloat16(x);
  for (let i = 0; i < x.length; i++) {
    const right = Number.isNaN(x[i])
      ? Number.isNaN(bfloat16ToNumbers([actual[i]!])[0])
      : actual[i] === expected[i];
    if (!right) {
      throw new Error(
        `${x[i]} became ${actual[i]!.toString(16)}, not ${expected[i]!.toString(16)}`,
      );
    }
  }
  return 0;
}

/** Compares the conversion of each of the 65,536 patterns with the float32 that has its bits above zeros. */
export function checkPatterns(device: Device): number {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const from = given(device, "bfloat16", bits), to = wanted(device, "float32", bits.length);
  device.kernel("cast_bfloat16_to_float32")
    .overElements(bits.length, to.pointer, from.pointer, bits.length);
  const words = new Uint32Array(to.take().buffer);
  const wrong = words.findIndex((word, i) => word !== (i << 16) >>> 0);
  assertSame(wrong, -1, "the first pattern that another float32 came of");
  return 0;
}

/** Compares conversions of whole numbers and masks, and towards whole numbers, with Math's. */
export function checkWhole(device: Device, random: Random, prefix = ""): number {
  const convert = (from: DType, to: DType, data: ArrayLike<number>) => {
    const x = given(device, from, data), y = wanted(device, to, data.length);
    device.kernel(`${prefix}cast_${from}_to_${to}`)
      .overElements(data.length, y.pointer, x.pointer, data.length);
    return y.take();
  };
  const ints = Int32Array.from({ length: 577 }, () => random.bits());
  assertAllSame(convert("int32", "float32", ints), Float32Array.from(ints), "int32 as float32");
  const bytes = random.bytes(577);
  assertAllSame(convert("uint8", "float32", bytes), Float32Array.from(bytes), "uint8 as float32");
  const ends = [NaN, Infinity, -Infinity, 2 ** 31, -(2 ** 31), 2147483520, 0.99, -0.99, -1.5];
  const floats = Float32Array.of(...ends, ...random.normals(577, 1e5));
  const most = 2 ** 31 - 1, limited = floats.map((x) => Math.max(x, -(2 ** 31)));
  const whole = Array.from(limited, (x) => x !== x ? 0 : x > most ? most : Math.trunc(x) + 0);
  assertAllSame(convert("float32", "int32", floats), whole, "float32 as int32");
  return 0;
}

/** Each kernel of cast.cu. */
export const selfTests: SelfTest[] = [
  { kernels: ["cast_float32_to_bfloat16"], run: checkTies },
  { kernels: ["cast_bfloat16_to_float32"], run: checkPatterns },
  {
    kernels: ["cast_int32_to_float32", "cast_uint8_to_float32", "cast_float32_to_int32"],
    run: checkWhole,
  },
];
