// Holds the rules of this repository's house: imports point one way, the published module reaches only
// `src/`, files are small, named in snake_case, open with what they are for, and are mirrored by tests.
// Each rule is a function of a listing, so that planted violations show that it can fail.

import { assertEquals, assertMatch } from "@std/assert";
import { type Import, readImports } from "../tools/imports.ts";
import { configPath, listFiles, projectFiles, root, toFileUrl } from "../tools/project.ts";

/** Each may import itself and those before it. */
const LAYERS = [
	"deno.json",
	"src/ffi/",
	"src/host/",
	"src/cuda/",
	"src/parallel/",
	"src/tensor/",
	"src/formats/",
	"src/nn/",
	"src/outliers/",
	"src/doctor/",
	"mod.ts",
	"src/cli/",
	"cli.ts",
];

/** Files of `src/`, or folders of them, without a test file of their own, and why. */
const NOT_MIRRORED: Record<string, string> = {
	"src/cli/": "tested by tests/cli_test.ts, as people use it",
	"src/doctor/examination.ts": "types, and a line that examine_test.ts holds",
	"src/doctor/self_test/":
		"references: run by the tests of the kernels, of products and of the self-test",
	"src/formats/bpe.ts": "tested through the tokenizer",
	"src/formats/checkpoint.ts": "tested by every format",
	"src/formats/file_error.ts": "tested by every format",
	"src/formats/local_file.ts": "tested through the formats that it opens files for",
	"src/formats/safetensors_header.ts": "tested by safetensors_test.ts",
	"src/formats/pretokenize.ts": "tested through the tokenizer",
	"src/formats/sharded.ts": "tested by tests/nn/load_test.ts",
	"src/formats/stored_numbers.ts": "tested through the checkpoints",
	"src/formats/zip.ts": "tested by pytorch_checkpoint_test.ts",
	"src/formats/pickle.ts": "tested by pytorch_checkpoint_test.ts",
	"src/formats/token_text.ts": "tested through the tokenizers",
	"src/formats/tokenizer.ts": "types",
	"src/host/clean_up.ts": "tested by the command's test of Ctrl-C",
	"src/tensor/mod.ts": "tested by tests/entry_points_test.ts",
	"src/formats/mod.ts": "tested by tests/entry_points_test.ts",
	"src/nn/mod.ts": "tested by tests/entry_points_test.ts",
	"src/outliers/mod.ts": "tested by tests/entry_points_test.ts",
	"src/ffi/c_types.ts": "names for Deno's spelling of C types",
	"src/ffi/cublas_symbols.ts": "a table: opened in tests/host/open_test.ts, called in gemm_test.ts",
	"src/ffi/cudnn_symbols.ts":
		"a table: opened in tests/host/open_test.ts, called in softmax_test.ts",
	"src/ffi/driver_symbols.ts":
		"a table: opened in tests/host/open_test.ts, called in tests/host/driver/",
	"src/ffi/nccl_symbols.ts": "a table: opened and called in tests/parallel/process_group_test.ts",
	"src/ffi/nvrtc_symbols.ts":
		"a table: opened in tests/host/open_test.ts and tests/nvidia/nvrtc.ts",
	"src/host/driver/abi.h": "types and codes, compared with NVIDIA's in tests/nvidia/",
	"src/host/driver/host.h": "declarations of what the .cpp files beside it define",
	"src/host/driver/kernel.h": "wraps each kernel: module_test.ts and tests/cuda/kernel_test.ts",
	"src/host/driver/kernel_entry.h": "structs that kernel.h fills and module.cpp reads",
	"src/host/driver/nccl.cpp":
		"tested by tests/parallel/process_group_test.ts, in several processes",
	"src/host/driver/onednn.h": "what blas_test.ts and the tests of softmax compute by",
	"src/host/build_nccl.ts": "tested by tests/parallel/process_group_test.ts",
	"src/cuda/communicator.ts": "tested by tests/parallel/process_group_test.ts",
	"src/parallel/channel.ts": "tested by tests/parallel/process_group_test.ts",
	"src/nn/training/gradient_exchange.ts": "tested by data_parallel_test.ts",
	"src/nn/training/sharded_optimizer.ts": "tested by data_parallel_test.ts",
	"src/outliers/average.ts": "tested by all that averages",
	"src/nn/training/failure.ts": "tested by trainer_test.ts",
	"src/nn/training/trainable.ts": "holds types only",
	"src/nn/optim/optimizer.ts": "tested through the optimizers",
	"src/nn/optim/tensor_table.ts": "tested by optimizer_test.ts of the kernels, which it is for",
	"src/nn/attend.ts": "tested by models/families_test.ts",
	"src/nn/orthogonal.ts": "tested by build_test.ts",
	"src/nn/attention/attention.ts": "types",
	"src/nn/attention/attention_bias.ts": "tested by variants_test.ts",
	"src/nn/attention/beside.ts": "tested by variants_test.ts",
	"src/nn/attention/clipped_softmax.ts": "tested by variants_test.ts",
	"src/nn/attention/composed.ts": "tested by variants_test.ts",
	"src/nn/attention/context_bias.ts": "tested by variants_test.ts",
	"src/nn/attention/context_scaling.ts": "tested by variants_test.ts",
	"src/nn/attention/fixed_bias.ts": "tested by variants_test.ts",
	"src/nn/attention/gated_output.ts": "tested by variants_test.ts",
	"src/nn/attention/gates.ts": "tested by variants_test.ts",
	"src/nn/attention/key_bias.ts": "tested by variants_test.ts",
	"src/nn/attention/learned_key.ts": "tested by variants_test.ts",
	"src/nn/attention/learned_sink.ts": "tested by variants_test.ts",
	"src/nn/attention/qwen_gate.ts": "tested by variants_test.ts",
	"src/nn/attention/registry.ts": "tested by variants_test.ts",
	"src/nn/attention/rows.ts": "tested by variants_test.ts",
	"src/nn/attention/sigmoid.ts": "tested by variants_test.ts",
	"src/nn/attention/softmax.ts": "tested by variants_test.ts",
	"src/nn/attention/softmax_n.ts": "tested by variants_test.ts",
	"src/nn/attention/softpick.ts": "tested by variants_test.ts",
	"src/nn/attention/value_bias.ts": "tested by variants_test.ts",
	"src/nn/attention/value_gate.ts": "tested by variants_test.ts",
	"src/nn/block.ts": "tested by models/families_test.ts, in each of its forms",
	"src/nn/checkpoint_weights.ts": "tested by models/llama_test.ts and families_test.ts",
	"src/nn/changed_weights.ts": "tested by tests/outliers/nulls_test.ts",
	"src/nn/config.ts": "tested by models/families_test.ts: what goes together and what does not",
	"src/nn/experts.ts": "tested by models/families_test.ts, with Mixtral",
	"src/nn/family.ts": "holds types only",
	"src/nn/generation_config.ts": "tested by generate_test.ts",
	"src/nn/key_value_cache.ts": "tested by generate_test.ts",
	"src/nn/mlp.ts": "tested by models/families_test.ts",
	"src/nn/models/": "tested by models/families_test.ts and llama_test.ts, build_test.ts",
	"src/nn/parameters.ts": "tested by build_test.ts and models/families_test.ts",
	"src/nn/project.ts": "tested by models/families_test.ts",
	"src/nn/resident_weights.ts": "tested by models/families_test.ts and build_test.ts",
	"src/nn/rotary_scaling.ts": "tested by models/families_test.ts, with LLaMA's scalings",
	"src/nn/run.ts": "tested by models/llama_test.ts, as what probes get",
	"src/nn/weight_set.ts": "tested by models/families_test.ts",
	"src/nn/weight_taps.ts": "tested by models/llama_test.ts",
	"src/nn/weights.ts": "holds types only",
	"src/outliers/analysis.ts": "holds types only",
	"src/outliers/detectors/": "tested by tests/outliers/detectors_test.ts, all of them",
	"src/outliers/compression/matrices.ts": "tested by absmax_test.ts and prune_test.ts",
	"src/outliers/experiment/figures.ts": "tested by write_test.ts",
	"src/outliers/experiment/maps_figure.ts": "tested by write_test.ts",
	"src/outliers/experiment/page.ts": "tested by write_test.ts",
	"src/outliers/experiment/piece.ts": "tested by experiment_test.ts",
	"src/outliers/experiment/setting.ts": "tested by experiment_test.ts",
	"src/outliers/experiment/spread.ts": "tested by write_test.ts",
	"src/outliers/pass.ts": "tested by detect_test.ts",
	"src/outliers/positions/activations.ts": "tested by find_positions_test.ts, against NumPy",
	"src/outliers/positions/attention.ts": "tested by find_positions_test.ts, against NumPy",
	"src/outliers/positions/heads.ts": "tested by find_positions_test.ts, against NumPy",
	"src/outliers/positions/spread.ts": "tested by find_positions_test.ts, against NumPy",
	"src/outliers/positions/tokens.ts": "tested by find_positions_test.ts, against NumPy",
	"src/outliers/positions/weights.ts": "tested by find_positions_test.ts, against NumPy",
	"src/outliers/interventions/downstream.ts": "tested by ablate_test.ts and trace_spread_test.ts",
	"src/outliers/interventions/edit.ts": "tested by ablate_test.ts",
	"src/outliers/interventions/selection.ts": "tested by ablate_test.ts",
	"src/outliers/lifecycle/alignment.ts": "tested by trace_spread_test.ts",
	"src/outliers/lifecycle/kept_taps.ts": "tested by the traces",
	"src/outliers/lifecycle/ledger.ts": "tested by trace_mlp_layers_test.ts",
	"src/outliers/lifecycle/mlp_parts.ts": "tested by trace_mlp_layers_test.ts",
	"src/outliers/lifecycle/surface.ts": "tested by the traces",
	"src/outliers/report/activation_figures.ts": "tested by figures_test.ts",
	"src/outliers/report/attention_figures.ts": "tested by figures_test.ts",
	"src/outliers/report/cause_figures.ts": "tested by laboratory_page_test.ts",
	"src/outliers/report/comparison_figures.ts": "tested by laboratory_page_test.ts",
	"src/outliers/report/existence_figures.ts": "tested by laboratory_page_test.ts",
	"src/outliers/report/lifecycle_figures.ts": "tested by laboratory_page_test.ts",
	"src/outliers/report/marks.ts": "tested by laboratory_page_test.ts",
	"src/outliers/report/position_figures.ts": "tested by laboratory_page_test.ts",
	"src/outliers/report/chart.ts": "tested by figures_test.ts",
	"src/outliers/report/heat_map.ts": "tested by figures_test.ts",
	"src/outliers/report/tables.ts": "tested by page_test.ts",
	"src/outliers/report/weight_figures.ts": "tested by figures_test.ts",
	"src/outliers/report/words.ts": "tested by page_test.ts",
	"src/tensor/contiguous.ts": "tested by views_test.ts, whose strides it copies from and to",
	"src/tensor/strides.ts": "tested through tensors and views",
	"src/tensor/rank.ts": "types, held by types_test.ts",
	"src/cuda/kernels/compare.cu": "tested by binary_test.ts",
	"src/cuda/kernels/dequantize_grid.cu": "tested by dequantize_test.ts",
	"src/cuda/kernels/dequantize_i.cu": "tested by dequantize_test.ts",
	"src/cuda/kernels/dequantize_k.cu": "tested by dequantize_test.ts",
	"src/cuda/kernels/grids.cuh": "tested by dequantize_test.ts",
	"src/cuda/kernels/functions.cuh": "tested by unary_test.ts, activation_test.ts and gated_test.ts",
	"src/cuda/kernels/select.cu": "tested by binary_test.ts",
	"src/cuda/kernels/strided.cuh": "tested by binary_test.ts",
	"src/tensor/elementwise.ts": "launches for unary.ts, arithmetic.ts, compare.ts and where.ts",
	"src/tensor/dtype.ts": "a table; tests/tensor/tensor_test.ts takes every dtype there and back",
};

