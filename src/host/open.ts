// Opens the host driver as the set of libraries that the layers above work with.

import { cublasSymbols } from "../ffi/cublas_symbols.ts";
import { cudnnSymbols } from "../ffi/cudnn_symbols.ts";
import { driverSymbols } from "../ffi/driver_symbols.ts";
import { type Libraries, type Nccl, openLibrary } from "../ffi/libraries.ts";
import { ncclSymbols } from "../ffi/nccl_symbols.ts";
import { nvrtcSymbols } from "../ffi/nvrtc_symbols.ts";
import { buildHostDriver } from "./build.ts";
import { buildHostNccl } from "./build_nccl.ts";
import { withFaults } from "./faults.ts";

/**
 * Opens the host driver, building it first where needed.
 *
 * @param onBuild called before a build starts, which takes some seconds
 * @returns the libraries, all of them the host driver
 * @throws {RangeError} if `OUTLIERSCOPE_HOST_MEMORY`, the most memory it may use, is no number of bytes
 */
export async function openHost(onBuild?: () => void): Promise<Libraries> {
	const memory = Deno.env.get("OUTLIERSCOPE_HOST_MEMORY");
	if (memory && !/^[1-9]\d*$/.test(memory)) {
		throw new RangeError(
			`Cannot use OUTLIERSCOPE_HOST_MEMORY="${memory}": it must be a number of bytes, or not set`,
		);
	}
	const { path, identity } = await buildHostDriver(onBuild);
	// OpenMP's threads by default wait for each other in a long busy loop, and so keep a core from the very
	// thread they wait for when other programs run: up to ten times slower. To sleep at once would cost a
	// wake-up at every kernel; this is about a tenth of a millisecond. Read when OpenMP is loaded.
	if (!Deno.env.get("OMP_WAIT_POLICY") && !Deno.env.get("GOMP_SPINCOUNT")) {
		Deno.env.set("GOMP_SPINCOUNT", "2000");
	}
	const symbols = { ...driverSymbols, ...nvrtcSymbols, ...cublasSymbols, ...cudnnSymbols };
	const library = withFaults(openLibrary("the host driver", [path], symbols).symbols, symbols);
	let nccl: Promise<Nccl> | undefined;
	const paths = { driver: path, nvrtc: path, cublas: path };
	return {
		kind: "host",
		identity,
		paths,
		driver: library,
		nvrtc: library,
		cublas: library,
		cudnn: () => library,
		nccl: () => nccl ??= openNccl(path, identity),
	};
}

/** Opens NCCL's functions over MPI. */
async function openNccl(driver: string, identity: string): Promise<Nccl> {
	const path = await buildHostNccl(driver, identity);
	return withFaults(openLibrary("NCCL over MPI", [path], ncclSymbols).symbols, ncclSymbols);
}
