// Cross-entropy and its gradient against their formulas in float64.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { numbers, rounded } from "./softmax.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** A target that has no loss. */
export const IGNORED = -100;

/** Random classes, some of them ignored. */
export function randomTargets(random: Random, rows: number, columns: number): Int32Array {
  return Int32Array.from(
    { length: rows },
    () => random.uniform() < 0.2 ? IGNORED : random.below(columns),
  );
}

/** Compares losses, their mean, and the gradient of the mean or of each, with their formulas. */
export function checkCrossEntropy(
  device: Device,
  x: ArrayLike<number>,
  targets: Int32Array,
  dtype: FloatType,
  smoothing: number,
  random: Random,
  prefix = "",
): number {
  const rows = targets.length, columns = x.length / rows;
  const from = rounded(device, dtype, x), to = given(device, "int32", targets);
  const losses = wanted(device, "float32", rows), logSums = wanted(device, "float32", rows);
  device.kernel(`${prefix}cross_entropy_${dtype}`).overRows(
    rows,
    losses.pointer,
    logSums.pointer,
    from.pointer,
    to.pointer,
    rows,
    columns,
    IGNORED,
    smoothing,
  );
  const mean = wanted(device, "float32", 2);
  device.kernel(`${prefix}cross_entropy_mean`)
    .once(mean.pointer, losses.pointer, to.pointer, rows, IGNORED);
  const upstream = random.normals(rows), gradient = given(device, "float32", upstream);
  const backward = (shared: boolean) => {
    const dx = wanted(device, dtype, x.length);
    device.kernel(`${prefix}cross_entropy_backward_${dtype}`).overRows(
      rows,
      dx.pointer,
      from.pointer,
      logSums.pointer,
      to.pointer,
      gradient.pointer,
      shared ? mean.pointer + 4 : 0,
      rows,
      columns,
      shared ? 1 : 0,
      IGNORED,
      smoothing,
    );
    return numbers(dtype, dx.take());
  };
  const each = backward(false), ofMean = backward(true);

  const count = targets.filter((target) => target !== IGNORED).length;
  const lossOf = new Float64Array(rows),
    sizes = new Float64Array(rows),
    sums = new Float64Array(rows);
  const dEach = new Float64Array(x.length), dMean = new Float64Array(x.length);
  const dSizes = new Float64Array(x.length), dMeanSizes = new Float64Array(x.length);
  let largest = 0;
  targets.forEach((target, row) => {
    const logits = Array.from({ length: columns }, (_, c) => from.values[row * columns + c]!);
    const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    sums[row] = top + Math.log(logits.reduce((sum, v) => sum + Math.exp(v - top), 0));
    if (target === IGNORED) return;
    const own = logits[target] ?? NaN;
    const spread = smoothing > 0 ? smoothing / columns : 0;
    const mean = (of: number[]) => spread > 0 ? spread * of.reduce((a, b) => a + b, 0) : 0;
    lossOf[row] = sums[row]! - (1 - smoothing) * own - mean(logits);
    sizes[row] = 1 + Math.abs(top) + Math.abs(own) + mean(logits.map(Math.abs));
    logits.forEach((v, c) => {
      const share = (1 - smoothing) * (c === target ? 1 : 0) + spread;
      const factor = own === own ? upstream[row]! : NaN;
      const p = Math.exp(v - sums[row]!), at = row * columns + c;
      if (p > 0) largest = Math.max(largest, Math.abs(sums[row]!) + Math.abs(v));
      dEach[at] = (p - share) * factor;
      dMean[at] = (p - share) * (own === own ? upstream[0]! : NaN) / count;
      dSizes[at] = (p + share) * Math.abs(upstream[row]!);
      dMeanSizes[at] = (p + share) * Math.abs(upstream[0]!) / count;
    });
  });
  const what = `cross_entropy [${rows}, ${columns}] of ${dtype}`;
  const tolerance = TOLERANCE.sum(columns);
  const gradientTolerance = TOLERANCE.softmax(columns, largest);
  const ofType = dtype === "float32" ? gradientTolerance : thenBfloat16(gradientTolerance);
  const plus = (a: Float64Array) => a.reduce((a, b) => a + b, 0);
  return Math.max(
    assertClose(losses.take(), lossOf, tolerance, what, sizes),
    assertClose(
      logSums.take(),
      sums,
      tolerance,
      `${what}: log Σ exp`,
      sums.map((v) => 1 + Math.abs(v)),
    ),
    assertClose(
      mean.take(),
      [plus(lossOf) / count, 1 / count],
      tolerance + TOLERANCE.sum(rows),
      `${what}: mean`,
      [plus(sizes) / count, 1 / count],
    ),
    assertClose(each, dEach, ofType, `${what}: gradient`, dSizes),
    assertClose(ofMean, dMean, ofType, `${what}: gradient of the mean`, dMeanSizes),
  );
}

/** Each kernel of cross_entropy.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).map((dtype) => ({
  kernels: ["cross_entropy_mean", `cross_entropy_${dtype}`, `cross_entropy_backward_${dtype}`],
  run: (device, random) => {
    const x = random.normals(17 * 5003, 3);
    return checkCrossEntropy(device, x, randomTargets(random, 17, 5003), dtype, 0.125, random);
  },
}));
