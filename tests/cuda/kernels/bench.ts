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

/** The source of a mutant: its kernels are renamed, those of macros too, to stand beside the right ones. */
function mutate({ file, from, to, only }: Fault, prefix: string): { name: string; text: string } {
  const { text } = kernelSources.find(({ name }) => name === file)!;
  const changed = text.replaceAll(from, to);
  assert(changed !== text, `${file} does not contain ${from}`);
  const few = changed.replace(
    /^[A-Z]+\(.*\)$/gm,
    (line) => only?.test(line) ?? true ? line : "",
  );
  const mutant = few.replace(
    /(__global__\s+void\s+)(\w+)(##)?/g,
    (_, head: string, name: string, paste = "") => head + prefix + paste + name + paste,
  );
  return { name: `${prefix}${file}`, text: mutant };
}

/**
 * A test that `check` passes with the kernel as it is, and fails with each fault planted in it. A fault
 * may be one that a sanitizer would end the process for.
 */
export function faultsAreFound(faults: Fault[]): void {
  const planted = faults.map((fault) => ({ ...fault, prefix: `mutant${++mutants}_` }));
  // Compiled together, as a compiler takes a core.
  let loading: Promise<void> | undefined;
  const load = (device: Device) =>
    loading ??= device.load(planted.map((fault) => mutate(fault, fault.prefix)));
  for (const { name: fault, file, check, prefix } of planted) {
    const name = `the check finds this fault in ${file}: ${fault}`;
    Deno.test({ name, ignore: SANITIZED }, async () => {
      const device = await openDevice();
      await load(device);
      scope(() => check(device, new Random(), ""));
      assertThrows(() => scope(() => check(device, new Random(), prefix)));
      device.synchronizeSync();
    });
  }
}
