// Reductions over the middle axis of [outer, reduced, inner] against float64, in one stage and in two.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** The types that reductions take. */
type ReducedType = FloatType | "uint8";

/** What an operation computes: terms that are added, or one value of all. */
interface Operation {
  dtypes: ReducedType[];
  /** A term of a sum, and its tolerance for so many terms, relative to the sum of their sizes. */
  term?: (x: number, center: number) => number;
  tolerance?: (terms: number) => number;
  /** Of all elements at once: exact unless there is a tolerance. */
  all?: (x: number[]) => number;
  /** Whether elements are compared with a value of their row, and which. */
  center?: "maximum" | "normal";
  /** The operation that puts the results of parts together. */
  merge: string;
}

const same = (a: number, b: number) => a === b || (a !== a && b !== b);
const maximum = (x: number[]) =>
  x.some(Number.isNaN) ? NaN : x.reduce((a, b) => Math.max(a, b), -Infinity);
const { sum } = TOLERANCE;

/** Each operation of reduce.cu. */
export const OPERATIONS: Record<string, Operation> = {
  sum: { dtypes: ["float32", "bfloat16"], term: (x) => x, tolerance: sum, merge: "sum" },
  sum_absolute: { dtypes: ["float32"], term: Math.abs, tolerance: sum, merge: "sum" },
  sum_squares: {
    dtypes: ["float32"],
    term: (x, center) => Math.fround(x - center) ** 2,
    tolerance: sum,
    center: "normal",
    merge: "sum",
  },
  sum_exp: {
    dtypes: ["float32"],
    term: (x, center) => Math.exp(x - center),
    tolerance: (terms) => TOLERANCE.softmax(terms, 20),
    center: "maximum",
    merge: "sum",
  },
  count: {
    dtypes: ["float32", "bfloat16"],
    term: (x, center) => same(x, center) ? 1 : 0,
    tolerance: () => TOLERANCE.exact,
    center: "maximum",
    merge: "sum",
  },
  count_absolute: {
    dtypes: ["float32"],
    term: (x, center) => same(Math.abs(x), center) ? 1 : 0,
    tolerance: () => TOLERANCE.exact,
    center: "maximum",
    merge: "sum",
  },
  prod: {
    dtypes: ["float32"],
    all: (x) => x.reduce((a, b) => a * b, 1),
    tolerance: TOLERANCE.elementwise,
    merge: "prod",
  },
  prod_nonzero: {
    dtypes: ["float32"],
    all: (x) => x.reduce((a, b) => a * (b || 1), 1),
    tolerance: TOLERANCE.elementwise,
    merge: "prod",
  },
  max: { dtypes: ["float32", "bfloat16"], all: maximum, merge: "max" },
  max_absolute: { dtypes: ["float32"], all: (x) => maximum([0, ...x.map(Math.abs)]), merge: "max" },
  min: { dtypes: ["float32", "bfloat16"], all: (x) => -maximum(x.map((v) => -v)), merge: "min" },
  any: { dtypes: ["uint8"], all: (x) => x.some(Boolean) ? 1 : 0, merge: "any" },
  all: { dtypes: ["uint8"], all: (x) => x.every(Boolean) ? 1 : 0, merge: "all" },
};

/** A shape [outer, reduced, inner] and the number of parts of the first stage. */
export interface Reduced {
  outer: number;
  reduced: number;
  inner: number;
  parts: number;
}

/** The elements along the middle axis, for each place of the result. */
export function lines(x: ArrayLike<number>, { outer, reduced, inner }: Reduced): number[][] {
  return Array.from(
    { length: outer * inner },
    (_, at) =>
      Array.from(
        { length: reduced },
        (_, r) => x[(Math.floor(at / inner) * reduced + r) * inner + at % inner]!,
      ),
  );
}

/** Launches a reduction, of rows or of columns, and what puts its parts together. */
function reduce(
  device: Device,
  name: string,
  dtype: ReducedType,
  x: ArrayLike<number>,
  shape: Reduced,
  by: "rows" | "columns",
  centers: ArrayLike<number> | null,
  scale: number,
  prefix: string,
): number[] {
  const { outer, reduced, inner, parts } = shape;
  const result = dtype === "uint8" ? "uint8" : "float32";
  const run = (
    name: string,
    from: string,
    x: number,
    center: number,
    count: number,
    parts: number,
    scale: number,
  ) => {
    const y = wanted(device, result, outer * parts * inner);
    const sizes = by === "rows" ? [outer, count] : [outer, count, inner];
    device.kernel(`${prefix}${name}_${by}_${from}`)
      .overRows(outer * parts * inner, y.pointer, x, center, ...sizes, parts, scale);
    return y;
  };
  const from = given(device, dtype, x);
  const center = centers ? given(device, "float32", centers).pointer : 0;
  const first = run(name, dtype, from.pointer, center, reduced, parts, parts === 1 ? scale : 1);
  const values = [...first.take()];
  if (parts === 1) return values;
  return [...run(OPERATIONS[name]!.merge, result, first.pointer, 0, parts, 1, scale).take()];
}

