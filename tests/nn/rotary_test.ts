// Rotary positions: angles, rotation of pairs, the split into heads, against float64.

import { assertEquals } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { RotaryTable, splitHeadsRotary } from "../../src/nn/rotary.ts";
import { cast } from "../../src/tensor/cast.ts";
import { swapAxes } from "../../src/tensor/swap_axes.ts";
import { assertClose, bfloat16Bits, device, deviceTest, normal } from "../tensor/on_device.ts";

/** Angles are products in float32, as in the models' training: up to T · 2⁻²⁴ off. */
const TOLERANCE = 2e-5;

deviceTest(
  "angles are position · base^(-2i/d), divided by the factors if there are any",
  async () => {
    const [T, d, base] = [100, 10, 10000];
    for (const factors of [undefined, [1, 2, 4, 8, 1.5]]) {
      using table = new RotaryTable(device, T, d, base, factors);
      assertEquals([...table.cosine.shape, ...table.sine.shape], [T, 5, T, 5]);
      const angles = Float64Array.from({ length: T * 5 }, (_, at) => {
        const i = at % 5;
        return Math.floor(at / 5) * base ** (-2 * i / d) / (factors?.[i] ?? 1);
      });
      assertClose(await table.cosine.data(), angles.map(Math.cos), TOLERANCE, "cosines");
      assertClose(await table.sine.data(), angles.map(Math.sin), TOLERANCE, "sines");
    }
  },
);

for (const [T, heads, kv, d] of [[1, 1, 1, 2], [13, 4, 2, 8], [40, 9, 3, 64]] as const) {
  deviceTest(`${heads} queries and ${kv} keys of ${d} are rotated by pairs, T = ${T}`, async () => {
    const width = (heads + 2 * kv) * d;
    const data = normal(T * width);
    using qkv = Tensor.from<"float32", 2>(device, "float32", [T, width], data);
    using table = new RotaryTable(device, T, d, 500);
    const cosine = await table.cosine.data(), sine = await table.sine.data();
    // [count, T, d] from the projections that start at `first`, turned or not
    const expected = (first: number, count: number, turn: boolean) =>
      Float64Array.from({ length: count * T * d }, (_, at) => {
        const c = at % d, t = Math.floor(at / d) % T, head = Math.floor(at / d / T);
        const from = t * width + (first + head) * d;
        if (!turn) return data[from + c];
        const i = c % (d / 2);
        const [a, b] = [data[from + i], data[from + i + d / 2]];
        const [cos, sin] = [cosine[t * d / 2 + i], sine[t * d / 2 + i]];
        return c < d / 2 ? a * cos - b * sin : b * cos + a * sin;
      });
    const { q, k, v } = splitHeadsRotary(qkv, table, heads, kv);
    using qs = q;
    using ks = k;
    using vs = v;
    assertEquals([...q.shape], [kv, T, heads / kv, d]);
    assertEquals([[...k.shape], [...v.shape]], [[kv, T, d], [kv, T, d]]);
    using byHead = swapAxes(qs, "float32"); // kv g T d
    const actual = [byHead, ks, vs].map((part) => Float32Array.from(part.dataSync()));
    assertClose(actual[0], expected(0, heads, true), 2e-7, "queries");
    assertClose(actual[1], expected(heads, kv, true), 2e-7, "keys");
    assertClose(actual[2], expected(heads + kv, kv, false), 0, "values");

    // In bfloat16: the same of rounded projections, rounded.
    using rounded = cast(qkv, "bfloat16");
    using exact = cast(rounded, "float32");
    const half = splitHeadsRotary(rounded, table, heads, kv);
    const whole = splitHeadsRotary(exact, table, heads, kv);
    for (const part of ["q", "k", "v"] as const) {
      using bits = half[part];
      using values = whole[part];
      assertEquals([...await bits.data()], [...await values.data()].map(bfloat16Bits), part);
    }
  });
}

deviceTest("a table is freed with `using`, also one of no positions", () => {
  const before = device.liveBytes;
  {
    using table = new RotaryTable(device, 0, 4, 10000);
    assertEquals(table.cosine.size, 0);
  }
  assertEquals(device.liveBytes, before);
});
