// What kernel tests are made of beside the self-test's memory and comparisons: tests that free what they
// make, and mutants (kernels with a planted fault), which show that a check can fail.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Device } from "../../../src/cuda/device.ts";
import { kernelSources } from "../../../src/cuda/kernels.ts";
import { scope } from "../../../src/tensor/scope.ts";
import { Random, seed } from "../../random.ts";

const SANITIZED = Boolean(Deno.env.get("OUTLIERSCOPE_SANITIZE"));

export {
  assertClose,
  bfloat16ToNumbers,
  numbersToBfloat16,
} from "../../../src/doctor/self_test/compare.ts";
export { given, type Guarded, wanted } from "../../../src/doctor/self_test/guarded.ts";

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
  /** Of the lines that use a macro, those that are kept: all, unless fewer compile sooner. */
  only?: RegExp;
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
      const few = changed.replace(
        /^[A-Z]+\(.*\)$/gm,
        (line) => fault.only?.test(line) ?? true ? line : "",
      );
      // Kernels are renamed, so that the faulty ones stand beside the right ones; those of macros too.
      const mutant = few.replace(
        /(__global__\s+void\s+)(\w+)(##)?/g,
        (_, head: string, name: string, paste = "") => head + prefix + paste + name + paste,
      );
      await device.load([{ name: `${prefix}${fault.file}`, text: mutant }]);
      scope(() => fault.check(device, new Random(), ""));
      assertThrows(() => scope(() => fault.check(device, new Random(), prefix)));
      device.synchronizeSync();
    });
  }
}
