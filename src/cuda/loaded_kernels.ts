// The kernels that a device has. Those of this library are compiled and loaded, a source at a time, when the
// first kernel of a source is asked for, or ahead of that.

import { cString } from "../ffi/c_memory.ts";
import { compileCached, compileCachedSync, type KernelSource } from "./compile.ts";
import type { Device } from "./device.ts";
import { Kernel } from "./kernel.ts";
import { parseKernels } from "./kernel_source.ts";
import { kernelSources, sourceOf } from "./kernels.ts";

/** The kernels of a device; each {@linkcode Device} has one. */
export class LoadedKernels {
	readonly #device: Device;
	readonly #architecture: string;
	readonly #onCompile: () => void;
	readonly #kernels = new Map<string, Kernel>();
	readonly #sources = new Set<KernelSource>();

	/**
	 * For {@linkcode Device}.
	 *
	 * @param architecture of the device, such as `"sm_90"`
	 * @param onCompile called once, before something is compiled
	 */
	constructor(device: Device, architecture: string, onCompile: () => void) {
		this.#device = device;
		this.#architecture = architecture;
		let told = false;
		this.#onCompile = () => {
			if (!told) onCompile();
			told = true;
		};
	}

	/** The kernel of a name; blocks the thread while its source is compiled and loaded, if it is not yet. */
	get(name: string): Kernel {
		return this.#kernels.get(name) ?? this.#firstOf(name);
	}

	/** Loads sources of this library, unless they are loaded. */
	async prepare(files: readonly string[]): Promise<void> {
		const wanted = files.map((file) => {
			const source = kernelSources.find(({ name }) => name === file);
			if (!source) throw new RangeError(`Cannot prepare "${file}": there is no such kernel source`);
			return source;
		});
		await this.load(wanted.filter((source) => !this.#sources.has(source)));
	}

	/** Compiles sources, several at once, and loads their kernels, in place of others of their names. */
	async load(sources: readonly KernelSource[]): Promise<void> {
		const { libraries } = this.#device;
		const waiting = [...sources];
		const worker = async () => {
			for (let source = waiting.shift(); source; source = waiting.shift()) {
				const compiled = compileCached(libraries, source, this.#architecture, this.#onCompile);
				this.#link(source, await compiled);
			}
		};
		await Promise.all(Array.from({ length: Math.max(2, navigator.hardwareConcurrency) }, worker));
	}

	#firstOf(name: string): Kernel {
		const source = sourceOf(name);
		if (!source) throw new RangeError(`Cannot find the kernel "${name}": no source has it`);
		const { libraries } = this.#device;
		this.#link(
			source,
			compileCachedSync(libraries, source, this.#architecture, this.#onCompile),
		);
		return this.#kernels.get(name)!;
	}

	/** Loads what became of a source. */
	#link(source: KernelSource, binary: Uint8Array<ArrayBuffer>): void {
		const device = this.#device, { driver } = device.libraries;
		const module = device.made(
			"cuModuleLoadData",
			(out) => driver.cuModuleLoadData(out, binary),
			`while loading ${source.name}`,
		);
		for (const signature of parseKernels(source.text)) {
			const handle = device.made(
				"cuModuleGetFunction",
				(out) => driver.cuModuleGetFunction(out, module, cString(signature.name)),
				`while looking for the kernel ${signature.name} in ${source.name}`,
			);
			this.#kernels.set(signature.name, new Kernel(device, handle, signature));
		}
		this.#sources.add(source);
	}
}
