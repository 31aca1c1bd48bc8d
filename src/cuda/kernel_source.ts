// Reads the kernels that a CUDA C++ source defines, and their parameters, from its text, so that the
// signature in the `.cu` file is the only one.

/** How an argument is packed: a device pointer, or a number. */
export type ParameterKind = "pointer" | "int" | "long" | "float";

/** One parameter of a kernel, placed as CUDA packs it: at a multiple of its size. */
export interface KernelParameter {
	/** Its name in the source. */
	name: string;
	/** How it is packed. */
	kind: ParameterKind;
	/** Byte offset in the packed arguments. */
	offset: number;
}

/** A kernel's name and parameters. */
export interface KernelSignature {
	/** Its name in the source. */
	name: string;
	/** Its parameters in order. */
	parameters: KernelParameter[];
	/** Size of the packed arguments. */
	bytes: number;
}

const BOUNDS = String.raw`(?:__launch_bounds__\s*\([^)]*\)\s*)?`;
const KERNEL = new RegExp(
	String.raw`__global__\s+${BOUNDS}void\s+${BOUNDS}(\w+)\s*\(([^)]*)\)`,
	"g",
);
const COMMENT = /\/\/.*|\/\*[^]*?\*\//g;
const SIZES: Record<ParameterKind, number> = { pointer: 8, int: 4, long: 8, float: 4 };
const KINDS: Record<string, ParameterKind> = {
	"int": "int",
	"unsigned": "int",
	"long long": "long",
	"float": "float",
};

const MACRO = /^#define[ \t]+(\w+)\(([^)]*)\)((?:.*\\\n)*.*)\n?/gm;
const NAME = /^#define[ \t]+(\w+)[ \t]((?:.*\\\n)*.*)/gm; // of text, without parameters

/**
 * The source with its macros that define kernels expanded, as the preprocessor will, but without the kernels'
 * bodies, and with the names in it that stand for text; other macros are left alone.
 */
function expandKernelMacros(source: string): string {
	let text = source;
	const texts = new Map([...source.matchAll(NAME)].map(([, name, text]) => [name, text]));
	for (const [definition, name, list, body] of source.matchAll(MACRO)) {
		if (!body!.includes("__global__")) continue;
		const parameters = list!.split(",").map((parameter) => parameter.trim());
		const heads = body!.match(/__global__[^{]*/g)!.join("")
			.replace(/\w+/g, (word) => texts.get(word) ?? word).replace(/[\\\s]+/g, " ");
		text = text.replace(definition, "\n").replace(
			new RegExp(String.raw`^[ \t]*${name}\(([^)]*)\)`, "gm"),
			(_, given: string) => {
				const values = given.split(",").map((value) => value.trim());
				const valueOf = (word: string) => values[parameters.indexOf(word)] ?? word;
				return heads.replace(/\w+/g, valueOf).replace(/ ?## ?/g, "");
			},
		);
	}
	return text;
}

function parseParameter(kernel: string, text: string): { name: string; kind: ParameterKind } {
	const match = /^(.*?)(\w+)$/s.exec(text.trim());
	if (match) {
		const type = match[1]!.replace(/\bconst\b|__restrict__/g, " ").replace(/\s+/g, " ").trim();
		const kind = type.endsWith("*") ? "pointer" : KINDS[type];
		if (kind) return { name: match[2]!, kind };
	}
	throw new SyntaxError(
		`Cannot read parameter "${text.trim()}" of kernel ${kernel}: ` +
			`it must be a pointer, int, unsigned, long long or float`,
	);
}

/**
 * The kernels in a source, in order. A macro of which each use defines kernels must be used at the start of a
 * line, with arguments that hold no parentheses.
 */
export function parseKernels(source: string): KernelSignature[] {
	const text = expandKernelMacros(source.replace(COMMENT, " "));
	return [...text.matchAll(KERNEL)].map(([, name, list]) => {
		let bytes = 0;
		const texts = /^\s*(void\s*)?$/.test(list!) ? [] : list!.split(",");
		const parameters = texts.map((text) => {
			const { name: parameter, kind } = parseParameter(name!, text);
			const size = SIZES[kind];
			const offset = Math.ceil(bytes / size) * size;
			bytes = offset + size;
			return { name: parameter, kind, offset };
		});
		return { name: name!, parameters, bytes };
	});
}