const SOURCE = /\.(ts|cu|cuh|cpp|cc|c|hpp|h)$/;
const LONGEST = 500; // lines

interface House {
	/** Where the files are: an absolute path. */
	base: string;
	/** Paths relative to `base`. */
	files: string[];
	read: (path: string) => string;
}

function house(base: string, files: string[]): House {
	return { base, files, read: (path) => Deno.readTextFileSync(`${base}/${path}`) };
}

const isModule = (path: string) => path.endsWith(".ts") && !path.startsWith("tests/fixtures/");
const isPublished = (path: string) => isModule(path) && LAYERS.some((l) => path.startsWith(l));

/** The command may use what the library may not. */
const isCommand = (path: string) => path === "cli.ts" || path.startsWith("src/cli/");

/** Imports against the order of the layers, and out of `src/`. */
async function checkLayers({ base, files }: House): Promise<string[]> {
	const from = files.filter((path) => isPublished(path) || path.startsWith("src/"));
	const imports = await readImports(
		from.filter(isModule).map((path) => `${base}/${path}`),
		configPath(),
	);
	const layerOf = (path: string) => LAYERS.findIndex((layer) => path.startsWith(layer));
	const problems: string[] = [];
	for (const path of from) {
		if (layerOf(path) < 0) problems.push(`${path} is in none of ${LAYERS.join(", ")}`);
	}
	for (const [module, found] of imports) {
		const path = relative(base, module);
		if (path === undefined || layerOf(path) < 0) continue;
		for (const { specifier, target } of found) {
			const to = target && relative(base, target);
			if (target === undefined) {
				problems.push(`${path} imports ${specifier}, which resolves to nothing`);
			} else if (to === undefined) {
				const known = /^(npm|node):/.test(target) ||
					(isCommand(path) && (target.startsWith("jsr:") || specifier.startsWith("@std/")));
				if (!known) problems.push(`${path} imports ${specifier}, which is neither here nor npm`);
			} else if (isCommand(path) && specifier.startsWith("@std/")) continue;
			else if (layerOf(to) < 0) problems.push(`${path} imports ${to}, which is not published`);
			else if (layerOf(to) > layerOf(path)) {
				problems.push(`${path} imports ${to}, but ${LAYERS[layerOf(to)]} is below it`);
			}
		}
	}
	return problems;
}

