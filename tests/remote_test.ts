// Shows that the library works as a package: JSR serves modules over HTTPS, so nothing may be looked
// for beside a module on disk. The files that publishing uploads, and no other, are served over HTTP, their
// bare specifiers rewritten as JSR rewrites them, and used from that URL in an empty directory.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { published } from "./published.ts";
import { inDirectory } from "./subprocess.ts";
import { type Import, readImports } from "../tools/imports.ts";
import { configPath, entryPoints, root, toFileUrl } from "../tools/project.ts";

/** What a program did. */
interface Run {
	code: number;
	stdout: string;
	stderr: string;
}

/** A package that is served. */
interface Served {
	/** Where its files are, without a slash at the end. */
	url: string;
	/** Paths that were asked for and are there. */
	loaded: Set<string>;
}

/** Serves `files` of `base` while `body` runs; `entries` are the modules that imports are found from. */
async function withServer(
	base: string,
	{ entries, files, config }: { entries: string[]; files: string[]; config: string },
	body: (served: Served) => Promise<void>,
): Promise<void> {
	const imports = await readImports(entries.map((entry) => `${base}/${entry}`), config);
	const loaded = new Set<string>();
	const server = Deno.serve(
		{ hostname: "127.0.0.1", port: 0, onListen: () => {} },
		async (request) => {
			const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
			if (!files.includes(path)) return new Response("Not found", { status: 404 });
			const text = await Deno.readTextFile(`${base}/${path}`);
			loaded.add(path);
			const found = imports.get(toFileUrl(`${base}/${path}`)) ?? [];
			const type = path.endsWith(".ts") ? "application/typescript" : "text/plain";
			return new Response(rewrite(text, found, base), { headers: { "content-type": type } });
		},
	);
	const { port } = server.addr;
	try {
		await body({ url: `http://127.0.0.1:${port}`, loaded });
	} finally {
		await server.shutdown();
		await forget(port);
	}
}

/** Replaces each bare specifier by what the import map makes of it; a file becomes its path's URL. */
function rewrite(text: string, imports: Import[], base: string): string {
	const here = toFileUrl(base);
	for (const { specifier, target } of imports) {
		if (/^(\.{0,2}\/|[a-z]+:)/.test(specifier)) continue;
		assert(target !== undefined, `${specifier} resolves to nothing`);
		const url = target.startsWith(`${here}/`) ? target.slice(here.length) : target;
		for (const quote of [`"`, `'`]) text = text.replaceAll(quote + specifier + quote, `"${url}"`);
	}
	return text;
}

/** Removes what Deno cached from `port`, which no later run asks for. */
async function forget(port: number): Promise<void> {
	await Deno.remove(`${await denoDirectory()}/remote/http/127.0.0.1_PORT${port}`, {
		recursive: true,
	}).catch(() => {});
}

/** Where Deno keeps what it downloads. */
async function denoDirectory(): Promise<string> {
	const { stdout } = await run(root, Deno.execPath(), ["info", "--json"]);
	return JSON.parse(stdout).denoDir;
}

const isThere = (path: string) => Deno.stat(path).then(() => true, () => false);

/** Runs a program in a directory. */
async function run(
	cwd: string,
	program: string,
	args: string[],
	env: Record<string, string> = {},
): Promise<Run> {
	const { code, stdout, stderr } = await new Deno.Command(program, {
		args,
		cwd,
		env: { NO_COLOR: "1", ...env },
		stdin: "null",
	}).output();
	const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
	return { code, stdout: out!, stderr: problem! };
}

