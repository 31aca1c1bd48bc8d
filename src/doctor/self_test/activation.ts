// Activations of x + bias, gated activations, and their gradients, against formulas in float64: activation.cu
// and gated.cu.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { compareElements, input, output } from "./elementwise.ts";
import type { SelfTest } from "./self_test.ts";
import type { Random } from "./random.ts";
import { TOLERANCE } from "./tolerance.ts";
import { ACTIVATIONS } from "./unary.ts";

const tolerance = TOLERANCE.elementwise(16);

/** Compares f(x + bias), and its gradient, with the formulas. */
export function checkBias(
  device: Device,
  random: Random,
  name: string,
  dtype: FloatType,
  rows: number,
  columns: number,
  prefix = "",
): number {
  const { value, slope, size, slopeSize } = ACTIVATIONS[name]!;
  const count = rows * columns;
  const x = input(device, dtype, random.normals(count, 2));
  const bias = input(device, dtype, random.normals(columns));
  const g = input(device, dtype, random.normals(count));
  const y = output(device, dtype, count), dx = output(device, dtype, count);
  device.kernel(`${prefix}bias_${name}_${dtype}`)
    .overRows(rows, y.pointer, x.pointer, bias.pointer, rows, columns);
  device.kernel(`${prefix}bias_${name}_backward_${dtype}`)
    .overRows(rows, dx.pointer, g.pointer, x.pointer, bias.pointer, rows, columns);
  const sums = Float64Array.from(x.numbers, (x, i) => x + bias.numbers[i % columns]!);
  // x + bias is rounded, relative to its own size, and so is f where it is steep.
  const sizes = sums.map((sum) => size(sum) + Math.abs(sum));
  const slopeSizes = sums.map((sum, i) =>
    Math.abs(g.numbers[i]!) * (slopeSize(sum) + Math.abs(sum))
  );
  const slopes = sums.map((sum, i) => g.numbers[i]! * slope(sum));
  const what = `${name} of ${dtype} [${rows}, ${columns}] + bias`;
  return Math.max(
    compareElements(y, dtype, sums.map(value), tolerance, what, sizes),
    compareElements(dx, dtype, slopes, tolerance, `gradient of ${what}`, slopeSizes),
  );
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** What the gate of a gated activation goes through, its derivative, and what its error is relative to. */
export const GATES: Record<string, Record<"value" | "slope" | "size", (x: number) => number>> = {
  swiglu: ACTIVATIONS.silu!,
  geglu: ACTIVATIONS.gelu!,
  geglu_tanh: ACTIVATIONS.gelu_tanh!,
  reglu: ACTIVATIONS.relu!,
  glu: {
    value: sigmoid,
    slope: (x) => sigmoid(x) * sigmoid(-x),
    size: (x) => sigmoid(x) * (1 + Math.abs(x)),
  },
};

/** The pairs of types that there are kernels for. */
export const PAIRS: (readonly [from: FloatType, to: FloatType])[] = [
  ["float32", "float32"],
  ["bfloat16", "bfloat16"],
  ["float32", "bfloat16"],
  ["bfloat16", "float32"],
];

/** The pairs of types of one gated activation. */
export function pairsOf(name: string): typeof PAIRS {
  return name === "swiglu" ? PAIRS : PAIRS.slice(0, 2);
}

/** Compares the activation of [rows, 2·columns], and its gradient, with the formulas. */
export function checkGated(
  device: Device,
  name: string,
  [from, to]: readonly [FloatType, FloatType],
  halves: Float32Array,
  gradients: Float32Array,
  rows: number,
  prefix = "",
): number {
  const { value, slope, size } = GATES[name]!, count = halves.length / 2, columns = count / rows;
  const x = input(device, from, halves), g = input(device, to, gradients);
  const y = output(device, to, count), dx = output(device, from, 2 * count);
  device.kernel(`${prefix}gated_${name}_${from}_to_${to}`)
    .overRows(rows, y.pointer, x.pointer, rows, columns);
  device.kernel(`${prefix}gated_${name}_backward_${from}_to_${to}`)
    .overRows(rows, dx.pointer, g.pointer, x.pointer, rows, columns);
  const expected = new Float64Array(count), sizes = new Float64Array(count);
  const dxs = new Float64Array(2 * count), dxSizes = new Float64Array(2 * count);
  for (let i = 0; i < count; i++) {
    const first = Math.floor(i / columns) * 2 * columns + i % columns, second = first + columns;
    const [gate, up] = name === "glu" ? [second, first] : [first, second];
    const z = x.numbers[gate]!, u = x.numbers[up]!, dy = g.numbers[i]!;
    const gated = value(z);
    expected[i] = gated * u;
    sizes[i] = Math.abs(u) * size(z);
    dxs[gate] = dy * u * slope(z);
    dxs[up] = dy * gated;
    dxSizes[gate] = Math.abs(dy * u) * (1 + Math.abs(z));
    dxSizes[up] = Math.abs(dy) * size(z);
  }
  const what = `${name} from ${from} to ${to} [${rows}, ${columns}]`;
  return Math.max(
    compareElements(y, to, expected, tolerance, what, sizes),
    compareElements(dx, from, dxs, tolerance, `gradient of ${what}`, dxSizes),
  );
}

/** Each kernel of x + bias in activation.cu, and of gated.cu. */
export const selfTests: SelfTest[] = [
  ...Object.keys(ACTIVATIONS).flatMap((name) =>
    (["float32", "bfloat16"] as const).map((dtype): SelfTest => ({
      kernels: [`bias_${name}_${dtype}`, `bias_${name}_backward_${dtype}`],
      run: (device, random) => checkBias(device, random, name, dtype, 33, 577),
    }))
  ),
  ...Object.keys(GATES).flatMap((name) =>
    pairsOf(name).map(([from, to]): SelfTest => ({
      kernels: [`gated_${name}_${from}_to_${to}`, `gated_${name}_backward_${from}_to_${to}`],
      run: (device, random) =>
        checkGated(
          device,
          name,
          [from, to],
          random.normals(2 * 33 * 577, 2),
          random.normals(33 * 577),
          33,
        ),
    }))
  ),
];
