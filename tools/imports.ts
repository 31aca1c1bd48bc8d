// What modules import, as Deno's own parser sees it: static, dynamic, type-only and text imports and
// re-exports. It reads `deno info`, so nothing is executed.

import { toFileUrl } from "./project.ts";

/** One import of a module. */
export interface Import {
	/** As written. */
	specifier: string;
	/** What it resolves to: a URL, or undefined where it resolves to nothing. */
	target: string | undefined;
	/** The kind that `with { type }` names, such as `"text"`. */
	kind: string | undefined;
}

interface Resolution {
	specifier?: string;
}

interface Graph {
	modules: {
		specifier: string;
		dependencies?: {
			specifier: string;
			code?: Resolution;
			type?: Resolution;
			assertionType?: string;
		}[];
	}[];
}

/** Imports of `files` (absolute paths) and of every module that they reach, by each module's URL. */
export async function readImports(files: string[], config: string): Promise<Map<string, Import[]>> {
	const entry = await Deno.makeTempFile({ prefix: "outlierscope_imports_", suffix: ".ts" });
	try {
		const lines = files.map((file) => `import ${JSON.stringify(toFileUrl(file))};\n`);
		await Deno.writeTextFile(entry, lines.join(""));
		const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
			args: ["info", "--quiet", "--json", "--config", config, entry],
		}).output();
		if (!success) throw new Error(`deno info failed: ${new TextDecoder().decode(stderr)}`);
		const { modules }: Graph = JSON.parse(new TextDecoder().decode(stdout));
		const imports = new Map<string, Import[]>();
		for (const { specifier, dependencies = [] } of modules) {
			if (specifier === toFileUrl(entry)) continue;
			imports.set(
				specifier,
				dependencies.flatMap(({ specifier, code, type, assertionType }) => {
					const found = code ?? type;
					if (found === undefined) return [];
					return [{ specifier, target: found.specifier, kind: assertionType }];
				}),
			);
		}
		return imports;
	} finally {
		await Deno.remove(entry);
	}
}
