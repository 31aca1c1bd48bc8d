// Copies between strided places against a copy element by element, to the byte.

import type { Device } from "../../cuda/device.ts";
import { copyStrided } from "../../tensor/copy_strided.ts";
import { assertSame } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";

/** A copy over `shape` between places with these strides. */
export interface Copy {
  shape: readonly number[];
  to: readonly number[];
  from: readonly number[];
}

/** Row-major strides, with `gap` elements left out behind each row. */
export function rowMajor(shape: readonly number[], gap = 0): number[] {
  const strides: number[] = [];
  shape.toReversed().reduce((stride, extent, i) => {
    strides.unshift(stride);
    return stride * extent + (i === 0 ? gap : 0);
  }, 1);
  return strides;
}

/** A copy of all elements of an array of this shape with its axes in another order. */
export function permuted(shape: readonly number[], order: readonly number[], gap = 0): Copy {
  const strides = rowMajor(shape, gap), to = order.map((axis) => shape[axis]);
  return { shape: to, to: rowMajor(to, gap), from: order.map((axis) => strides[axis]) };
}

const reach = ({ shape }: Copy, strides: readonly number[]) =>
  shape.includes(0) ? 0 : shape.reduce((sum, extent, i) => sum + (extent - 1) * strides[i], 1);

/** Copies random bytes and compares the target, its gaps too, with what belongs there. */
export function checkCopy(
  device: Device,
  random: Random,
  copy: Copy,
  bytes: number,
  prefix = "",
): number {
  const { shape, to, from } = copy;
  const data = random.bytes(reach(copy, from) * bytes);
  const source = given(device, "uint8", data);
  const target = wanted(device, "uint8", reach(copy, to) * bytes);
  const named = { kernel: (name: string) => device.kernel(prefix + name) };
  copyStrided(
    named,
    bytes,
    shape,
    { pointer: target.pointer, strides: to },
    { pointer: source.pointer, strides: from },
  );
  const expected = new Uint8Array(reach(copy, to) * bytes).fill(0xff);
  const visit = (axis: number, at: number, place: number) => {
    if (axis === shape.length) {
      expected.set(data.subarray(place * bytes, (place + 1) * bytes), at * bytes);
      return;
    }
    for (let i = 0; i < shape[axis]; i++) {
      visit(axis + 1, at + i * to[axis], place + i * from[axis]);
    }
  };
  visit(0, 0, 0);
  const taken = target.take(), wrong = taken.findIndex((byte, i) => byte !== expected[i]);
  assertSame(wrong, -1, `${JSON.stringify(copy)}, ${bytes} bytes: the first byte that is wrong`);
  return 0;
}

/** Each kernel of copy.cu. */
export const selfTests: SelfTest[] = [1, 2, 4, 8].flatMap((bytes): SelfTest[] => [
  {
    kernels: [`copy_strided_${bytes}`],
    run: (device, random) => checkCopy(device, random, permuted([5, 7, 65], [1, 0, 2], 3), bytes),
  },
  {
    kernels: [`copy_transposed_${bytes}`],
    run: (device, random) => checkCopy(device, random, permuted([3, 65, 130], [0, 2, 1], 1), bytes),
  },
]);
