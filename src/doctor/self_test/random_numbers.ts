// Random numbers against what the plain Philox's words make of in float64.

import type { Device } from "../../cuda/device.ts";
import type { DType, FloatType } from "../../tensor/dtype.ts";
import { type Draw, drawBlock, drawWords, philox } from "../../tensor/philox.ts";
import { assertAllSame, assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { given, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { thenBfloat16, TOLERANCE } from "./tolerance.ts";

/** Types that there are kernels for. */
export const TYPES: FloatType[] = ["float32", "bfloat16"];

/** A draw with bits in all four halves. */
export function anyDraw(random: Random): Draw {
  const any = () => random.below(2 ** 21) * 2 ** 32 + random.bits();
  return { seed: any(), offset: any() };
}

function launch<D extends DType>(
  device: Device,
  kernel: string,
  dtype: D,
  count: number,
  { seed, offset }: Draw,
  ...args: number[]
) {
  const y = wanted(device, dtype, count);
  device.kernel(kernel)
    .overRows(Math.ceil(count / 128), y.pointer, count, seed, offset, ...args);
  return y.take();
}

/** Compares float32 or bfloat16 values with a reference; `sizes` are what errors are relative to. */
function compare(
  actual: ArrayLike<number>,
  expected: Float64Array,
  tolerance: number,
  sizes: Float64Array,
  dtype: FloatType,
  what: string,
): number {
  if (dtype === "float32") return assertClose(actual, expected, tolerance, what, sizes);
  return assertClose(bfloat16ToNumbers(actual), expected, thenBfloat16(tolerance), what, sizes);
}

/** Compares uniform numbers from `low` on with the upper 24 bits of each word. */
export function checkUniform(
  device: Device,
  draw: Draw,
  count: number,
  dtype: FloatType = "float32",
  [low, high]: readonly [number, number] = [0, 1],
  prefix = "",
): number {
  const step = Math.fround((high - low) / 2 ** 24), start = Math.fround(low);
  const most = numbersToBfloat16([high])[0]! - 1; // the neighbour below a positive number
  const largest = dtype === "float32"
    ? high - Math.abs(high) * 2 ** -24
    : bfloat16ToNumbers([most])[0]!;
  const actual = launch(
    device,
    `${prefix}uniform_${dtype}`,
    dtype,
    count,
    draw,
    start,
    step,
    largest,
  );
  const numbers = dtype === "float32" ? actual : bfloat16ToNumbers(actual);
  for (const value of numbers) {
    if (value >= high) throw new Error(`uniform ${dtype}: ${value} is not below ${high}`);
  }
  const expected = Float64Array.from(
    drawWords(draw, count),
    (word) => Math.min(start + (word >>> 8) * step, largest),
  );
  const sizes = new Float64Array(count).fill(Math.abs(low) + Math.abs(high));
  const what = `uniform ${dtype}, ${count} from ${low} to ${high}`;
  return compare(actual, expected, TOLERANCE.elementwise(2), sizes, dtype, what);
}

/** (word + 1/2) / 2³² as the kernels round it. */
const openUnit = (word: number) => Math.fround(Math.fround(word) * 2 ** -32 + 2 ** -33);

/** Compares normal numbers with Box and Muller's transform of words in float64. */
export function checkNormal(
  device: Device,
  draw: Draw,
  count: number,
  dtype: FloatType = "float32",
  mean = 0.25,
  deviation = 3,
  prefix = "",
): number {
  const actual = launch(device, `${prefix}normal_${dtype}`, dtype, count, draw, mean, deviation);
  const words = drawWords(draw, Math.ceil(count / 128) * 128);
  const expected = new Float64Array(count), sizes = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    // Of each 64 elements in a row, the first 32 words are radii and the others angles.
    const second = i % 64 >= 32, at = second ? i - 32 : i;
    const angle = words[at + 32]!, quadrant = Math.round(angle / 2 ** 30);
    const turns = quadrant / 4 + Math.fround(angle - quadrant * 2 ** 30) / 2 ** 32;
    const radius = Math.sqrt(-2 * Math.log(openUnit(words[at]!)));
    const z = radius * (second ? Math.sin : Math.cos)(2 * Math.PI * turns);
    expected[i] = mean + deviation * z;
    // A sine that is nearly 0 is as right as in the quadrant's own measure, where π is not rounded.
    sizes[i] = Math.abs(mean) + deviation * Math.abs(z) + deviation * radius * 2 ** -24;
  }
  // The logarithm's and the sine's two places, a root and three more roundings.
  const what = `normal ${dtype}, ${count} of ${mean} ± ${deviation}`;
  return compare(actual, expected, TOLERANCE.elementwise(12), sizes, dtype, what);
}

/** What lies above z ≥ 0 of the standard normal distribution: ∫ e^(-t²/2) dt / √(2π), by Simpson's rule. */
function tail(z: number): number {
  const STEPS = 400, end = 12, h = end / STEPS;
  // e^(-z²/2) is taken out, so that what is summed is of the same size whatever z is.
  const f = (t: number) => Math.exp(-t * t / 2 - z * t);
  let sum = f(0) + f(end);
  for (let i = 1; i < STEPS; i++) sum += f(i * h) * (i % 2 ? 4 : 2);
  return Math.exp(-z * z / 2) * sum * h / 3 / Math.sqrt(2 * Math.PI);
}

/** The z ≥ 0 that q ≤ 1/2 lies above, by Newton's method on ln(tail). */
function tailInverse(q: number): number {
  let z = Math.sqrt(Math.max(0, -1.6 * Math.log(2 * q)));
  for (let i = 0; i < 60; i++) {
    const t = tail(z), slope = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI) / t;
    const change = Math.log(t / q) / slope;
    z = Math.max(0, z + change);
    if (Math.abs(change) < 1e-12) break;
  }
  return z;
}