/** Compares a reduction of `x` with its definition. */
export function checkReduction(
  device: Device,
  name: string,
  dtype: ReducedType,
  x: ArrayLike<number>,
  shape: Reduced,
  random: Random,
  by: "rows" | "columns" = shape.inner === 1 ? "rows" : "columns",
  prefix = "",
): number {
  const { term, all, center, tolerance } = OPERATIONS[name]!;
  const bits = dtype === "bfloat16" ? numbersToBfloat16(x) : x;
  const values = dtype === "bfloat16" ? bfloat16ToNumbers(bits) : x;
  const each = lines(values, shape);
  const scale = all ? 1 : 0.75;
  const absolute = name.endsWith("absolute") ? Math.abs : (v: number) => v;
  const centers = center === undefined
    ? null
    : Float32Array.from(each, (line) =>
      center === "normal" ? random.normals(1)[0]! : maximum(line.map(absolute)));
  const expected: number[] = [], sizes: number[] = [];
  each.forEach((line, i) => {
    const terms = term ? line.map((v) => term(v, centers?.[i] ?? 0)) : [];
    expected.push(all ? all(line) : scale * terms.reduce((a, b) => a + b, 0));
    sizes.push(Math.abs(all ? expected[i]! : scale * terms.reduce((a, b) => a + Math.abs(b), 0)));
  });
  const actual = reduce(device, name, dtype, bits, shape, by, centers, scale, prefix);
  const { outer, reduced, inner, parts } = shape;
  const what = `${name} of ${dtype} [${outer}, ${reduced}, ${inner}] by ${by} in ${parts} parts`;
  return assertClose(actual, expected, tolerance?.(reduced) ?? 0, what, sizes);
}

/** Inputs for an operation: normal numbers, near 1 for products, and rarely zero for `all`. */
export function inputs(
  name: string,
  dtype: ReducedType,
  random: Random,
  count: number,
): ArrayLike<number> {
  if (dtype === "uint8") {
    const rare = name === "any" ? 0.02 : 0.98;
    return Array.from({ length: count }, () => random.uniform() < rare ? 1 + random.below(255) : 0);
  }
  const x = random.normals(count);
  if (name === "prod_nonzero") return x.map((v) => random.uniform() < 0.1 ? 0 : 1 + v / 8);
  return name === "prod" ? x.map((v) => 1 + v / 8) : x;
}

/** Compares what is done to sums in place with its definition. */
function checkInPlace(device: Device, random: Random, name: "root" | "log_plus"): number {
  const count = 1031, sums = random.normals(count).map((v) => v * v), x = random.normals(count);
  const y = given(device, "float32", sums), more = given(device, "float32", x);
  const kernel = device.kernel(`${name}_in_place`);
  if (name === "root") kernel.overElements(count, y.pointer, count);
  else kernel.overElements(count, y.pointer, more.pointer, count);
  const expected = Array.from(sums, (v, i) => name === "root" ? Math.sqrt(v) : Math.log(v) + x[i]!);
  const sizes = Array.from(
    sums,
    (v, i) => name === "root" ? Math.sqrt(v) : Math.abs(Math.log(v)) + Math.abs(x[i]!),
  );
  return assertClose(y.take(), expected, TOLERANCE.elementwise(4), name, sizes);
}

/** Each kernel of reduce.cu. */
export const selfTests: SelfTest[] = [
  ...(["root", "log_plus"] as const).map((name): SelfTest => ({
    kernels: [`${name}_in_place`],
    run: (device, random) => checkInPlace(device, random, name),
  })),
  ...Object.entries(OPERATIONS).flatMap((
    [name, { dtypes, merge }],
  ) =>
    dtypes.flatMap((dtype) =>
      (["rows", "columns"] as const).map((by): SelfTest => {
        const kernels = [
          `${name}_${by}_${dtype}`,
          `${merge}_${by}_${dtype === "uint8" ? dtype : "float32"}`,
        ];
        return {
          kernels: [...new Set(kernels)],
          run: (device, random) => {
            const [outer, inner] = by === "rows" ? [33, 1] : [2, 67];
            const shape = { outer, reduced: 301, inner, parts: 3 };
            const x = inputs(name, dtype, random, outer * 301 * inner);
            return checkReduction(device, name, dtype, x, shape, random, by);
          },
        };
      })
    )
  ),
];
