// What kernel tests are made of beside the self-test's memory and comparisons: tests that free what they
// make, and mutants (kernels with a planted fault), which show that a check can fail.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Device } from "../../../src/cuda/device.ts";
import { parseKernels } from "../../../src/cuda/kernel_source.ts";
import { kernelSources } from "../../../src/cuda/kernels.ts";
import { Bench } from "../../../src/doctor/self_test/bench.ts";
import { scope } from "../../../src/tensor/scope.ts";
import { Random as SeededRandom } from "../../../src/doctor/self_test/random.ts";
import { Random, seed } from "../../random.ts";

/** Where the kernels run as SIMT code or under sanitizers, which shows nothing new of mutants, and costs their compilation. */
const OTHER_MODE = Boolean(
	Deno.env.get("OUTLIERSCOPE_SANITIZE") || Deno.env.get("OUTLIERSCOPE_SIMT"),
);

export { Bench };
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
export function kernelTest(name: string, body: (bench: Bench) => void): void {
	const stream = ++streams;
	Deno.test(name, async () => {
		const device = await openDevice();
		const before = device.liveBytes;
		try {
			scope(() => body(new Bench(device, new Random(stream))));
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
	/** The check that must fail, on a device that runs the mutant; some name its kernels by the prefix. */
	check: (bench: Bench, prefix: string) => void;
}

let mutants = 0;

const MACRO_USE = /^[A-Z_]+\(.*\)$/gm;
const KERNEL = /^extern "C" __global__ void (\w+)\([^]*?^}$/gm;

/**
 * A source without those of its kernels that nobody wants: most of a source is the same code for another
 * operation or type, which would take long to compile. Of one use of a macro all kernels stay or none.
 */
export function withKernels(source: string, wanted: ReadonlySet<string>): string {
	const text = source.replace(KERNEL, (kernel, name: string) => wanted.has(name) ? kernel : "");
	const names = (text: string) => parseKernels(text).map(({ name }) => name);
	const without = new Set(names(text.replace(MACRO_USE, "")));
	return text.replace(MACRO_USE, (use) => {
		const alone = text.replace(MACRO_USE, (line) => line === use ? line : "");
		const made = names(alone).filter((name) => !without.has(name));
		return made.length === 0 || made.some((name) => wanted.has(name)) ? use : "";
	});
}

/** The source of a mutant: its kernels are renamed, those of macros too, to stand beside the right ones. */
function mutate(
	{ file, from, to }: Fault,
	prefix: string,
	wanted: ReadonlySet<string>,
): { name: string; text: string } {
	const { text } = kernelSources.find(({ name }) => name === file)!;
	const changed = text.replaceAll(from, to);
	assert(changed !== text, `${file} does not contain ${from}`);
	const mutant = withKernels(changed, wanted).replace(
		/(__global__\s+void\s+)(\w+)(##)?/g,
		(_, head: string, name: string, paste = "") => head + prefix + paste + name + paste,
	);
	return { name: `${prefix}${file}`, text: mutant };
}

/** Runs `body` with other kernels on the device than those that it asks for. */
export function renaming<T>(device: Device, rename: (name: string) => string, body: () => T): T {
	const { kernel } = device;
	device.kernel = (name) => kernel.call(device, rename(name));
	try {
		return body();
	} finally {
		device.kernel = kernel;
	}
}

/** Runs `body`, and tells the names of the kernels that it asks for. */
function kernelsOf(device: Device, body: () => void): Set<string> {
	const names = new Set<string>();
	const note = (name: string) => {
		names.add(name);
		return name;
	};
	renaming(device, note, body);
	return names;
}

/** The same inputs in every run: whether a check can fail is no matter of luck. */
const known = () => new SeededRandom(1);

/**
 * A test that `check` passes with the kernel as it is, and fails with each fault planted in it. A fault
 * may be one that a sanitizer would end the process for.
 */
export function faultsAreFound(faults: Fault[]): void {
	const planted = faults.map((fault) => ({ ...fault, prefix: `mutant${++mutants}_` }));
	// Compiled together, as a compiler takes a core, with the kernels alone that the sound checks ask for.
	let loading: Promise<void> | undefined;
	const mutated = new Set<string>();
	const load = async (device: Device) => {
		const sources = planted.map((fault) => {
			const sound = () => scope(() => fault.check(new Bench(device, known()), ""));
			return mutate(fault, fault.prefix, kernelsOf(device, sound));
		});
		for (const { text } of sources) parseKernels(text).forEach(({ name }) => mutated.add(name));
		await device.load(sources);
	};
	for (const { name: fault, file, check, prefix } of planted) {
		const name = `the check finds this fault in ${file}: ${fault}`;
		Deno.test({ name, ignore: OTHER_MODE }, async () => {
			const device = await openDevice();
			await (loading ??= load(device));
			const mutant = (name: string) => mutated.has(prefix + name) ? prefix + name : name;
			const bench = new Bench(device, known());
			const found = renaming(
				device,
				mutant,
				() => assertThrows(() => scope(() => check(bench, prefix)), Error),
			);
			assert(!found.message.startsWith("Cannot find the kernel"), found.message);
			device.synchronizeSync();
		});
	}
}