/** Compares truncated normal numbers with the inverse of the distribution function in float64. */
export function checkTruncatedNormal(
  device: Device,
  draw: Draw,
  count: number,
  dtype: FloatType = "float32",
  [a, b]: readonly [number, number] = [-2, 2],
  prefix = "",
): number {
  const mass = (z: number) => z < 0 ? 1 - tail(-z) : tail(z);
  const below = Math.fround(mass(-a)), above = Math.fround(mass(b));
  const between = Math.fround(a > 0 ? tail(a) - tail(b) : mass(-b) - mass(-a));
  const mean = 0.5, deviation = 2;
  const smallest = mean + deviation * a, largest = mean + deviation * b;
  const actual = launch(
    device,
    `${prefix}truncated_normal_${dtype}`,
    dtype,
    count,
    draw,
    mean,
    deviation,
    below,
    above,
    Math.abs(between),
    smallest,
    largest,
  );
  const expected = Float64Array.from(drawWords(draw, count), (word) => {
    const lower = Math.fround(openUnit(word) * Math.abs(between) + below);
    const upper = Math.fround(openUnit(~word >>> 0) * Math.abs(between) + above);
    const z = tailInverse(Math.min(lower, upper, 0.5));
    const value = mean + deviation * (lower < upper ? -z : z);
    return Math.min(Math.max(value, smallest), largest);
  });
  // What is above or below is rounded, which near the middle moves z by √(2π) of that, and a polynomial is
  // within 10⁻⁶.
  const sizes = expected.map((value) => Math.abs(value - mean) + mean + deviation);
  const what = `truncated normal ${dtype}, ${count} from ${a} to ${b}`;
  return compare(actual, expected, 1e-6 + TOLERANCE.elementwise(4), sizes, dtype, what);
}

/** Compares masks with words. */
export function checkBernoulli(
  device: Device,
  draw: Draw,
  count: number,
  threshold: number,
  prefix = "",
): number {
  const actual = launch(device, `${prefix}bernoulli`, "uint8", count, draw, threshold);
  const expected = drawWords(draw, count).map((word) => word < threshold ? 1 : 0);
  assertAllSame(actual, expected, `bernoulli, ${count} below ${threshold}`);
  return 0;
}

/** Compares whole numbers with products of 96 bits. */
export function checkIntegers(
  device: Device,
  draw: Draw,
  count: number,
  [low, range]: readonly [number, number],
  prefix = "",
): number {
  const actual = launch(device, `${prefix}random_integers`, "int32", count, draw, low, range);
  const expected = Int32Array.from({ length: count }, (_, i) => {
    const words = drawBlock(draw, Math.floor(i / 64) * 32 + i % 32);
    const at = i % 64 < 32 ? 0 : 2, word = BigInt(words[at]!) << 32n | BigInt(words[at + 1]!);
    return low + Number(word * BigInt(range) >> 64n);
  });
  assertAllSame(actual, expected, `integers, ${count} of ${range} from ${low}`);
  return 0;
}

