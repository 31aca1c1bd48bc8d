// Prepares the PyTorch side: a Python with its packages, and the model's dequantized weights as
// safetensors, which transformers loads far quicker than the Python reader of GGUF files.

import { cacheDirectory } from "../../src/host/cache_directory.ts";

const PACKAGES = [
	"torch==2.13.0",
	"transformers==5.23.0",
	"gguf==0.19.0",
	"tokenizers==0.23.3",
	"numpy==2.4.6",
];

async function run(command: string, args: string[]): Promise<void> {
	const { success, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
	if (success) return;
	const messages = new TextDecoder().decode(stderr).trimEnd().split("\n").slice(-10).join("\n");
	throw new Error(`This failed: ${command} ${args.join(" ")}\n${messages}`);
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

/** A Python that can run bench/analyze_pytorch.py: the given one, or one made in the cache. */
export async function preparePython(given: string | undefined): Promise<string> {
	const chosen = given ?? Deno.env.get("OUTLIERSCOPE_PYTORCH");
	if (chosen) {
		await run(chosen, ["-c", "import gguf, torch, transformers"]);
		return chosen;
	}
	const folder = `${cacheDirectory()}/bench/pytorch`;
	const complete = `${folder}/complete`; // written last: an interrupted installation starts anew
	const python = `${folder}/bin/python`;
	if (await exists(complete)) return python;
	console.error(`Installing ${PACKAGES.join(", ")} by pip into ${folder} (some GB)`);
	await run("python3", ["-m", "venv", "--clear", folder]);
	await run(python, ["-m", "pip", "install", "--quiet", ...PACKAGES]);
	await Deno.writeTextFile(complete, PACKAGES.join("\n") + "\n");
	return python;
}

/** The folder with the model's weights as safetensors of this type, written there unless it is. */
export async function saveSafetensors(
	python: string,
	script: string,
	model: string,
	dtype: string,
): Promise<string> {
	const folder = `${cacheDirectory()}/bench/smollm2-${dtype}`;
	if (await exists(`${folder}/model.safetensors`)) return folder;
	console.error(`Writing the model as ${dtype} safetensors into ${folder}`);
	const temporary = `${folder}.${Deno.pid}`;
	try {
		await run(python, [script, "--save", temporary, "--dtype", dtype, model]);
		await Deno.rename(temporary, folder);
	} finally {
		await Deno.remove(temporary, { recursive: true }).catch(() => {});
	}
	return folder;
}
