// Builds the host driver, a C++ library that offers CUDA's C ABI on the CPU, once a machine, into the
// cache. Its sources are text imports, so that this works when the module is served over HTTPS.

import {
	cacheDirectory,
	cacheKey,
	environment,
	makeDirectoryOf,
	readCached,
	writeCached,
} from "./cache_directory.ts";
import { onExit } from "./clean_up.ts";
import abi from "./driver/abi.h" with { type: "text" };
import blas from "./driver/blas.cpp" with { type: "text" };
import device from "./driver/device.cpp" with { type: "text" };
import dnn from "./driver/dnn.cpp" with { type: "text" };
import event from "./driver/event.cpp" with { type: "text" };
import graph from "./driver/graph.cpp" with { type: "text" };
import host from "./driver/host.h" with { type: "text" };
import kernel from "./driver/kernel.h" with { type: "text" };
import kernelEntry from "./driver/kernel_entry.h" with { type: "text" };
import memory from "./driver/memory.cpp" with { type: "text" };
import module from "./driver/module.cpp" with { type: "text" };
import nvrtc from "./driver/nvrtc.cpp" with { type: "text" };
import onednn from "./driver/onednn.h" with { type: "text" };
import pool from "./driver/pool.cpp" with { type: "text" };
import stream from "./driver/stream.cpp" with { type: "text" };

const headers: Record<string, string> = {
	"abi.h": abi,
	"host.h": host,
	"onednn.h": onednn,
	"kernel_entry.h": kernelEntry,
};
const units: Record<string, string> = {
	"blas.cpp": blas,
	"device.cpp": device,
	"dnn.cpp": dnn,
	"event.cpp": event,
	"graph.cpp": graph,
	"memory.cpp": memory,
	"module.cpp": module,
	"nvrtc.cpp": nvrtc,
	"pool.cpp": pool,
	"stream.cpp": stream,
};
/**
 * The sources of SIMT mode, from the folder that the environment variable `OUTLIERSCOPE_SIMT_SOURCES` names: the mode
 * is for tests, and so not in the package.
 */
function simtSources(): Record<string, string> {
	const folder = environment("OUTLIERSCOPE_SIMT_SOURCES");
	const names = folder ? ["simt.cpp", "fiber.cpp", "fiber.h", "kernel_simt.h"] : [];
	return Object.fromEntries(
		names.map((name) => [name, Deno.readTextFileSync(`${folder}/${name}`)]),
	);
}

/** Flags that each unit is compiled with. */
export const FLAGS = ["-std=c++17", "-O2", "-Wall", "-fPIC", "-fopenmp", "-fvisibility=hidden"];

/** Thrown when the host driver cannot be built; the message says what is missing and how to get it. */
export class HostBuildError extends Error {
	/** Name of the class. */
	override readonly name = "HostBuildError";
	/** The Debian packages whose installation mends it, if that is known. */
	readonly packages: readonly string[];

	/** Makes an error that `packages` would mend. */
	constructor(message: string, packages: readonly string[] = []) {
		super(message);
		this.packages = packages;
	}
}

/** A built host driver. */
export interface HostDriver {
	/** Path of the shared library. */
	path: string;
	/** Hash of all that its code, and the code it compiles, depends on. */
	identity: string;
}

/**
 * The C++ compiler's path, from `CXX` or as `g++` on the search path.
 *
 * @throws {HostBuildError} if there is none
 */
export function findCompiler(): string {
	const name = Deno.env.get("CXX") || "g++";
	const candidates = name.includes("/")
		? [name]
		: (Deno.env.get("PATH") ?? "").split(":").filter(Boolean).map((folder) => `${folder}/${name}`);
	for (const candidate of candidates) {
		try {
			if (Deno.statSync(candidate).isFile) return candidate;
		} catch (error) {
			if (error instanceof Deno.errors.NotCapable) throw error; // else it is not here
		}
	}
	throw new HostBuildError(
		`Cannot build the host driver: no C++ compiler "${name}" found; ` +
			`install one (apt-get install g++), or name another in CXX`,
		["g++"],
	);
}

/**
 * Compiler options for the sanitizers that the environment variable `OUTLIERSCOPE_SANITIZE` names, for
 * tests: `address`, `undefined`, or both with a comma. A report ends the process.
 */
function sanitizerOptions(): string[] {
	const names = Deno.env.get("OUTLIERSCOPE_SANITIZE");
	if (!names) return [];
	if (!/^(address|undefined)(,(address|undefined))?$/.test(names)) {
		throw new HostBuildError(
			`Cannot use OUTLIERSCOPE_SANITIZE="${names}": ` +
				`it must be "address", "undefined" or "address,undefined", or not set`,
		);
	}
	if (names.includes("address") && !Deno.env.get("LD_PRELOAD")?.includes("asan")) {
		throw new HostBuildError(
			"Cannot use AddressSanitizer unless it is loaded before Deno: " +
				'set LD_PRELOAD="$(g++ -print-file-name=libasan.so)" and ASAN_OPTIONS=detect_leaks=0',
		);
	}
	return [`-fsanitize=${names}`, "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1"];
}

