// Functions of one tensor, and their gradients, against Math in float64: unary.cu, and the functions of one
// tensor in activation.cu.

import type { Device } from "../../cuda/device.ts";
import type { FloatType } from "../../tensor/dtype.ts";
import { compareElements, input, output } from "./elementwise.ts";
import { erf } from "./functions.ts";
import type { Random } from "./random.ts";
import type { SelfTest } from "./self_test.ts";
import { TOLERANCE } from "./tolerance.ts";

/** A function in float64. */
export interface PlainFunction {
  /** y = f(x) */
  value: (x: number) => number;
  /** f'(x), given x or y as the kernel is; none where there is no kernel for it. */
  slope?: (saved: number) => number;
  /** What errors of y are relative to, where not to y itself. */
  size?: (x: number) => number;
  /** The same of f'. */
  slopeSize?: (saved: number) => number;
  /** Of positive numbers only. */
  positive?: boolean;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const asArgument = (x: number) => 1 + Math.abs(x);
const density = (x: number) => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
const share = (x: number) => (1 + erf(x / Math.SQRT2)) / 2;
const argument = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
const change = (x: number) => 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x ** 2);
const evenRound = (x: number) =>
  x % 1 === 0.5 || x % 1 === -0.5 ? 2 * Math.round(x / 2) : Math.round(x);

/** The activations in activation.cu. */
export const ACTIVATIONS: Record<string, Required<Omit<PlainFunction, "positive">>> = {
  relu: {
    value: (x) => x < 0 ? 0 : x,
    slope: (x) => x <= 0 ? 0 : 1,
    size: Math.abs,
    slopeSize: () => 1,
  },
  silu: {
    value: (x) => x * sigmoid(x),
    slope: (x) => sigmoid(x) * (1 + x * sigmoid(-x)),
    size: (x) => Math.abs(x * sigmoid(x)) * asArgument(x),
    slopeSize: asArgument,
  },
  gelu: {
    value: (x) => x * share(x),
    slope: (x) => share(x) + x * density(x),
    size: Math.abs,
    slopeSize: asArgument,
  },
  gelu_tanh: {
    value: (x) => x * sigmoid(argument(x)),
    slope: (x) =>
      sigmoid(argument(x)) + x * sigmoid(argument(x)) * sigmoid(-argument(x)) * change(x),
    size: Math.abs,
    slopeSize: asArgument,
  },
  softplus: {
    value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    slope: sigmoid,
    size: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    slopeSize: sigmoid,
  },
};

/** Every function of one tensor, by the name of its kernels. */
export const FUNCTIONS: Record<string, PlainFunction> = {
  ...ACTIVATIONS,
  neg: { value: (x) => -x },
  abs: { value: Math.abs, slope: Math.sign },
  square: { value: (x) => x * x, slope: (x) => 2 * x },
  log: { value: Math.log, slope: (x) => 1 / x, positive: true },
  log1p: { value: Math.log1p, slope: (x) => 1 / (1 + x), positive: true },
  erf: {
    value: erf,
    slope: (x) => 2 / Math.sqrt(Math.PI) * Math.exp(-x * x),
    slopeSize: (x) => 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * (1 + x * x),
  },
  exp: { value: Math.exp, slope: (y) => y },
  expm1: { value: Math.expm1, slope: (y) => 1 + y, slopeSize: asArgument },
  sqrt: { value: Math.sqrt, slope: (y) => 0.5 / y, positive: true },
  rsqrt: { value: (x) => 1 / Math.sqrt(x), slope: (y) => -0.5 * y ** 3, positive: true },
  reciprocal: { value: (x) => 1 / x, slope: (y) => -(y ** 2), positive: true },
  tanh: { value: Math.tanh, slope: (y) => 1 - y * y, slopeSize: (y) => 1 + y * y },
  sigmoid: {
    value: sigmoid,
    slope: (y) => y * (1 - y),
    slopeSize: (y) => Math.abs(y) * (1 + Math.abs(y)),
  },
  sin: { value: Math.sin, slope: Math.cos, size: () => 1, slopeSize: () => 1 },
  cos: { value: Math.cos, slope: (x) => -Math.sin(x), size: () => 1, slopeSize: () => 1 },
  sign: { value: Math.sign },
  floor: { value: Math.floor },
  round: { value: evenRound },
};

