// Gradients of norms of rows against their formulas in float64.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** Which norm, what type the gradient of its result has, and what is asked for. */
export interface NormBackwardKind {
  norm: "rms" | "layer";
  dtype: FloatType;
  /** Whether the gradient begins with another. */
  base?: boolean;
  /** Whether gain and bias need none. */
  frozen?: boolean;
}

/** Compares the gradients of a norm of random rows, summed over `parts`, with their formulas. */
export function checkNormBackward(
  device: Device,
  random: Random,
  [rows, columns, parts]: readonly [rows: number, columns: number, parts: number],
  { norm, dtype, base: based, frozen }: NormBackwardKind,
  prefix = "",
): number {
  const count = rows * columns, layer = norm === "layer";
  const x = random.normals(count, 3), gain = random.normals(columns);
  const means = layer ? random.normals(rows) : new Float32Array(rows);
  const scales = random.normals(rows).map(Math.abs);
  const base = based ? random.normals(count) : undefined;
  const bits = numbersToBfloat16(random.normals(count));
  const g = dtype === "float32" ? random.normals(count) : bfloat16ToNumbers(bits);

  const input = (data?: Float32Array) => data && given(device, "float32", data);
  const inputs = {
    g: given(device, dtype, dtype === "float32" ? g : bits),
    base: input(base),
    x: input(x)!,
    gain: input(gain)!,
    means: layer ? input(means) : undefined,
    scales: input(scales)!,
  };
  const dx = wanted(device, "float32", count);
  const width = (layer ? 2 : 1) * columns;
  const partial = frozen ? undefined : wanted(device, "float32", parts * width);
  device.kernel(`${prefix}${norm}_norm_backward_${dtype}`).overRows(
    parts,
    dx.pointer,
    partial?.pointer ?? 0,
    inputs.g.pointer,
    inputs.base?.pointer ?? 0,
    inputs.x.pointer,
    inputs.gain.pointer,
    inputs.means?.pointer ?? 0,
    inputs.scales.pointer,
    rows,
    columns,
    parts,
  );
  const total = wanted(device, "float32", width);
  if (partial) {
    device.kernel(`${prefix}sum_parts`)
      .overElements(width, total.pointer, partial.pointer, parts, width);
    partial.take(); // for its guard zones
  }

  const expected = new Float64Array(count), sizes = new Float64Array(count);
  const totals = new Float64Array(width), totalSizes = new Float64Array(width);
  for (let r = 0; r < rows; r++) {
    const each = Array.from({ length: columns }, (_, c) => {
      const at = r * columns + c, unit = (x[at] - means[r]) * scales[r];
      // The size of x̂ is that of its two terms.
      const size = (Math.abs(x[at]) + Math.abs(means[r])) * scales[r];
      totals[c] += g[at] * unit;
      totalSizes[c] += Math.abs(g[at]) * size;
      if (layer) {
        totals[columns + c] += g[at];
        totalSizes[columns + c] += Math.abs(g[at]);
      }
      return { at, unit, size, h: g[at] * gain[c] };
    });
    const mean = (of: (entry: typeof each[0]) => number) =>
      each.reduce((sum, entry) => sum + of(entry), 0) / columns;
    const h = layer ? mean(({ h }) => h) : 0, hUnit = mean(({ h, unit }) => h * unit);
    const hSize = layer ? mean(({ h }) => Math.abs(h)) : 0;
    const hUnitSize = mean(({ h, size }) => Math.abs(h) * size);
    for (const entry of each) {
      const start = base?.[entry.at] ?? 0;
      expected[entry.at] = start + scales[r] * (entry.h - h - entry.unit * hUnit);
      sizes[entry.at] = Math.abs(start) +
        scales[r] * (Math.abs(entry.h) + hSize + entry.size * hUnitSize);
    }
  }
  const what = `${norm}_norm_backward_${dtype} [${rows}, ${columns}] in ${parts} parts`;
  return Math.max(
    assertClose(dx.take(), expected, TOLERANCE.sum(columns), `${what}: dx`, sizes),
    partial
      ? assertClose(total.take(), totals, TOLERANCE.sum(rows), `${what}: gain, bias`, totalSizes)
      : 0,
  );
}

/** Each kernel of norm_backward.cu. */
export const selfTests: SelfTest[] = (["rms", "layer"] as const).flatMap((norm) =>
  (["float32", "bfloat16"] as const).map((dtype): SelfTest => ({
    kernels: [`${norm}_norm_backward_${dtype}`, "sum_parts"],
    run: (device, random) =>
      checkNormBackward(device, random, [129, 577, 9], { norm, dtype, base: true }),
  }))
);
