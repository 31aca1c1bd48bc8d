// The notebook in examples/ runs from start to end in Deno's own kernel, driven by Jupyter's client, and its results
// show themselves.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { cacheDirectory } from "../src/host/cache_directory.ts";
import { root } from "../tools/project.ts";

interface Cell {
	cell_type: string;
	source: string;
	outputs?: { output_type: string; data: Record<string, string> }[];
}

/** Runs a notebook with a kernel that no other user of this machine sees. */
async function execute(path: string): Promise<{ code: number; stdout: string; stderr: string }> {
	const folder = await Deno.makeTempDir({ prefix: "outlierscope_jupyter_" });
	try {
		await Deno.mkdir(`${folder}/kernels/deno`, { recursive: true });
		const argv = [Deno.execPath(), "jupyter", "--kernel", "--conn", "{connection_file}"];
		const kernel = { argv, display_name: "Deno", language: "typescript" };
		await Deno.writeTextFile(`${folder}/kernels/deno/kernel.json`, JSON.stringify(kernel));
		const { code, stdout, stderr } = await new Deno.Command("python3", {
			args: [`${root}/tools/notebook/execute.py`, path],
			cwd: `${root}/examples`,
			env: {
				PYTHONPATH: `${cacheDirectory()}/jupyter`,
				JUPYTER_PATH: folder,
				JUPYTER_DATA_DIR: `${folder}/data`,
				JUPYTER_CONFIG_DIR: `${folder}/config`,
				JUPYTER_RUNTIME_DIR: `${folder}/runtime`,
			},
			stdin: "null",
		}).output();
		const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
		return { code, stdout: decode(stdout), stderr: decode(stderr) };
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
}

Deno.test("the laboratory's notebook runs from start to end, and shows figures and tables", async () => {
	const { code, stdout, stderr } = await execute("laboratory.ipynb");
	assertEquals(code, 0, stderr);
	const cells: Cell[] = JSON.parse(stdout).cells.filter((cell: Cell) => cell.cell_type === "code");
	const shown = cells.map(({ outputs }) => outputs!.map(({ data }) => data));
	for (const [i, outputs] of shown.entries()) assertEquals(outputs.length, 1, cells[i].source);
	const [model, analysis, top, trace, causes, tensor, own] = shown.map(([data]) => data!);
	assertMatch(model["text/plain"]!, /^family +layers +heads/);
	assertStringIncludes(analysis["text/plain"]!, "Outliers found in hidden states");
	assertMatch(analysis["image/svg+xml"]!, /^<svg /);
	assert(!("image/svg+xml" in trace) && trace["text/html"]!.split("<svg ").length === 3);
	for (const table of [top, causes, own]) assertStringIncludes(table["text/html"]!, "<table>");
	assertMatch(tensor["text/plain"]!, /^Tensor float32 \[6, 9\] on \w+\n\[\[/);
	assertMatch(tensor["text/html"]!, /<table .*rgba\(/);
	// It is kept without outputs, which would grow old.
	const kept = JSON.parse(await Deno.readTextFile(`${root}/examples/laboratory.ipynb`));
	assert(kept.cells.every(({ outputs = [] }: Cell) => outputs.length === 0));
});

Deno.test("a notebook whose cell fails is told with the error's words", async () => {
	const path = await Deno.makeTempFile({ suffix: ".ipynb" });
	try {
		const cell = { cell_type: "code", execution_count: null, id: "a", metadata: {}, outputs: [] };
		await Deno.writeTextFile(
			path,
			JSON.stringify({
				cells: [{ ...cell, source: 'throw new RangeError("planted")' }],
				metadata: { kernelspec: { display_name: "Deno", language: "typescript", name: "deno" } },
				nbformat: 4,
				nbformat_minor: 5,
			}),
		);
		const { code, stderr } = await execute(path);
		assert(code !== 0);
		assertStringIncludes(stderr, "RangeError: planted");
	} finally {
		await Deno.remove(path);
	}
});
