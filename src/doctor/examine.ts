// The doctor: looks for all that the library can use, opens the device and tests it. What is missing is a
// finding here, not an error.

import { Device, type DeviceOptions } from "../cuda/device.ts";
import { takeInventory } from "../cuda/inventory.ts";
import { CudaError } from "../cuda/errors.ts";
import { parseKernels } from "../cuda/kernel_source.ts";
import { kernelSources } from "../cuda/kernels.ts";
import { NVIDIA_LIBRARIES, openLibrary, openNvidia } from "../ffi/libraries.ts";
import { findCompiler, HostBuildError } from "../host/build.ts";
import { cacheDirectory } from "../host/cache_directory.ts";
import { describeOneDnn } from "../host/onednn.ts";
import config from "../../deno.json" with { type: "json" };
import type { Examination, ExaminedCache, ExaminedDevice, Lack, Part } from "./examination.ts";
import { chooseSeed } from "./self_test/random.ts";
import { runSelfTests } from "./self_test.ts";

/** Advice where the reason tells what to do. */
const AS_SAID = "do what it says there";

const VARIABLES = [
	"OUTLIERSCOPE_DEVICE",
	"OUTLIERSCOPE_CACHE",
	"XDG_CACHE_HOME",
	"CXX",
	"CUDA_VISIBLE_DEVICES",
	"LD_LIBRARY_PATH",
	"OMP_NUM_THREADS",
	"OMP_WAIT_POLICY",
	"GOMP_SPINCOUNT",
];

function environment(): Record<string, string> {
	return Object.fromEntries(VARIABLES.flatMap((name) => {
		const value = Deno.env.get(name);
		return value === undefined ? [] : [[name, value]];
	}));
}

