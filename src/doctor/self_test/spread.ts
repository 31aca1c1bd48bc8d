// Gradients of reductions against their formulas in float64.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { numbers, rounded } from "./softmax.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** What an element takes of a gradient. */
type Share = (x: number, g: number, a: number, b: number) => number;

const sign: Share = (x, g) => Math.sign(x) * g;
const equal: Share = (x, g, a, b) => x === b || (x !== x && b !== b) ? g / a : 0;

/** Each operation of spread.cu. */
export const SHARES: Record<string, Share> = {
  centered: (x, g, a, b) => a === 0 ? 0 : g / a * Math.fround(x - b),
  exp: (x, g, _, b) => g * Math.exp(x - b),
  sign,
  equal,
  equal_absolute: (x, g, a, b) => sign(x, equal(Math.abs(x), g, a, b), 0, 0),
  factor: (x, g, a, b) => b === 0 ? g * a / x : b === 1 && x === 0 ? g * a : 0,
};

/** Compares a gradient with its formula; `bare` leaves a and b out. */
export function checkSpread(
  device: Device,
  name: string,
  dtype: FloatType,
  random: Random,
  [outer, reduced, inner]: readonly [number, number, number],
  bare = false,
  prefix = "",
): number {
  // Whole numbers in part, so that some are equal, and some 0.
  const whole = (count: number, deviation: number) =>
    random.normals(count, deviation).map((v) => random.uniform() < 0.5 ? Math.round(v) : v);
  const places = outer * inner;
  const x = rounded(device, dtype, whole(places * reduced, 2));
  const g = random.normals(places), scale = 0.75;
  const a = name === "centered" || name === "exp"
    ? random.normals(places)
    : g.map(() => 1 + random.below(3));
  const b = name === "exp" ? g.map(() => 8 + random.uniform()) : whole(places, 1).map(Math.abs);
  if (name === "centered") a[0] = 0;
  const pointer = (values: Float32Array) => given(device, "float32", values).pointer;
  const dx = wanted(device, dtype, places * reduced);
  device.kernel(`${prefix}spread_${name}_${dtype}`).overRows(
    inner === 1 ? outer : outer * reduced,
    dx.pointer,
    x.pointer,
    pointer(g),
    bare ? 0 : pointer(a),
    bare ? 0 : pointer(b),
    outer,
    reduced,
    inner,
    scale,
  );
  const expected = Float64Array.from({ length: places * reduced }, (_, i) => {
    const at = Math.floor(i / (reduced * inner)) * inner + i % inner;
    const share = SHARES[name]!;
    return share(x.values[i]!, scale * g[at]!, bare ? 1 : a[at]!, bare ? 0 : b[at]!);
  });
  const tolerance = name === "exp" ? TOLERANCE.softmax(1, 20) : TOLERANCE.elementwise(5);
  return assertClose(
    numbers(dtype, dx.take()),
    expected,
    dtype === "float32" ? tolerance : thenBfloat16(tolerance),
    `spread_${name} [${outer}, ${reduced}, ${inner}] of ${dtype}`,
  );
}

/** The types that an operation takes. */
export function typesOf(name: string): FloatType[] {
  return name === "equal" ? ["float32", "bfloat16"] : ["float32"];
}

/** Each kernel of spread.cu. */
export const selfTests: SelfTest[] = Object.keys(SHARES).flatMap((name) =>
  typesOf(name).map((dtype) => ({
    kernels: [`spread_${name}_${dtype}`],
    run: (device, random) =>
      Math.max(
        checkSpread(device, name, dtype, random, [33, 301, 1]),
        checkSpread(device, name, dtype, random, [3, 31, 67]),
      ),
  }))
);
