// Products of row-major matrices against sums in float64; the columns of cuBLAS are not seen from here.

import type { Device } from "../../cuda/device.ts";
import { gemm, type GemmType } from "../../cuda/gemm.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** One product; `gap` elements lie between rows. */
export interface Product {
  rows: number;
  columns: number;
  inner: number;
  transposeA?: boolean;
  transposeB?: boolean;
  tf32?: boolean;
  batch?: number;
  shareA?: boolean;
  gap?: number;
  alpha?: number;
  beta?: number;
}

/** Compares a product of random matrices with sums in float64. */
export function checkProduct(
  device: Device,
  random: Random,
  input: GemmType,
  output: GemmType,
  of: Product,
): number {
  const { rows, columns, inner, transposeA = false, transposeB = false, tf32 = false } = of;
  const { batch = 1, gap = 0, beta = 0, alpha = 1 } = of;
  const strides = {
    a: (transposeA ? rows : inner) + gap,
    b: (transposeB ? inner : columns) + gap,
    c: columns + gap,
  };
  const sizes = {
    a: (transposeA ? inner : rows) * strides.a,
    b: (transposeB ? columns : inner) * strides.b,
    c: rows * strides.c,
  };
  const draw = (length: number, type: GemmType, poison = false) => {
    const values = poison ? new Float32Array(length).fill(NaN) : random.normals(length);
    const bits = numbersToBfloat16(values);
    const memory = given(device, type, type === "float32" ? values : bits);
    return { memory, values: type === "float32" ? values : bfloat16ToNumbers(bits) };
  };
  const a = draw(sizes.a * (of.shareA ? 1 : batch), input), b = draw(sizes.b * batch, input);
  const c = draw(sizes.c * batch, output, beta === 0);
  const strideA = of.shareA ? 0 : sizes.a;
  gemm(device, {
    a: { pointer: a.memory.pointer, rowStride: strides.a, batchStride: strideA },
    b: { pointer: b.memory.pointer, rowStride: strides.b, batchStride: sizes.b },
    c: { pointer: c.memory.pointer, rowStride: strides.c, batchStride: sizes.c },
    rows,
    columns,
    inner,
    batch,
    transposeA,
    transposeB,
    tf32,
    alpha,
    beta,
    input,
    output,
  });
  const expected = Float64Array.from(c.values), scales = new Float64Array(expected.length);
  for (let i = 0; i < batch; i++) {
    for (let r = 0; r < rows; r++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0, scale = 0;
        for (let k = 0; k < inner; k++) {
          const x = a.values[i * strideA + (transposeA ? k * strides.a + r : r * strides.a + k)];
          const at = transposeB ? column * strides.b + k : k * strides.b + column;
          const product = x * b.values[i * sizes.b + at];
          sum += product;
          scale += Math.abs(product);
        }
        const at = i * sizes.c + r * strides.c + column;
        const old = beta === 0 ? 0 : beta * c.values[at];
        expected[at] = alpha * sum + old;
        scales[at] = Math.abs(alpha) * scale + Math.abs(old);
      }
    }
  }
  const taken = c.memory.take();
  const numbers = output === "float32" ? taken : bfloat16ToNumbers(taken);
  const rounds = tf32 && input === "float32";
  const tolerance = rounds ? TOLERANCE.tf32Product(inner) : TOLERANCE.product(inner);
  const what = `${input} → ${output} ${JSON.stringify(of)}`;
  const allowed = output === "float32" ? tolerance : thenBfloat16(tolerance);
  return assertClose(numbers, expected, allowed, what, scales);
}

const ENDS: [GemmType, GemmType][] = [
  ["float32", "float32"],
  ["bfloat16", "float32"],
  ["bfloat16", "bfloat16"],
];

/** Products by cuBLAS, which are no kernels of ours. */
export const selfTests: SelfTest[] = ENDS.map(([input, output]) => ({
  kernels: [],
  name: `product of ${input} into ${output}`,
  run: (device, random) =>
    Math.max(...[false, true].map((transposeB) => {
      const shape = {
        rows: 33,
        columns: 65,
        inner: 127,
        transposeB,
        batch: 3,
        alpha: -0.5,
        beta: 1,
      };
      return checkProduct(device, random, input, output, shape);
    })),
}));