/** The path below `base` that a `file:` URL names, if it does. */
function relative(base: string, url: string): string | undefined {
	const start = `${toFileUrl(base)}/`;
	return url.startsWith(start) ? decodeURIComponent(url.slice(start.length)) : undefined;
}

/** Text imports of what is not text, and files that are opened beside the module. */
async function checkTextImports({ base, files, read }: House): Promise<string[]> {
	const published = files.filter(isPublished);
	const imports = await readImports(published.map((path) => `${base}/${path}`), configPath());
	const problems: string[] = [];
	for (const path of published) {
		for (const { specifier, kind } of imports.get(toFileUrl(`${base}/${path}`)) ?? [] as Import[]) {
			if (/\.(cu|cuh|cpp|cc|hpp|h|txt|css|html)$/.test(specifier) && kind !== "text") {
				problems.push(`${path} imports ${specifier} without { type: "text" }`);
			}
		}
		if (/import\.meta\.(dirname|filename)|new URL\([^)]*import\.meta\.url/.test(read(path))) {
			problems.push(`${path} looks for a file beside itself, which a remote module does not have`);
		}
	}
	return problems;
}

/** Sources without a test in the same place of `tests/`, and reasons that are out of date. */
function checkMirror({ files }: House, exceptions: Record<string, string>): string[] {
	const all = new Set(files);
	const sources = files.filter((path) => path.startsWith("src/") && SOURCE.test(path));
	const mirror = (path: string) => path.replace(/^src\//, "tests/").replace(SOURCE, "_test.ts");
	const covers = (exception: string, path: string) =>
		exception.endsWith("/") ? path.startsWith(exception) : path === exception;
	const problems: string[] = [];
	for (const path of sources) {
		if (all.has(mirror(path))) continue;
		if (Object.keys(exceptions).some((exception) => covers(exception, path))) continue;
		problems.push(`${path} has no ${mirror(path)}, nor a reason in NOT_MIRRORED`);
	}
	for (const exception of Object.keys(exceptions)) {
		const covered = sources.filter((path) => covers(exception, path));
		if (covered.every((path) => all.has(mirror(path)))) {
			problems.push(`NOT_MIRRORED lists ${exception}, which needs no exception`);
		}
	}
	return problems;
}

/** Files over 500 lines whose head does not say why ("500 lines" in the opening comment). */
function checkLength({ files, read }: House): string[] {
	const problems: string[] = [];
	for (const path of files.filter((path) => SOURCE.test(path))) {
		const text = read(path);
		const lines = text.split("\n").length - 1;
		if (lines > LONGEST && !opening(text).includes(`${LONGEST} lines`)) {
			problems.push(`${path} has ${lines} lines: split it, or say at its head why over 500 lines`);
		}
	}
	return problems;
}

/** The comment that a file opens with. */
function opening(text: string): string {
	return text.match(/^(?:(?:#!.*|\/\/.*|#.*)\n)+|^\/\*[^]*?\*\//)?.[0] ?? "";
}

/** Sources that do not open with a comment, and names that are not snake_case. */
function checkHeadsAndNames({ files, read }: House): string[] {
	const problems: string[] = [];
	for (const path of files.filter((path) => SOURCE.test(path))) {
		if (opening(read(path)) === "") {
			problems.push(`${path} does not open with a comment that says what it is for`);
		}
		if (!/^([a-z0-9_]+\/)*[a-z][a-z0-9_]*(\.d)?\.[a-z]+$/.test(path)) {
			problems.push(`${path} is not named in snake_case`);
		}
	}
	return problems;
}

/** Statements of `mod.ts`, and of each folder's own, other than re-exports. */
function checkModule({ files, read }: House): string[] {
	if (!files.includes("mod.ts")) return ["mod.ts is not there"];
	return files.filter((path) => /^(src\/.*\/)?mod\.ts$/.test(path)).flatMap((path) => {
		const rest = read(path)
			.replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "")
			.replace(
				/export\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s*"[^"]*"\s*;/g,
				"",
			)
			.trim();
		return rest === "" ? [] : [`${path} does more than re-export: ${rest.split("\n")[0]}`];
	});
}

const project = house(
	root,
	(await projectFiles()).filter((path) => SOURCE.test(path) && !path.startsWith("tests/fixtures/")),
);

const rules: Record<string, (house: House) => string[] | Promise<string[]>> = {
	"imports point upwards and stay within src/": checkLayers,
	"files that modules need are text imports": checkTextImports,
	"tests mirror src/": (house) => checkMirror(house, NOT_MIRRORED),
	"no source is over 500 lines without a reason": checkLength,
	"sources say what they are for and are named in snake_case": checkHeadsAndNames,
	"entry points only re-export": checkModule,
};
for (const [name, check] of Object.entries(rules)) {
	Deno.test(name, async () => assertEquals(await check(project), []));
}

/** Writes `files` into a new directory and returns what `check` finds there. */
async function plant(
	files: Record<string, string>,
	check: (house: House) => string[] | Promise<string[]>,
): Promise<string[]> {
	const base = await Deno.realPath(await Deno.makeTempDir({ prefix: "outlierscope_house_" }));
	try {
		for (const [path, text] of Object.entries(files)) {
			await Deno.mkdir(`${base}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
			await Deno.writeTextFile(`${base}/${path}`, text);
		}
		return await check(house(base, listFiles(base, ".")));
	} finally {
		await Deno.remove(base, { recursive: true });
	}
}

Deno.test("each kind of import against the layers is found", async () => {
	const upper = "export const x = 1;\nexport type X = number;\n";
	const forms = [
		`import { x } from "../tensor/t.ts";\nconsole.log(x);`,
		`import type { X } from "../tensor/t.ts";\nexport const y: X = 1;`,
		`export * from "../tensor/t.ts";`,
		`export { x as z } from '../tensor/t.ts';`,
		`await import("../tensor/t.ts");`,
		`import /* { */ "../tensor/t.ts";`,
		`import "../tensor/t.ts" with { type: "text" };`,
		`export type Y = import("../tensor/t.ts").X;`,
	];
	for (const form of forms) {
		const problems = await plant({ "src/ffi/f.ts": form, "src/tensor/t.ts": upper }, checkLayers);
		assertEquals(problems, [
			"src/ffi/f.ts imports src/tensor/t.ts, but src/tensor/ is below it",
		], form);
	}
	assertEquals(
		await plant({
			"src/ffi/f.ts": `// import "../tensor/t.ts";\nexport const s = 'import "../tensor/t.ts"';`,
			"src/tensor/t.ts": `import "../ffi/f.ts";\nimport "./u.ts";\nimport "node:fs";`,
			"src/tensor/u.ts": upper,
			"mod.ts": `export * from "./src/tensor/t.ts";`,
			"cli.ts": `import "./mod.ts";`,
		}, checkLayers),
		[],
	);
});

Deno.test("imports out of the published folders are found", async () => {
	const problems = await plant({
		"tools/t.ts": "",
		"src/nn/a.ts": `import "../../tools/t.ts";`,
		"src/nn/b.ts": `import "jsr:@std/assert@1";`,
		"src/nn/c.ts": `import "https://127.0.0.1:1/x.ts";`,
		"src/nn/d.ts": `import "no-such-name";`,
		"src/nn/e.ts": `import "../../mod.ts";`,
		"src/odd/f.ts": "",
		"mod.ts": `import "./cli.ts";`,
		"cli.ts": "",
	}, checkLayers);
	assertEquals(problems.length, 7);
	assertMatch(problems.join("\n"), /src\/odd\/f\.ts is in none of/);
	assertMatch(problems.join("\n"), /a\.ts imports tools\/t\.ts, which is not published/);
	assertMatch(problems.join("\n"), /b\.ts imports jsr:@std\/assert@1, which is neither/);
	assertMatch(
		problems.join("\n"),
		/c\.ts imports https:\/\/127\.0\.0\.1:1\/x\.ts, which is neither/,
	);
	assertMatch(problems.join("\n"), /d\.ts imports no-such-name, which resolves to nothing/);
	assertMatch(problems.join("\n"), /e\.ts imports mod\.ts, but mod\.ts is below it/);
	assertMatch(problems.join("\n"), /mod\.ts imports cli\.ts, but cli\.ts is below it/);
});

Deno.test("files that are looked for beside the module are found", async () => {
	const problems = await plant({
		"src/cuda/a.ts": `Deno.readTextFileSync(new URL("./k.cu", import.meta.url));`,
		"src/cuda/b.ts": `console.log(import.meta.dirname);`,
		"src/cuda/c.ts": `import k from "./k.cu" with { type: "text" };\nconsole.log(k);`,
		"src/cuda/k.cu": "",
	}, checkTextImports);
	assertEquals(
		problems,
		["a", "b"].map((name) =>
			`src/cuda/${name}.ts looks for a file beside itself, which a remote module does not have`
		),
	);
});

Deno.test("sources without tests are found, and reasons that are out of date", () => {
	const files = [
		"src/nn/a.ts",
		"src/nn/b.ts",
		"src/nn/k/c.cu",
		"src/nn/k/d.cu",
		"tests/nn/a_test.ts",
	];
	const problems = checkMirror(house("", files), {
		"src/nn/k/": "covered elsewhere",
		"src/nn/a.ts": "has one by now",
		"src/nn/gone.ts": "is not there",
	});
	assertEquals(problems, [
		"src/nn/b.ts has no tests/nn/b_test.ts, nor a reason in NOT_MIRRORED",
		"NOT_MIRRORED lists src/nn/a.ts, which needs no exception",
		"NOT_MIRRORED lists src/nn/gone.ts, which needs no exception",
	]);
});

Deno.test("long files, odd names and bare heads are found", () => {
	const long = "x;\n".repeat(499);
	const texts: Record<string, string> = {
		"src/a.ts": `// One line and 499.\n${long}`,
		"src/b.ts": `// Two lines\n// and 499.\n${long}`,
		"src/c.ts": `// Over 500 lines: a table has no\n// better place.\n${long}`,
		"src/D.ts": "// A name.\n",
		"src/e-f.cu": "/* A name. */\n",
		"src/g.ts": "export {};\n// Too late.\n",
	};
	const planted: House = { base: "", files: Object.keys(texts), read: (path) => texts[path] };
	assertEquals(checkLength(planted), [
		"src/b.ts has 501 lines: split it, or say at its head why over 500 lines",
	]);
	assertEquals(checkHeadsAndNames(planted), [
		"src/D.ts is not named in snake_case",
		"src/e-f.cu is not named in snake_case",
		"src/g.ts does not open with a comment that says what it is for",
	]);
});

Deno.test("a mod.ts that does more than re-export is found", () => {
	const check = (text: string, path = "mod.ts") =>
		checkModule({
			base: "",
			files: [...new Set(["mod.ts", path])],
			read: (file) => file === path ? text : "",
		});
	const good = `// For.\n/** Docs: export const. */\nexport * from "./a.ts";
    export { type A, b } from "./b.ts";\nexport type { C } from "./c.ts";\nexport * as d from "./d.ts";`;
	assertEquals(check(good), []);
	assertEquals(check(`${good}\nexport const x = 1;`), [
		"mod.ts does more than re-export: export const x = 1;",
	]);
	assertEquals(check("export const x = 1;", "src/nn/mod.ts"), [
		"src/nn/mod.ts does more than re-export: export const x = 1;",
	]);
	assertEquals(checkModule(house("", [])), ["mod.ts is not there"]);
});