function reason(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

function nvidiaParts(): Part[] {
	return Object.values(NVIDIA_LIBRARIES).map(({ what, names }) => {
		const name = what.replace(/^the /, "");
		try {
			return { name, path: openLibrary(what, names, {}).path, version: null, problem: null };
		} catch (error) {
			return { name, path: null, version: null, problem: reason(error) };
		}
	});
}

async function firstLine(command: string, argument: string): Promise<string> {
	const { stdout } = await new Deno.Command(command, { args: [argument], stdin: "null" }).output();
	return new TextDecoder().decode(stdout).split("\n")[0]!;
}

/** The compiler, and what the host driver is where it computes, or why it could not be built. */
async function hostParts(device: Device | null, failure: unknown): Promise<Part[]> {
	const parts: Part[] = [];
	const part = { path: null, version: null, problem: null };
	try {
		const path = findCompiler();
		parts.push({
			...part,
			name: "C++ compiler",
			path,
			version: await firstLine(path, "--version"),
		});
	} catch (error) {
		parts.push({ ...part, name: "C++ compiler", problem: reason(error) });
	}
	if (device) {
		const path = device.libraries.paths.driver;
		const { version, instructions } = describeOneDnn(path);
		parts.push({ ...part, name: "oneDNN", version: `${version}, ${instructions}` });
		parts.push({ ...part, name: "host driver", path });
	} else if (failure instanceof HostBuildError) {
		parts.push({ ...part, name: "host driver", problem: reason(failure) });
	}
	return parts;
}

function examineDevice(device: Device, parts: Part[]): ExaminedDevice {
	const { name, kind, warpSize, maxThreadsPerBlock, multiprocessors } = device;
	const inventory = takeInventory(device);
	if (kind === "cuda") {
		const { cublasVersion: blas } = inventory;
		const versions = {
			"CUDA driver": inventory.driverVersion,
			NVRTC: inventory.nvrtcVersion,
			cuBLAS: `${Math.floor(blas / 10_000)}.${Math.floor(blas / 100) % 100}.${blas % 100}`,
		};
		for (const part of parts) {
			part.version ??= versions[part.name as keyof typeof versions] ?? null;
		}
	}
	const { computeCapability, driverVersion, memory } = inventory;
	return {
		name,
		kind,
		computeCapability,
		driverVersion,
		warpSize,
		maxThreadsPerBlock,
		multiprocessors,
		memory,
	};
}

function examineCache(): ExaminedCache {
	const directory = cacheDirectory();
	const list = (folder: string) => {
		try {
			return [...Deno.readDirSync(`${directory}/${folder}`)];
		} catch (error) {
			if (error instanceof Deno.errors.NotFound) return [];
			throw error;
		}
	};
	const sizeOf = (folder: string): number =>
		list(folder).reduce((sum, { name, isDirectory, isFile }) => {
			const path = folder ? `${folder}/${name}` : name;
			if (isDirectory) return sum + sizeOf(path);
			return isFile ? sum + Deno.statSync(`${directory}/${path}`).size : sum;
		}, 0);
	return {
		directory,
		bytes: sizeOf(""),
		hostDrivers: list("").filter(({ name }) => /^host-driver-.*\.so$/.test(name)).length,
		modules: list("kernels").filter(({ name }) => name.endsWith(".bin")).length,
		models: list("models").filter(({ isFile }) => isFile).map(({ name }) => ({
			name,
			bytes: Deno.statSync(`${directory}/models/${name}`).size,
		})),
	};
}

/** Why the CPU computes although NVIDIA's driver is there. */
function nvidiaLacks(parts: Part[]): Lack[] {
	if (!parts[0]!.path) return [];
	try {
		openNvidia();
		return [];
	} catch (error) {
		const remedy = parts.every(({ path }) => path)
			? "check what nvidia-smi says of the device"
			: "apt-get install nvidia-cuda-toolkit";
		return [{ what: `a usable NVIDIA device: ${reason(error)}`, remedy }];
	}
}

/** Looks at everything, and tests the device if there is one. */
export async function examine(options: DeviceOptions = {}): Promise<Examination> {
	const set = environment();
	const nvidia = nvidiaParts();
	const lacks: Lack[] = [];
	let device: Device | null = null;
	let failure: unknown;
	try {
		const opened = await Device.open(options);
		await opened.prepare(kernelSources.map(({ name }) => name));
		device = opened;
	} catch (error) {
		failure = error;
		const remedy = error instanceof HostBuildError && error.packages.length > 0
			? `apt-get install ${error.packages.join(" ")}`
			: error instanceof CudaError
			? "this may be a defect: please report this page"
			: AS_SAID;
		lacks.push({ what: `a device that computes: ${reason(error)}`, remedy });
	}
	if (set.OUTLIERSCOPE_DEVICE !== "host" && device?.kind !== "cuda") {
		lacks.push(...nvidiaLacks(nvidia));
	}
	const parts = [
		...nvidia,
		...device?.kind === "cuda" ? [] : await hostParts(device, failure),
	];
	let cache: ExaminedCache | null = null;
	try {
		cache = examineCache();
		if (cache.models.length === 0) {
			const remedy = "./dev demo, or any GGUF file of the LLaMA family";
			lacks.push({ what: `a model in ${cache.directory}/models`, remedy });
		}
	} catch (error) {
		const remedy = error instanceof Deno.errors.NotCapable
			? AS_SAID
			: "name a directory that can be read and written in OUTLIERSCOPE_CACHE";
		lacks.push({ what: `a cache: ${reason(error)}`, remedy });
	}
	const seed = chooseSeed();
	const kernels = kernelSources.flatMap(({ text }) => parseKernels(text).map(({ name }) => name));
	return {
		format: "outlierscope-doctor",
		version: config.version,
		system: `Deno ${Deno.version.deno}, ${Deno.build.os}, ${Deno.build.arch}`,
		environment: set,
		device: device && examineDevice(device, parts),
		parts,
		cache,
		lacks,
		selfTest: device && { seed, results: runSelfTests(device, seed, kernels) },
	};
}
