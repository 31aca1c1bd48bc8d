// What kernel tests are made of: memory with guard zones around inputs and poisoned outputs, comparison
// with a float64 reference, and mutants (kernels with a planted fault), which show that a check can fail.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Device } from "../../../src/cuda/device.ts";
import { kernelSources } from "../../../src/cuda/kernels.ts";
import { BYTES_PER_ELEMENT, type DataOf, type DType } from "../../../src/tensor/dtype.ts";
import { scope } from "../../../src/tensor/scope.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";
import { Random, seed } from "../../random.ts";

const SANITIZED = Boolean(Deno.env.get("OUTLIERSCOPE_SANITIZE"));
// Bytes on each side. AddressSanitizer guards the memory itself, and sees reads as well.
const GUARD = SANITIZED ? 0 : 192;
// All bits set: NaN as float32, float64 and bfloat16, -1 or the largest as an integer.
const POISON = 0xff;
// Around outputs: no NaN, which a kernel that reads too far could write again.
const ZONE = 0xa5;

/** Device memory between two guard zones. */
export interface Guarded<D extends DType> {
  /** Device pointer of the first element. */
  pointer: number;
  /** Its elements, after a check that the guard zones are as they were. */
  take(): DataOf<D>;
}

function guarded<D extends DType>(
  device: Device,
  dtype: D,
  length: number,
  data?: ArrayLike<number>,
): Guarded<D> {
  const bytes = length * BYTES_PER_ELEMENT[dtype];
  const whole = Tensor.empty<"uint8", 1>(device, "uint8", [bytes + 2 * GUARD]);
  const zone = data ? POISON : ZONE;
  device.fill(whole.pointer, zone, whole.byteLength);
  const pointer = whole.pointer + GUARD;
  if (length > 0) device.fill(pointer, POISON, bytes);
  if (data && length > 0) {
    const inner = Tensor.from<D, 1>(device, dtype, [length], data);
    device.copy(pointer, inner.pointer, bytes);
  }
  return {
    pointer,
    take() {
      const all = whole.dataSync();
      const zones = [all.subarray(0, GUARD), all.subarray(GUARD + bytes)];
      zones.forEach((bytes, i) => {
        const touched = bytes.findIndex((byte) => byte !== zone);
        assert(
          touched < 0,
          `The kernel wrote ${i === 0 ? "before" : "behind"} its ${dtype} output`,
        );
      });
      const result = Tensor.empty<D, 1>(device, dtype, [length]);
      if (length > 0) device.copy(result.pointer, pointer, bytes);
      return result.dataSync();
    },
  };
}

/** An input: reading beyond it gives NaN. */
export function given<D extends DType>(device: Device, dtype: D, data: ArrayLike<number>) {
  return guarded(device, dtype, data.length, data);
}

/** A poisoned output: an element that is not written stays NaN. */
export function wanted<D extends DType>(device: Device, dtype: D, length: number) {
  return guarded(device, dtype, length);
}

/** Fails unless each value is within `tolerance` · size of the expected one; NaN and infinities must agree. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
  sizes?: ArrayLike<number>,
): void {
  assertEquals(actual.length, expected.length, `${what}: number of values`);
  for (let i = 0; i < expected.length; i++) {
    const e = expected[i], a = actual[i];
    const size = sizes ? sizes[i] : Math.abs(e);
    // Beside the relative part, the last place of denormal numbers.
    const same = Object.is(a, e) || a === e || Math.abs(a - e) <= tolerance * size + 2 ** -149;
    assert(same, `${what}: value ${i} is ${a}, expected ${e} within ${tolerance} · ${size}`);
  }
}

/** bfloat16 bits as numbers. */
export function bfloat16ToNumbers(bits: ArrayLike<number>): Float32Array {
  return new Float32Array(Uint32Array.from(bits, (b) => b << 16).buffer);
}

/** Numbers as bfloat16 bits, to nearest even, by comparing the two neighbours. */
export function numbersToBfloat16(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const float = new Float32Array(1);
  const word = new Uint32Array(float.buffer);
  return Uint16Array.from(values, (value) => {
    float[0] = value;
    const lower = word[0] >>> 16; // towards zero
    if (value !== value) return lower | 0x40;
    const at = (bits: number) => {
      word[0] = bits << 16;
      // The neighbour of the largest number counts as 2^128, as rounding sees it.
      return (bits & 0x7fff) === 0x7f80 ? Math.sign(float[0]) * 2 ** 128 : float[0];
    };
    if ((lower & 0x7fff) === 0x7f80) return lower;
    const down = Math.abs(value - at(lower)), up = Math.abs(value - at(lower + 1));
    return up < down || (up === down && lower % 2 === 1) ? lower + 1 : lower;
  });
}

/** The device, which must be the one that OUTLIERSCOPE_DEVICE asks for. */
export async function openDevice(): Promise<Device> {
  const device = await Device.open();
  const asked = Deno.env.get("OUTLIERSCOPE_DEVICE");
  assert(!asked || device.kind === asked, `Asked for ${asked}, got ${device.name}`);
  return device;
}

let streams = 0;

/** A test on the device: memory made in `body` is freed, none may be left, and a failure names the seed. */
export function kernelTest(name: string, body: (device: Device, random: Random) => void): void {
  const stream = ++streams;
  Deno.test(name, async () => {
    const device = await openDevice();
    const before = device.liveBytes;
    try {
      scope(() => body(device, new Random(stream)));
    } catch (error) {
      if (error instanceof Error) {
        error.message += `\n(on ${device.name}; repeat with OUTLIERSCOPE_SEED=${seed})`;
      }
      throw error;
    }
    assertEquals(device.liveBytes, before, "bytes in use after the test");
  });
}

/** A fault to plant: one piece of a kernel source and what replaces it. */
export interface Fault {
  /** Says what is wrong then. */
  name: string;
  /** File in src/cuda/kernels. */
  file: string;
  /** Must occur in the file; a pattern where branches for one lane and for many differ. */
  from: string | RegExp;
  /** The replacement of each occurrence. */
  to: string;
  /** The check that must fail, given the prefix of the mutant's kernel names. */
  check: (device: Device, random: Random, prefix: string) => void;
}

let mutants = 0;

/**
 * A test that `check` passes with the kernel as it is, and fails with each fault planted in it. A fault
 * may be one that a sanitizer would end the process for.
 */
export function faultsAreFound(faults: Fault[]): void {
  for (const fault of faults) {
    const name = `the check finds this fault in ${fault.file}: ${fault.name}`;
    Deno.test({ name, ignore: SANITIZED }, async () => {
      const device = await openDevice();
      const { text } = kernelSources.find(({ name }) => name === fault.file)!;
      const changed = text.replaceAll(fault.from, fault.to);
      assert(changed !== text, `${fault.file} does not contain ${fault.from}`);
      const prefix = `mutant${++mutants}_`;
      // Kernels are renamed, so that the faulty ones stand beside the right ones.
      const mutant = changed.replace(/(__global__\s+void\s+)(\w+)/g, `$1${prefix}$2`);
      await device.load([{ name: `${prefix}${fault.file}`, text: mutant }]);
      scope(() => fault.check(device, new Random(), ""));
      assertThrows(() => scope(() => fault.check(device, new Random(), prefix)));
      device.synchronizeSync();
    });
  }
}
