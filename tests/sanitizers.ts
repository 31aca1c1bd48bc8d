// The environment in which a Deno of its own runs the host driver and its kernels under AddressSanitizer
// and UndefinedBehaviorSanitizer. A report ends the process, with the words of the sanitizer.

/** Where the C++ compiler has its library of AddressSanitizer. */
async function library(): Promise<string> {
	const { success, stdout } = await new Deno.Command(Deno.env.get("CXX") || "g++", {
		args: ["-print-file-name=libasan.so"],
	}).output();
	const path = new TextDecoder().decode(stdout).trim();
	if (!success || !path.startsWith("/")) {
		throw new Error(`Cannot find libasan.so: the compiler answers "${path}"; install libasan`);
	}
	return path;
}

/** Variables for a child process; Deno itself leaks, which is not of interest. */
export async function sanitizerEnvironment(): Promise<Record<string, string>> {
	return {
		OUTLIERSCOPE_SANITIZE: "address,undefined",
		LD_PRELOAD: await library(),
		ASAN_OPTIONS: "detect_leaks=0",
	};
}