/** Compares what is left with a product of x, rounded. */
export function checkDropout(
  device: Device,
  random: Random,
  count: number,
  dtype: FloatType = "float32",
  prefix = "",
): number {
  const draw = anyDraw(random), threshold = random.bits(), scale = Math.fround(1.25);
  const values = random.normals(count), bits = numbersToBfloat16(values);
  const x = given(device, dtype, dtype === "float32" ? values : bits);
  const y = wanted(device, dtype, count);
  device.kernel(`${prefix}dropout_${dtype}`).overRows(
    Math.ceil(count / 128),
    y.pointer,
    x.pointer,
    count,
    draw.seed,
    draw.offset,
    threshold,
    scale,
  );
  const inputs = dtype === "float32" ? values : bfloat16ToNumbers(bits),
    words = drawWords(draw, count);
  const products = Float32Array.from(inputs, (x, i) => words[i]! >= threshold ? x * scale : 0);
  const expected = dtype === "float32" ? products : numbersToBfloat16(products);
  const noSign = (x: number) => x === 0 ? 0 : x;
  assertAllSame(
    Array.from(y.take(), noSign),
    Array.from(expected, noSign),
    `dropout ${dtype}, ${count}`,
  );
  return 0;
}

/** Compares the rows that dropout leaves, taken in two portions, with what Philox says of each element. */
export function checkDropoutRows(
  device: Device,
  random: Random,
  [rows, columns, stride]: readonly number[],
  dtype: "float32" | "bfloat16",
  prefix = "",
): number {
  const { seed, offset } = anyDraw(random), threshold = random.bits(), scale = Math.fround(1.25);
  const count = rows! * stride!, bits = numbersToBfloat16(random.normals(count));
  const inputs = dtype === "float32" ? random.normals(count) : bfloat16ToNumbers(bits);
  const x = given(device, dtype, dtype === "float32" ? inputs : bits);
  const bytes = dtype === "float32" ? 4 : 2, half = Math.floor(rows! / 2);
  for (const [first, some] of [[half, rows! - half], [0, half]] as const) {
    device.kernel(`${prefix}dropout_rows_${dtype}`).overRows(
      some,
      x.pointer + first * stride! * bytes,
      some,
      columns!,
      stride!,
      first + 1000,
      seed,
      offset,
      threshold,
      scale,
    );
  }
  const halves = (value: number) => [value % 2 ** 32, Math.floor(value / 2 ** 32)];
  const products = Float32Array.from(inputs, (value, at) => {
    const row = Math.floor(at / stride!), column = at % stride!;
    if (column >= columns!) return value;
    const block = Math.floor(column / 128) * 32 + column % 32;
    const words = philox([block, row + 1000, ...halves(offset)], halves(seed));
    return words[Math.floor(column % 128 / 32)]! >= threshold ? value * scale : 0;
  });
  const noSign = (x: number) => x === 0 ? 0 : x;
  assertAllSame(
    Array.from(x.take(), (x) => noSign(x) === 0x8000 && dtype === "bfloat16" ? 0 : noSign(x)),
    Array.from(
      dtype === "float32" ? products : numbersToBfloat16(products),
      (x) => noSign(x) === 0x8000 && dtype === "bfloat16" ? 0 : noSign(x),
    ),
    `dropout of ${rows} rows of ${columns}, ${dtype}`,
  );
  return 0;
}

const COUNT = 128 * 37 + 77;

/** Each kernel of random.cu. */
export const selfTests: SelfTest[] = [
  ...TYPES.flatMap((dtype): SelfTest[] => [
    {
      kernels: [`uniform_${dtype}`],
      run: (device, random) => checkUniform(device, anyDraw(random), COUNT, dtype, [-2, 3]),
    },
    {
      kernels: [`normal_${dtype}`],
      run: (device, random) => checkNormal(device, anyDraw(random), COUNT, dtype),
    },
    {
      kernels: [`truncated_normal_${dtype}`],
      run: (device, random) => checkTruncatedNormal(device, anyDraw(random), 1000, dtype),
    },
    {
      kernels: [`dropout_${dtype}`],
      run: (device, random) => checkDropout(device, random, COUNT, dtype),
    },
    {
      kernels: [`dropout_rows_${dtype}`],
      run: (device, random) => checkDropoutRows(device, random, [7, 301, 310], dtype),
    },
  ]),
  {
    kernels: ["bernoulli"],
    run: (device, random) => checkBernoulli(device, anyDraw(random), COUNT, random.bits()),
  },
  {
    kernels: ["random_integers"],
    run: (device, random) =>
      checkIntegers(device, anyDraw(random), COUNT, [-7, 1 + random.below(2 ** 32 - 1)]),
  },
];
