// Losses element by element, their sums and gradients, against their formulas in float64.

import type { Device } from "../../cuda/device.ts";
import { assertClose } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** A loss of a prediction and a target, its derivatives, and the sizes of what each is the difference of. */
interface Loss {
  of: (x: number, t: number) => [loss: number, byX: number, byT: number];
  sizes: (x: number, t: number) => [loss: number, byX: number, byT: number];
  /** A target, from a normal number. */
  target: (v: number) => number;
}

/** Each loss of losses.cu. */
export const LOSSES: Record<string, Loss> = {
  squared_error: {
    of: (x, t) => [(x - t) ** 2, 2 * (x - t), 2 * (t - x)],
    sizes: (x, t) => [(x - t) ** 2, 2 * Math.abs(x - t), 2 * Math.abs(x - t)],
    target: (v) => v,
  },
  binary_cross_entropy: {
    of: (x, t) => [
      Math.max(x, 0) - x * t + Math.log1p(Math.exp(-Math.abs(x))),
      1 / (1 + Math.exp(-x)) - t,
      -x,
    ],
    sizes: (x, t) => [1 + Math.abs(x) + Math.abs(x * t), 1 + Math.abs(t), Math.abs(x)],
    target: (v) => 1 / (1 + Math.exp(-v)),
  },
  kl_divergence: {
    of: (x, t) => t === 0 ? [0, -0, 0] : [t * (Math.log(t) - x), -t, Math.log(t) + 1 - x],
    sizes: (x, t) => {
      const size = t === 0 ? 0 : Math.abs(Math.log(t)) + 1 + Math.abs(x);
      return [t * size, t, size];
    },
    target: (v) => Math.max(0, v),
  },
};

const PART = 1000;

/** Compares a loss, its sum in parts and its gradients with their formulas. */
export function checkLoss(
  device: Device,
  name: string,
  x: Float32Array,
  t: Float32Array,
  random: Random,
  prefix = "",
): number {
  const count = x.length, { of, sizes } = LOSSES[name]!, scale = 0.75;
  const input = (data: Float32Array) => given(device, "float32", data).pointer;
  const from = input(x), target = input(t), upstream = random.normals(count), g = input(upstream);
  const kernel = (kind: string) => device.kernel(`${prefix}${name}_${kind}`);
  const values = Array.from(x, (v, i) => of(v, t[i]!)),
    each = Array.from(x, (v, i) => sizes(v, t[i]!));
  const compare = (
    actual: ArrayLike<number>,
    which: 0 | 1 | 2,
    factor: (i: number) => number,
    what: string,
  ) =>
    assertClose(
      actual,
      values.map((value, i) => value[which] * factor(i)),
      TOLERANCE.elementwise(24), // functions of a few units in the last place, and what is made of them
      `${name}: ${what}`,
      each.map((size, i) => size[which] * Math.abs(factor(i))),
    );

  const y = wanted(device, "float32", count);
  kernel("each").overElements(count, y.pointer, from, target, count);
  const errors = [compare(y.take(), 0, () => 1, "each")];

  const parts = Math.ceil(count / PART), sums = wanted(device, "float32", parts);
  kernel("parts").overRows(parts, sums.pointer, from, target, count, parts);
  const total = (all: [number, number, number][]) => all.reduce((sum, [value]) => sum + value, 0);
  errors.push(assertClose(
    [Array.from(sums.take()).reduce((a, b) => a + b, 0)],
    [total(values)],
    TOLERANCE.elementwise(24) + TOLERANCE.sum(PART),
    `${name}: sum`,
    [total(each)],
  ));

  for (const shared of [true, false]) {
    const factor = (i: number) => scale * upstream[shared ? 0 : i]!;
    const dx = wanted(device, "float32", count), dt = wanted(device, "float32", count);
    const run = (dx: number, dt: number) =>
      kernel("backward")
        .overElements(count, dx, dt, from, target, g, shared ? 1 : 0, count, scale);
    run(dx.pointer, shared ? dt.pointer : 0);
    if (!shared) run(0, dt.pointer);
    errors.push(compare(dx.take(), 1, factor, "gradient by x"));
    errors.push(compare(dt.take(), 2, factor, "gradient by t"));
  }
  return Math.max(...errors);
}

/** Predictions and targets. */
export function lossInputs(name: string, random: Random, count: number) {
  return { x: random.normals(count, 4), t: random.normals(count).map(LOSSES[name]!.target) };
}

/** Each kernel of losses.cu. */
export const selfTests: SelfTest[] = Object.keys(LOSSES).map((name) => ({
  kernels: ["each", "parts", "backward"].map((kind) => `${name}_${kind}`),
  run: (device, random) => {
    const { x, t } = lossInputs(name, random, 5003);
    return checkLoss(device, name, x, t, random);
  },
}));
