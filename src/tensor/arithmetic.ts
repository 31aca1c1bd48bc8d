import { Tensor } from "./tensor.ts";
const bits = new Uint32Array(1), float = new Float32Array(bits.buffer);
const toN = (d: string, v: number) => d === "bfloat16" ? (bits[0] = v << 16, float[0]!) : v;
const fromN = (d: string, v: number) =>
  d === "bfloat16"
    ? (float[0] = v, (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16 & 0xffff)
    : v;
function sum(a: Tensor, b: Tensor): number[] {
  const x = a.dataSync(), y = b.dataSync();
  return Array.from(x, (v, i) => fromN(a.dtype, toN(a.dtype, v) + toN(a.dtype, y[i]!)));
}
export function add(a: Tensor, b: Tensor): Tensor {
  return Tensor.from(a.device, a.dtype, a.shape, sum(a, b));
}
export function addInPlace(a: Tensor, b: Tensor): void {
  const t = Tensor.from(a.device, a.dtype, a.shape, sum(a, b));
  a.device.copy(a.start, t.start, a.byteLength);
  a.changed();
}
