// Compiles a C++ file of this folder for a benchmark, so that it can call from C++ what the library calls
// from TypeScript.

/** Opens `bench/support/${name}` as a shared library, compiled with these flags. */
export async function openCpp<S extends Deno.ForeignLibraryInterface>(
	name: string,
	flags: string[],
	symbols: S,
): Promise<Deno.DynamicLibrary<S>["symbols"]> {
	const source = new URL(name, import.meta.url).pathname;
	const library = await Deno.makeTempFile({ prefix: "outlierscope_bench_", suffix: ".so" });
	try {
		const { success, stderr } = await new Deno.Command(Deno.env.get("CXX") || "g++", {
			args: ["-std=c++17", "-O2", "-shared", "-fPIC", source, ...flags, "-o", library],
		}).output();
		if (!success) throw new Error(`Cannot compile ${name}:\n${new TextDecoder().decode(stderr)}`);
		return Deno.dlopen(library, symbols).symbols;
	} finally {
		await Deno.remove(library);
	}
}
