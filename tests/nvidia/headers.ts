// NVIDIA's own headers as judges: the compiler compares the host driver's functions and constants with
// them, and tells what type each parameter of a bound function has.

import { FLAGS, writeSources } from "../../src/host/build.ts";
import { root } from "../../tools/project.ts";
import { inDirectory } from "../subprocess.ts";
import { nvidiaDirectory } from "./packages.ts";

/** Whose headers: of the driver and NVRTC, or also of cuBLAS and cuDNN. */
export type Headers = "compiler" | "libraries";

const LEVEL: Record<Headers, number> = { compiler: 1, libraries: 2 };

async function run(command: string, args: string[], cwd?: string) {
	const { success, stdout, stderr } = await new Deno.Command(command, {
		args,
		...(cwd === undefined ? {} : { cwd }),
		env: { LC_ALL: "C" },
		stdin: "null",
	}).output();
	const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
	return { success, stdout: decode(stdout), stderr: decode(stderr) };
}

/** Compiles with NVIDIA's headers in place of the declarations in abi.h; returns the compiler's words. */
async function compile(directory: string, headers: Headers, ...args: string[]): Promise<string> {
	const include = [nvidiaDirectory("compiler")];
	if (headers === "libraries") include.push(nvidiaDirectory("libraries"));
	const { success, stderr } = await run(Deno.env.get("CXX") || "g++", [
		...FLAGS,
		"-Werror",
		`-DOUTLIERSCOPE_NVIDIA_HEADERS=${LEVEL[headers]}`,
		...include.flatMap((path) => ["-isystem", `${path}/include`]),
		...args,
	], directory);
	return success ? "" : stderr || "The compiler failed without a word";
}

