// Builds NCCL's functions over MPI as a library beside the host driver, where MPI is installed and more than one
// process wants to work together.

import { LibraryError } from "../ffi/libraries.ts";
import { fileIdentity, findCompiler, FLAGS, run } from "./build.ts";
import { cacheDirectory, cacheKey, readCached, writeCached } from "./cache_directory.ts";
import { onExit } from "./clean_up.ts";
import abi from "./driver/abi.h" with { type: "text" };
import nccl from "./driver/nccl.cpp" with { type: "text" };

const MISSING = "Cannot let processes on CPUs work together: there is no MPI here; install it " +
	"(apt-get install libopenmpi-dev openmpi-bin)";

/** MPI has threads, and an end of its own, when Deno closes its libraries: this one stays. */
const LINK = ["-lstdc++", "-ldl", "-Wl,-z,nodelete"];

/** MPI's compiler, which knows where MPI's headers and libraries are. */
function findMpi(): string {
	for (const folder of (Deno.env.get("PATH") ?? "").split(":").filter(Boolean)) {
		try {
			if (Deno.statSync(`${folder}/mpicc`).isFile) return `${folder}/mpicc`;
		} catch (error) {
			if (error instanceof Deno.errors.NotCapable) throw error; // else it is not here
		}
	}
	throw new LibraryError(MISSING);
}

/**
 * The library for this machine, built first if it is not in the cache.
 *
 * @param driver path of the host driver, on whose streams it queues
 * @param identity of the host driver
 * @returns where the library is
 * @throws {LibraryError} if MPI is missing
 */
export async function buildHostNccl(driver: string, identity: string): Promise<string> {
	const compiler = findCompiler(), mpi = findMpi();
	const key = cacheKey([abi, nccl, driver, identity, ...FLAGS, ...LINK, fileIdentity(mpi)]);
	const path = `${cacheDirectory()}/host-nccl-${key}.so`;
	if (readCached(path)) return path;
	const directory = await Deno.makeTempDir({ prefix: "outlierscope-build-" });
	using _cleanUp = onExit(() => Deno.removeSync(directory, { recursive: true }));
	await Deno.writeTextFile(`${directory}/abi.h`, abi);
	await Deno.writeTextFile(`${directory}/nccl.cpp`, nccl);
	const failure = await run(mpi, [
		...FLAGS,
		"-shared",
		`${directory}/nccl.cpp`,
		driver, // by its path: the one that this process has opened
		...LINK,
		"-o",
		`${directory}/nccl.so`,
	], { OMPI_CC: compiler, MPICH_CC: compiler });
	if (failure !== null) {
		throw new LibraryError(
			/mpi\.h/.test(failure)
				? MISSING
				: `Cannot build NCCL's functions over MPI: ${mpi} says\n${failure.trim()}`,
		);
	}
	writeCached(path, await Deno.readFile(`${directory}/nccl.so`));
	return path;
}
