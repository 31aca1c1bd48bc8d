// What oneDNN says of itself: the copy that the host driver is linked with.

/** Version and instruction sets. */
export interface OneDnn {
	/** Such as `"2.6.3"`. */
	version: string;
	/** The widest set of instructions that it uses on this processor, such as `"AVX-512, bfloat16, AMX"`. */
	instructions: string;
}

/** `dnnl_cpu_isa_t`. */
const INSTRUCTIONS: Record<number, string> = {
	0x1: "SSE4.1",
	0x3: "AVX",
	0x7: "AVX2",
	0xf: "AVX2 with VNNI",
	0x407: "AVX2 with VNNI",
	0x1f: "AVX2 with VNNI and bfloat16",
	0x27: "AVX-512",
	0x67: "AVX-512 with VNNI",
	0xe7: "AVX-512 with bfloat16",
	0x1ef: "AVX-512 with bfloat16 and float16",
	0x3e7: "AVX-512 with bfloat16 and AMX",
	0xfef: "AVX-512 with bfloat16, float16 and AMX",
	0x1fef: "AVX-512 with bfloat16, float16 and AMX for both",
};

/**
 * Asks the oneDNN that a host driver is linked with: the system looks for a function in the libraries that
 * an opened one needs too.
 *
 * @param path the host driver
 */
export function describeOneDnn(path: string): OneDnn {
	const { symbols } = Deno.dlopen(path, {
		dnnl_version: { parameters: [], result: "pointer" },
		dnnl_get_effective_cpu_isa: { parameters: [], result: "i32" },
	});
	const view = new Deno.UnsafePointerView(symbols.dnnl_version()!);
	const isa = symbols.dnnl_get_effective_cpu_isa();
	return {
		version: [0, 4, 8].map((offset) => view.getInt32(offset)).join("."),
		instructions: INSTRUCTIONS[isa] ?? `instruction set 0x${isa.toString(16)}`,
	};
}
