// Compares a symbol table of src/ffi with the C prototypes of its functions: the names, the number of
// parameters, and for each type its width, whether it has a sign, and whether it is an address.

import type { Prototype } from "./headers.ts";

/** The C types that may stand behind each of the types that src/ffi/c_types.ts uses. */
const C_TYPES: Record<string, RegExp> = {
	u8: /^(unsigned char|bool)$/,
	u16: /^unsigned short$/,
	u32: /^unsigned int$/,
	u64: /^unsigned long long$|^void( const)?\*$/, // CUdeviceptr; cuBLAS and cuDNN say void *
	i32: /^int$|^enum \w+$/,
	i64: /^(long|long long)$/,
	f32: /^float$/,
	f64: /^double$/,
	usize: /^unsigned long$|^handle |^void\*$/,
	buffer: /^(?!handle ).*\*$/, // memory of the caller
	pointer: /\*$|^handle /,
	void: /^void$/,
};

function fits(type: unknown, cType: string): boolean {
	return typeof type === "string" ? C_TYPES[type]?.test(cType) ?? false : describe(type) === cType;
}

/** A type of a table in words; of a structure, whose fields are all of 64 bits, its size. */
function describe(type: unknown): string {
	if (typeof type !== "object" || type === null || !("struct" in type)) return String(type);
	const fields = type.struct as string[];
	return fields.every((field) => field === "u64")
		? `struct of ${8 * fields.length} bytes`
		: "a structure";
}

/** The C functions that a table binds, some perhaps more than once, under names of their own. */
export function functionsOf(table: Deno.ForeignLibraryInterface): string[] {
	return [...new Set(Object.keys(table).map((key) => functionOf(table, key)))];
}

function functionOf(table: Deno.ForeignLibraryInterface, key: string): string {
	const symbol = table[key]!;
	return "name" in symbol && symbol.name !== undefined ? symbol.name : key;
}

/** What in `table` disagrees with the prototypes, a sentence each. */
export function differences(
	table: Deno.ForeignLibraryInterface,
	prototypes: Record<string, Prototype>,
): string[] {
	const found: string[] = [];
	for (const [name, symbol] of Object.entries(table)) {
		const prototype = prototypes[functionOf(table, name)];
		if (!prototype) {
			found.push(`${name} has no prototype`);
			continue;
		}
		if (!("parameters" in symbol)) {
			found.push(`${name} is no function in the table`);
			continue;
		}
		const { parameters, result } = symbol;
		if (!fits(result, prototype.result)) {
			found.push(`${name} returns ${prototype.result}, not ${String(result)}`);
		}
		if (parameters.length !== prototype.parameters.length) {
			found.push(
				`${name} has ${prototype.parameters.length} parameters, not ${parameters.length}`,
			);
			continue;
		}
		parameters.forEach((type, i) => {
			if (!fits(type, prototype.parameters[i])) {
				found.push(`${name}: parameter ${i} is ${prototype.parameters[i]}, not ${describe(type)}`);
			}
		});
	}
	return found;
}