/** What `-march=native` depends on. */
function cpuIdentity(): string {
	try {
		const lines = Deno.readTextFileSync("/proc/cpuinfo").split("\n\n")[0]!.split("\n");
		return lines.filter((line) => /^(model name|flags|Features)\b/.test(line)).join("\n");
	} catch {
		return Deno.build.arch;
	}
}

/** Changes when a file, such as the compiler, is replaced; found without running it. */
export function fileIdentity(path: string): string {
	try {
		const { size, mtime } = Deno.statSync(path);
		return `${path} ${size} ${mtime?.getTime()}`;
	} catch {
		return path;
	}
}

/** Runs a compiler; returns its words if it fails, else null. */
export async function run(
	command: string,
	args: string[],
	env: Record<string, string>,
): Promise<string | null> {
	const { success, stderr } = await new Deno.Command(command, {
		args,
		stdin: "null",
		stdout: "null",
		stderr: "piped",
		env: { LC_ALL: "C", ...env },
	}).output();
	return success ? null : new TextDecoder().decode(stderr);
}

function buildError(log: string): HostBuildError {
	if (/install libdnnl-dev|cannot find -ldnnl/.test(log)) {
		return new HostBuildError(
			"Cannot build the host driver: oneDNN is missing; install it (apt-get install libdnnl-dev)",
			["libdnnl-dev"],
		);
	}
	return new HostBuildError(`Cannot build the host driver: the C++ compiler says\n${log.trim()}`);
}

/**
 * Writes the sources of a host driver that will call `compiler` to a directory.
 *
 * @returns the units to compile there
 */
export async function writeSources(
	directory: string,
	compiler: string,
	sanitizers: string[] = [],
): Promise<string[]> {
	const { "kernel_simt.h": kernelSimt = "", ...simt } = simtSources();
	const literal = (text: string) => `R"outlierscope(${text})outlierscope"`;
	const embedded = `static const char *const compiler = ${literal(compiler)};\n` +
		`static const char *const kernel_h = ${literal(kernel)};\n` +
		`static const char *const kernel_entry_h = ${literal(kernelEntry)};\n` +
		`static const char *const kernel_simt_h = ${literal(kernelSimt)};\n` +
		`static const char *const sanitizers = ${literal(sanitizers.join(" "))};\n`;
	const files = { ...headers, ...units, ...simt, "embedded.h": embedded };
	for (const [name, text] of Object.entries(files)) {
		await Deno.writeTextFile(`${directory}/${name}`, text);
	}
	return Object.keys(files).filter((name) => name.endsWith(".cpp"));
}

async function build(compiler: string, sanitizers: string[], path: string): Promise<void> {
	const directory = await Deno.makeTempDir({ prefix: "outlierscope-build-" });
	using _cleanUp = onExit(() => Deno.removeSync(directory, { recursive: true }));
	const names = await writeSources(directory, compiler, sanitizers);
	// Optimizing what a sanitizer adds would take a minute. And the compiler itself has no use for the
	// sanitizer's library, which may be preloaded into this process.
	const compile = (args: string[]) =>
		sanitizers.length > 0
			? run(compiler, [...args, ...sanitizers, "-O0"], { LD_PRELOAD: "" })
			: run(compiler, args, {});
	const logs = await Promise.all(
		names.map((unit) =>
			compile([...FLAGS, "-c", `${directory}/${unit}`, "-o", `${directory}/${unit}.o`])
		),
	);
	const objects = names.map((unit) => `${directory}/${unit}.o`);
	const failure = logs.find((log) => log !== null) ??
		await compile([
			"-shared",
			"-fopenmp",
			...objects,
			"-ldnnl",
			"-ldl",
			"-o",
			`${directory}/host.so`,
		]);
	if (failure) throw buildError(failure);
	writeCached(path, await Deno.readFile(`${directory}/host.so`));
}

/**
 * The host driver for this machine, built first if it is not in the cache. Two processes may do so at
 * once: each builds aside and renames.
 *
 * @param onBuild called before a build starts, which takes some seconds
 * @returns where the library is
 * @throws {HostBuildError} if the compiler or oneDNN is missing
 */
export async function buildHostDriver(onBuild?: () => void): Promise<HostDriver> {
	if (Deno.build.os !== "linux") {
		throw new HostBuildError(`Cannot build the host driver on ${Deno.build.os}: it needs Linux`);
	}
	const compiler = findCompiler();
	const sanitizers = sanitizerOptions();
	const identity = cacheKey([
		...Object.entries({ ...headers, ...units, ...simtSources(), kernel }).flat(),
		...FLAGS,
		...sanitizers,
		fileIdentity(compiler),
		fileIdentity("/usr/include/oneapi/dnnl/dnnl_version.h"),
		cpuIdentity(),
	]);
	const path = `${cacheDirectory()}/host-driver-${identity}.so`;
	if (!readCached(path)) {
		makeDirectoryOf(path);
		onBuild?.();
		await build(compiler, sanitizers, path);
	}
	return { path, identity };
}