/** Whether a unit of the host driver offers functions of libraries that these headers do not declare. */
function isOfOthers(text: string, headers: Headers): boolean {
	return headers === "compiler" && /^EXPORT\b[^(]*\b(cu(blas|dnn)|nccl)/m.test(text);
}

/** How MPI's compiler finds MPI's headers. */
async function mpiOptions(): Promise<string[]> {
	return (await run("mpicc", ["-showme:compile"])).stdout.trim().split(/\s+/);
}

/**
 * Compiles the units of the host driver, or `planted` ones in their place, against NVIDIA's headers. A
 * function that differs from its prototype is an error, and so is one of which there is no prototype.
 *
 * @returns the compiler's words by unit, for the units that it refuses
 */
export async function checkUnits(
	headers: Headers,
	planted?: Record<string, string>,
): Promise<Record<string, string>> {
	const refused: Record<string, string> = {};
	await inDirectory(async (directory) => {
		const units = [...await writeSources(directory, ""), "nccl.cpp"];
		await Deno.copyFile(`${root}/src/host/driver/nccl.cpp`, `${directory}/nccl.cpp`);
		const mpi = await mpiOptions();
		for (const [name, text] of Object.entries(planted ?? {})) {
			await Deno.writeTextFile(`${directory}/${name}`, text);
		}
		await Promise.all((planted ? Object.keys(planted) : units).map(async (unit) => {
			const text = await Deno.readTextFile(`${directory}/${unit}`);
			const warnings = isOfOthers(text, headers) ? [] : ["-Wmissing-declarations"];
			const words = await compile(
				directory,
				headers,
				...warnings,
				...unit === "nccl.cpp" ? mpi : [],
				"-fsyntax-only",
				unit,
			);
			if (words !== "") refused[unit] = words;
		}));
	});
	return refused;
}

/** Constants of abi.h with their values, as its text has them. */
export function constantsOf(abi: string): { name: string; value: number }[] {
	const plain = [...abi.matchAll(/\b(\w+) = (-?\d+)\b/g)];
	const macros = [...abi.matchAll(/^#define (\w+) \(\(void \*\)(0x\d+)\)$/gm)];
	return [...plain, ...macros].map(([, name, value]) => ({ name, value: Number(value) }));
}

/** Compares constants with NVIDIA's; returns the compiler's words, or `""`. */
export async function checkConstants(
	headers: Headers,
	constants: { name: string; value: number }[],
): Promise<string> {
	let words = "";
	await inDirectory(async (directory) => {
		await writeSources(directory, "");
		// A plain function, since a macro that casts to a pointer is no constant expression.
		const checks = constants.map(({ name, value }) =>
			`  if ((long long)(${name}) != ${value}) printf("${name} is %lld, not ${value}\\n", ` +
			`(long long)(${name}));\n`
		).join("");
		await Deno.writeTextFile(
			`${directory}/constants.cpp`,
			`#include <cstdio>\n#include "abi.h"\nint main() {\n${checks}}\n`,
		);
		words = await compile(directory, headers, "constants.cpp", "-o", "constants");
		if (words === "") words = (await run(`${directory}/constants`, [])).stdout;
	});
	return words;
}

/** The C types of a function, in words: see the end of {@linkcode DESCRIBE}. */
export interface Prototype {
	/** Type of what it returns. */
	result: string;
	/** Types of its parameters. */
	parameters: string[];
}

// Prints a line a function: its name, and the types of its result and parameters. An enumeration's type
// is `enum NAME`; a pointer to a structure that the headers keep to themselves is `handle NAME`.
const DESCRIBE = `
#include <cstdlib>
#include <cstdio>
#include <cxxabi.h>
#include <string>
#include <type_traits>
#include <typeinfo>
#include "abi.h"

template <class T, class = void> constexpr bool complete = false;
template <class T> constexpr bool complete<T, std::void_t<decltype(sizeof(T))>> = true;

template <class T> std::string name() {
  return abi::__cxa_demangle(typeid(T).name(), nullptr, nullptr, nullptr);
}

template <class T> std::string describe() {
  using To = std::remove_cv_t<std::remove_pointer_t<T>>;
  if constexpr (std::is_enum_v<T>) return "enum " + name<T>();
  if constexpr (std::is_class_v<T>) return "struct of " + std::to_string(sizeof(T)) + " bytes";
  if constexpr (std::is_pointer_v<T> && std::is_class_v<To>) {
    if constexpr (!complete<To>) {
      std::string text = name<To *>();
      return "handle " + text.substr(0, text.size() - 1);
    }
  }
  return name<T>();
}

template <class R, class... A> void print(const char *function, R (*)(A...)) {
  std::printf("%s\\t%s", function, describe<R>().c_str());
  (std::printf("\\t%s", describe<A>().c_str()), ...);
  std::printf("\\n");
}
`;

/**
 * The prototypes of functions in NVIDIA's headers.
 *
 * @throws if a function is not declared there, with the compiler's words
 */
export async function readPrototypes(
	headers: Headers,
	functions: string[],
): Promise<Record<string, Prototype>> {
	const prototypes: Record<string, Prototype> = {};
	await inDirectory(async (directory) => {
		await writeSources(directory, "");
		const prints = functions.map((name) =>
			`  print("${name}", static_cast<decltype(&${name})>(nullptr));\n`
		).join("");
		await Deno.writeTextFile(
			`${directory}/describe.cpp`,
			`${DESCRIBE}\nint main() {\n${prints}}\n`,
		);
		let words = await compile(directory, headers, "-E", "describe.cpp", "-o", "describe.ii");
		// For C++, cublas_api.h adds inline functions of the same names, which are not in the library.
		const text = await Deno.readTextFile(`${directory}/describe.ii`);
		await Deno.writeTextFile(
			`${directory}/describe.ii`,
			text.replace(/^static inline \w+ cublas\w+\([^]*?^\}$/gm, ""),
		);
		words ||= await compile(directory, headers, "describe.ii", "-o", "describe");
		if (words !== "") throw new Error(`Cannot read the prototypes: the compiler says\n${words}`);
		const { stdout } = await run(`${directory}/describe`, []);
		for (const line of stdout.trimEnd().split("\n")) {
			const [name, result, ...parameters] = line.split("\t");
			prototypes[name] = { result, parameters };
		}
	});
	return prototypes;
}