// The functions are within four places, eight roundings; some arithmetic around them.
const tolerance = TOLERANCE.elementwise(16);

/** Compares y = f(x) with the function in float64. */
export function checkValue(
  device: Device,
  name: string,
  dtype: FloatType,
  data: ArrayLike<number>,
  prefix = "",
): number {
  const { value, size } = FUNCTIONS[name]!;
  const x = input(device, dtype, data), y = output(device, dtype, data.length);
  device.kernel(`${prefix}unary_${name}_${dtype}`)
    .overElements(data.length, y.pointer, x.pointer, data.length);
  const expected = Float64Array.from(x.numbers, value);
  const sizes = size && Float64Array.from(x.numbers, size);
  return compareElements(y, dtype, expected, tolerance, `${name} of ${dtype}`, sizes);
}

/** Compares dx = g · f' with the derivative in float64. */
export function checkSlope(
  device: Device,
  name: string,
  dtype: FloatType,
  gradients: ArrayLike<number>,
  data: ArrayLike<number>,
  prefix = "",
): number {
  const { slope, slopeSize } = FUNCTIONS[name]!, count = data.length;
  if (!slope) return 0;
  const g = input(device, dtype, gradients), saved = input(device, dtype, data);
  const dx = output(device, dtype, count);
  device.kernel(`${prefix}unary_${name}_backward_${dtype}`)
    .overElements(count, dx.pointer, g.pointer, saved.pointer, count);
  const of = (f: (saved: number) => number) =>
    Float64Array.from(saved.numbers, (saved, i) => g.numbers[i]! * f(saved));
  const sizes = of(slopeSize ?? slope).map(Math.abs);
  return compareElements(dx, dtype, of(slope), tolerance, `gradient of ${name}, ${dtype}`, sizes);
}

/** Inputs that suit a function. */
export function inputsOf(name: string, random: Random, count: number): Float32Array {
  const x = random.normals(count, 2);
  return FUNCTIONS[name]!.positive ? x.map((value) => Math.abs(value) + 2 ** -10) : x;
}

/** Compares a clamp and its gradient with the comparisons that it is. */
export function checkClamp(
  device: Device,
  dtype: FloatType,
  data: ArrayLike<number>,
  prefix = "",
): number {
  const [low, high] = [-0.75, 1.25], count = data.length;
  const x = input(device, dtype, data), y = output(device, dtype, count);
  const dx = output(device, dtype, count);
  device.kernel(`${prefix}unary_clamp_${dtype}`)
    .overElements(count, y.pointer, x.pointer, low, high, count);
  device.kernel(`${prefix}unary_clamp_backward_${dtype}`)
    .overElements(count, dx.pointer, x.pointer, x.pointer, low, high, count);
  const numbers = Float64Array.from(x.numbers);
  const clamped = numbers.map((x) => x < low ? low : x > high ? high : x);
  const passed = numbers.map((x) => x >= low && x <= high ? x : 0);
  compareElements(y, dtype, clamped, 0, `clamp of ${dtype}`);
  return compareElements(dx, dtype, passed, 0, `gradient of clamp, ${dtype}`);
}

/** Each kernel of unary.cu, and the functions of one tensor in activation.cu. */
export const selfTests: SelfTest[] = (["float32", "bfloat16"] as const).flatMap((dtype) => [
  ...Object.entries(FUNCTIONS).flatMap(([name, { slope }]): SelfTest[] => [
    {
      kernels: [`unary_${name}_${dtype}`],
      run: (device, random) => checkValue(device, name, dtype, inputsOf(name, random, 5003)),
    },
    ...slope
      ? [{
        kernels: [`unary_${name}_backward_${dtype}`],
        run: (device: Device, random: Random) =>
          checkSlope(device, name, dtype, random.normals(5003), inputsOf(name, random, 5003)),
      }]
      : [],
  ]),
  {
    kernels: [`unary_clamp_${dtype}`, `unary_clamp_backward_${dtype}`],
    run: (device, random) => checkClamp(device, dtype, random.normals(5003)),
  },
]);