Deno.test("the package works from a URL, with empty caches, installed and compiled", async (t) => {
	const package_ = { entries: entryPoints(), files: await published(), config: configPath() };
	const model = `${root}/models/box`;
	const text = "Friends, the union is strong.";
	await withServer(root, package_, ({ url, loaded }) =>
		inDirectory(async (directory) => {
			const folder = `${directory}/empty`;
			await Deno.mkdir(folder);
			// What is compiled computes slowly and is compiled quickly.
			await Deno.writeTextFile(`${directory}/g++`, '#!/bin/sh\nexec ${REAL_CXX} "$@" -O0\n');
			await Deno.chmod(`${directory}/g++`, 0o755);
			const env = {
				OUTLIERSCOPE_CACHE: `${directory}/cache`,
				OUTLIERSCOPE_DEVICE: "host",
				REAL_CXX: Deno.env.get("CXX") || "g++",
				CXX: `${directory}/g++`,
				PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH")}`,
			};
			const deno = (...args: string[]) => run(folder, Deno.execPath(), args, env);
			const analysis = (out: string) => [
				...["analyze", "--model", model, "--text", text, "--tau", "25"],
				...["--out", `${directory}/${out}`],
			];
			const assertAnalyzed = (run: Run, out: string) => {
				assertEquals(run.code, 0, run.stderr);
				assertMatch(run.stdout, /^Outliers found in hidden states and down-projection inputs/);
				assert(Deno.statSync(`${directory}/${out}/report.html`).size > 0);
				assert(!run.stderr.includes("First use"), "it built again what was there");
				assertEquals([...Deno.readDirSync(folder)], []);
			};

			await t.step("the library builds the host driver and finds outliers", async () => {
				await Deno.writeTextFile(
					`${directory}/main.ts`,
					`import { detectOutliers, loadModel } from "${url}/mod.ts";
          using model = await loadModel(${JSON.stringify(model)});
          const { summary } = await detectOutliers(model, { texts: ["${text}"], tau: 25 });
          console.log(model.device.kind, summary.hiddenState.features.length);`,
				);
				const found = await deno("run", "-A", "--quiet", "--no-config", `${directory}/main.ts`);
				assertEquals(found, { code: 0, stdout: "host 2\n", stderr: "" });
				assert(loaded.has("mod.ts") && loaded.has("src/host/driver/memory.cpp"));
				const kept = [...Deno.readDirSync(env.OUTLIERSCOPE_CACHE)].map(({ name }) => name);
				assertMatch(kept.sort().join(" "), /^host-driver-\w+\.so kernels$/);
				assertEquals([...Deno.readDirSync(folder)], []);
			});

			await t.step("the command runs from its URL", async () => {
				const args = ["run", "-A", "--quiet", "--no-config", `${url}/cli.ts`, ...analysis("run")];
				assertAnalyzed(await deno(...args), "run");
			});

			await t.step("the command can be installed", async () => {
				const root = ["--root", `${directory}/installed`, "--name", "outlierscope"];
				const { code, stderr } = await deno(
					...["install", "--global", "-A", "--quiet", "--no-config", ...root, `${url}/cli.ts`],
				);
				assertEquals(code, 0, stderr);
				const command = `${directory}/installed/bin/outlierscope`;
				assertStringIncludes((await run(folder, command, ["--help"], env)).stdout, "analyze");
				assertAnalyzed(await run(folder, command, analysis("installed_out"), env), "installed_out");
			});

			// `deno compile` joins the modules with a runtime that Deno downloads. Without one here, its own
			// program takes the place: what was joined is seen, but does not run.
			const runtime = Deno.env.get("DENORT_BIN") ||
				await isThere(`${await denoDirectory()}/dl/release/v${Deno.version.deno}`);
			await t.step("the command can be compiled", async () => {
				const { code, stderr } = await run(
					folder,
					Deno.execPath(),
					[
						"compile",
						"-A",
						"--no-check",
						"--no-config",
						"--output",
						`${directory}/compiled`,
						`${url}/cli.ts`,
					],
					runtime ? env : { ...env, DENORT_BIN: Deno.execPath() },
				);
				assertEquals(code, 0, stderr);
				assert(Deno.statSync(`${directory}/compiled`).size > 2 ** 20);
			});
			await t.step({
				name: "the compiled command runs",
				ignore: !runtime,
				fn: async () => {
					const command = `${directory}/compiled`;
					assertStringIncludes((await run(folder, command, ["--help"], env)).stdout, "analyze");
					assertAnalyzed(await run(folder, command, analysis("compiled_out"), env), "compiled_out");
				},
			});
		}));
});

/** Runs `examples/detect.ts` of a planted package from its URL in an empty directory. */
async function runPlanted(
	files: Record<string, string>,
): Promise<Run & { loaded: string[]; left: string[] }> {
	const base = await Deno.realPath(await Deno.makeTempDir({ prefix: "outlierscope_package_" }));
	try {
		for (const [path, text] of Object.entries(files)) {
			await Deno.mkdir(`${base}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
			await Deno.writeTextFile(`${base}/${path}`, text);
		}
		const entry = "examples/detect.ts";
		const planted = { entries: [entry], files: Object.keys(files), config: `${base}/deno.json` };
		let result!: Awaited<ReturnType<typeof runPlanted>>;
		await withServer(base, planted, ({ url, loaded }) =>
			inDirectory(async (directory) => {
				const args = ["run", "-A", "--quiet", "--no-config", `${url}/${entry}`];
				result = {
					...await run(directory, Deno.execPath(), args),
					loaded: [...loaded].sort(),
					left: [...Deno.readDirSync(directory)].map(({ name }) => name),
				};
			}));
		return result;
	} finally {
		await Deno.remove(base, { recursive: true });
	}
}

const PLANTED = {
	"deno.json": await Deno.readTextFile(`${root}/.offline.deno.json`).then((text) => {
		const { imports } = JSON.parse(text);
		return JSON.stringify({ imports: { ...imports, helper: "./src/helper.ts" } });
	}),
	"examples/detect.ts": `import { gguf, kernel } from "../mod.ts";\nconsole.log(gguf, kernel);\n`,
	"mod.ts": `export * from "./src/é.ts"; export { kernel } from 'helper';\n`,
	"src/helper.ts": `import kernel from "./k.cu" with { type: "text" };\nexport { kernel };\n`,
	"src/é.ts": `import * as all from "@huggingface/gguf";
    const again = await import("@huggingface/gguf");
    export const gguf: string = typeof all.gguf + typeof again.gguf;\n`,
	"src/k.cu": "__global__",
};

Deno.test("a package of text imports and bare specifiers runs from a URL", async () => {
	const run = await runPlanted(PLANTED);
	assertEquals(run, {
		code: 0,
		stdout: "functionfunction __global__\n",
		stderr: "",
		loaded: ["examples/detect.ts", "mod.ts", "src/helper.ts", "src/k.cu", "src/é.ts"],
		left: [],
	});
});

Deno.test("a package that looks for a file beside its module does not run from a URL", async () => {
	const run = await runPlanted({
		...PLANTED,
		"src/helper.ts":
			`export const kernel = Deno.readTextFileSync(new URL("./k.cu", import.meta.url));\n`,
	});
	assertEquals(run.code, 1);
	assertMatch(run.stderr, /file URL/i);
});
