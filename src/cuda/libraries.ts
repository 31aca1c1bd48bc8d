// Decides which libraries serve this process: NVIDIA's where a device answers, else the host driver.

import { type Libraries, LibraryError, openNvidia } from "../ffi/libraries.ts";
import { openHost } from "../host/open.ts";

/**
 * Opens the libraries that the environment variable `OUTLIERSCOPE_DEVICE` names (`cuda` or `host`), or
 * NVIDIA's where a device answers, else the host driver.
 *
 * @param onBuild called before the host driver is built, which takes some seconds
 * @throws {RangeError} if the variable has another value
 * @throws {LibraryError} if `cuda` is forced and there is no usable NVIDIA device
 */
export async function openLibraries(onBuild?: () => void): Promise<Libraries> {
	const forced = Deno.env.get("OUTLIERSCOPE_DEVICE");
	if (forced && forced !== "cuda" && forced !== "host") {
		throw new RangeError(
			`Cannot use OUTLIERSCOPE_DEVICE="${forced}": it must be "cuda" or "host", or not set`,
		);
	}
	if (forced === "host") return await openHost(onBuild);
	try {
		return openNvidia();
	} catch (error) {
		if (!(error instanceof LibraryError)) throw error;
		if (error.cause instanceof Deno.errors.NotCapable) throw error; // the host driver would fail too
		if (forced === "cuda") {
			throw new LibraryError(
				`Cannot use an NVIDIA device, which OUTLIERSCOPE_DEVICE=cuda asks for: ${error.message}`,
				{ cause: error },
			);
		}
		return await openHost(onBuild);
	}
}
