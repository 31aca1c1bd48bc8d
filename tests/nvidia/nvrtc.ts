// The genuine NVRTC, and what it makes of the kernels: opened with this project's own symbol table and
// driven by its own code, as on a machine with a GPU. It compiles without one. Run as a program
// (deno run -A --config .offline.deno.json tests/nvidia/nvrtc.ts), it prints what each kernel uses.

import { compile, compilerOptions, type KernelSource } from "../../src/cuda/compile.ts";
import { parseKernels } from "../../src/cuda/kernel_source.ts";
import { kernelSources } from "../../src/cuda/kernels.ts";
import { fixedBuffer, OutParameter } from "../../src/ffi/c_memory.ts";
import { openLibrary } from "../../src/ffi/libraries.ts";
import { nvrtcSymbols } from "../../src/ffi/nvrtc_symbols.ts";
import { nvidiaDirectory } from "./packages.ts";

const { symbols } = openLibrary("NVRTC", [`${nvidiaDirectory("compiler")}/lib/libnvrtc.so.13`], {
	...nvrtcSymbols,
	nvrtcGetNumSupportedArchs: { parameters: ["buffer"], result: "i32" },
	nvrtcGetSupportedArchs: { parameters: ["buffer"], result: "i32" },
});

/** Every compute capability on offer from 7.5 on, as in `sm_75`, in order. */
export function computeCapabilities(): number[] {
	const count = new OutParameter();
	symbols.nvrtcGetNumSupportedArchs(count.buffer);
	const list = fixedBuffer(4 * count.int);
	symbols.nvrtcGetSupportedArchs(list);
	return [...new Int32Array(list.buffer)].filter((number) => number >= 75).sort((a, b) => a - b);
}

/** The first of each generation but the last, of which it is the newest. */
export function generations(capabilities: number[]): number[] {
	const generation = (capability: number) => Math.floor(capability / 10);
	const newest = capabilities.at(-1)!;
	return capabilities.filter((capability, i) =>
		generation(capability) === generation(newest)
			? capability === newest
			: generation(capabilities[i - 1] ?? 0) !== generation(capability)
	);
}

/** What a kernel uses, as the assembler reports it. */
export interface KernelUse {
	/** The kernel's name. */
	name: string;
	/** Registers a thread. */
	registers: number;
	/** Bytes of shared memory a block. */
	shared: number;
	/** Bytes a thread that did not fit into registers, stored or loaded. */
	spilled: number;
}

function readUses(log: string): KernelUse[] {
	return log.split("Compiling entry function '").slice(1).map((part) => {
		const number = (pattern: RegExp) => Number(pattern.exec(part)?.[1] ?? 0);
		return {
			name: part.slice(0, part.indexOf("'")),
			registers: number(/Used (\d+) registers/),
			shared: number(/(\d+) bytes smem/),
			spilled: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
		};
	});
}

/**
 * Compiles a source as for a device of that compute capability, warnings as errors.
 *
 * @returns what its kernels use
 * @throws if it does not compile, if compiler or assembler warns, or if a kernel is missing
 */
export async function compileStrictly(
	source: KernelSource,
	capability: number,
): Promise<KernelUse[]> {
	const { binary, log } = await compile(symbols, source, [
		...compilerOptions(`sm_${capability}`),
		"-Werror=all-warnings",
		"--display-error-number",
		"--ptxas-options=-v",
	]);
	const uses = readUses(log);
	const missing = parseKernels(source.text).filter(({ name }) =>
		!uses.some((u) => u.name === name)
	);
	if (missing.length > 0 || binary.length === 0 || /\bwarning\b/i.test(log)) {
		const names = missing.map(({ name }) => name).join(", ");
		throw new Error(
			`${source.name} for sm_${capability}: ${binary.length} bytes` +
				`${names && `, without ${names}`}; the log says\n${log}`,
		);
	}
	return uses;
}

/**
 * Compiles every source for every capability, two at a time.
 *
 * @returns the most that each kernel uses of each resource
 */
export async function compileAll(
	sources: KernelSource[],
	capabilities: number[],
): Promise<KernelUse[]> {
	const waiting = capabilities.flatMap((capability) =>
		sources.map((source) => ({ source, capability }))
	);
	const most = new Map<string, KernelUse>();
	const worker = async () => {
		for (let next = waiting.shift(); next; next = waiting.shift()) {
			for (const use of await compileStrictly(next.source, next.capability)) {
				const before = most.get(use.name) ?? use;
				most.set(use.name, {
					name: use.name,
					registers: Math.max(use.registers, before.registers),
					shared: Math.max(use.shared, before.shared),
					spilled: Math.max(use.spilled, before.spilled),
				});
			}
		}
	};
	// An error waits for what still compiles: a process that ended meanwhile would crash.
	for (const done of await Promise.allSettled([worker(), worker()])) {
		if (done.status === "rejected") throw done.reason;
	}
	return [...most.values()];
}

if (import.meta.main) {
	const capabilities = computeCapabilities();
	const uses = await compileAll(kernelSources, capabilities);
	console.log(`The most that a kernel uses on any of sm_${capabilities.join(", ")}`);
	console.table(uses.sort((a, b) => b.registers - a.registers));
}
