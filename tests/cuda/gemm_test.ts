// Products of row-major matrices against float64; the columns of cuBLAS are not seen from here.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import type { Device } from "../../src/cuda/device.ts";
import { CudaError } from "../../src/cuda/errors.ts";
import { gemm, type GemmType } from "../../src/cuda/gemm.ts";
import type { Random } from "../random.ts";
import { thenBfloat16, TOLERANCE } from "../tolerance.ts";
import {
  assertClose,
  bfloat16ToNumbers,
  given,
  kernelTest,
  numbersToBfloat16,
} from "./kernels/bench.ts";

interface Case {
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

function check(device: Device, random: Random, input: GemmType, output: GemmType, of: Case) {
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
  assertClose(numbers, expected, allowed, what, scales);
}

for (
  const [input, output] of [["float32", "float32"], ["bfloat16", "float32"], [
    "bfloat16",
    "bfloat16",
  ]] as const
) {
  kernelTest(`products of ${input} into ${output} equal the sums`, (device, random) => {
    for (const transposeB of [false, true]) {
      for (const [rows, columns, inner] of [[1, 1, 1], [1, 577, 63], [31, 2, 65], [33, 65, 127]]) {
        const shape = { rows, columns, inner, transposeB };
        check(device, random, input, output, shape);
        check(device, random, input, output, { ...shape, gap: 5, alpha: -0.5, beta: 1 });
        check(device, random, input, output, { ...shape, batch: 3, shareA: true });
      }
    }
  });
}

kernelTest("products of any shape, type and layout equal the sums", (device, random) => {
  const types = [["float32", "float32"], ["bfloat16", "float32"], [
    "bfloat16",
    "bfloat16",
  ]] as const;
  const coin = () => random.below(2) === 1;
  for (let i = 0; i < 60; i++) {
    // Sizes of all magnitudes, most of them odd to whatever a product is cut into.
    const [rows, columns, inner] = [0, 0, 0].map(() =>
      1 + random.below(2 ** (1 + random.below(8)))
    );
    const [input, output] = types[random.below(types.length)];
    check(device, random, input, output, {
      rows,
      columns,
      inner,
      transposeA: coin(),
      transposeB: coin(),
      tf32: coin(),
      shareA: coin(),
      batch: 1 + random.below(4),
      gap: random.below(4),
      alpha: [1, -0.5, 3][random.below(3)],
      beta: [0, 1, -0.25][random.below(3)],
    });
  }
});

kernelTest("a refused product names its shape", (device) => {
  const x = given(device, "float32", new Float32Array(4));
  const operand = { pointer: x.pointer, rowStride: 1 };
  const error = assertThrows(
    () =>
      gemm(device, {
        a: operand,
        b: operand,
        c: operand,
        rows: 2,
        columns: 2,
        inner: 2,
        input: "float32",
      }),
    CudaError,
  );
  assertEquals(error.function, "cublasGemmStridedBatchedEx");
  assertMatch(error.message, /product of 2×2 and 2×2, batch 1, float32$/);
});
