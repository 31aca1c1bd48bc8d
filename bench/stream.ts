// Measures the analysis of a checkpoint that is larger than the memory it is given: a made-up LLaMA with the layers
// of LLaMA2-7B, as many as --layers says (405 MB each), streamed from shards. Beside it, in the same run: reading the
// files alone, and computing alone, with one layer's weights for all layers. Run it on an idle machine.
//
//     ./dev bench stream [--layers N] [--tokens T] [--sequences N] [--rounds N] [--folder DIR]

import { parseArgs } from "@std/cli/parse-args";
import { loadModel, type Transformer } from "../mod.ts";
import { formatSpread, markdownTable, spread } from "./support/spread.ts";

const flags = parseArgs(Deno.args, {
	string: ["layers", "tokens", "sequences", "rounds", "folder"],
	default: { layers: "8", tokens: "512", sequences: "1", rounds: "3" },
});
const LAYERS = Number(flags.layers), TOKENS = Number(flags.tokens);
const SEQUENCES = Number(flags.sequences), ROUNDS = Number(flags.rounds);
const H = 4096, I = 11008, V = 512, HEADS = 32;
const SHAPES: Record<string, number[]> = {
	"input_layernorm": [H],
	"self_attn.q_proj": [H, H],
	"self_attn.k_proj": [H, H],
	"self_attn.v_proj": [H, H],
	"self_attn.o_proj": [H, H],
	"post_attention_layernorm": [H],
	"mlp.gate_proj": [I, H],
	"mlp.up_proj": [I, H],
	"mlp.down_proj": [H, I],
};
const elements = (shape: number[]) => shape.reduce((a, b) => a * b);
const LAYER_BYTES = 2 * Object.values(SHAPES).reduce((sum, shape) => sum + elements(shape), 0);

/** Writes bfloat16 numbers of about ±0.02, or 1 for gains, so that nothing overflows. */
async function writeShard(path: string, shapes: Record<string, number[]>): Promise<void> {
	const header: Record<string, unknown> = {};
	let end = 0;
	for (const [name, shape] of Object.entries(shapes)) {
		const begin = end;
		end += 2 * elements(shape);
		header[name] = { dtype: "BF16", shape, data_offsets: [begin, end] };
	}
	const json = new TextEncoder().encode(JSON.stringify(header));
	const text = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
	text.set(json);
	using file = await Deno.create(path);
	const write = async (bytes: Uint8Array) => {
		for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
	};
	await write(new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer));
	await write(text);
	for (const shape of Object.values(shapes)) {
		const numbers = new Uint16Array(elements(shape));
		if (shape.length === 1) numbers.fill(0x3f80);
		else {
			const bytes = new Uint8Array(numbers.buffer);
			for (let at = 0; at < bytes.length; at += 65536) {
				crypto.getRandomValues(bytes.subarray(at, at + 65536));
			}
			// Sign and mantissa as they came; the exponent of numbers from 2⁻⁶ to 2⁻⁵.
			for (let i = 0; i < numbers.length; i++) numbers[i] = (numbers[i]! & 0x807f) | 0x3c80;
		}
		await write(new Uint8Array(numbers.buffer));
	}
}

async function writeModel(folder: string): Promise<void> {
	const places: Record<string, string> = {};
	const shard = async (file: string, shapes: Record<string, number[]>) => {
		await writeShard(`${folder}/${file}`, shapes);
		for (const name of Object.keys(shapes)) places[name] = file;
	};
	await shard("rest.safetensors", {
		"model.embed_tokens.weight": [V, H],
		"model.norm.weight": [H],
	});
	for (let layer = 0; layer < LAYERS; layer++) {
		const named = Object.entries(SHAPES).map(([name, shape]) =>
			[`model.layers.${layer}.${name}.weight`, shape] as const
		);
		await shard(`layer-${layer}.safetensors`, Object.fromEntries(named));
		console.error(`wrote layer ${layer + 1} of ${LAYERS}`);
	}
	const settings = {
		model_type: "llama",
		hidden_size: H,
		intermediate_size: I,
		num_hidden_layers: LAYERS,
		num_attention_heads: HEADS,
		vocab_size: V,
		max_position_embeddings: 4096,
		tie_word_embeddings: true,
	};
	await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(settings));
	await Deno.writeTextFile(
		`${folder}/model.safetensors.index.json`,
		JSON.stringify({ weight_map: places }),
	);
}

/** Has the system forget what it read, where it lets us. */
function dropCaches(): boolean {
	try {
		new Deno.Command("sync").outputSync();
		Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "1");
		return true;
	} catch {
		return false;
	}
}

async function seconds(run: () => Promise<unknown> | unknown): Promise<number> {
	const begin = performance.now();
	await run();
	return (performance.now() - begin) / 1000;
}

async function forward(model: Transformer): Promise<void> {
	const sequences = Array.from(
		{ length: SEQUENCES },
		(_, s) => Array.from({ length: TOKENS }, (_, t) => (s * 31 + t * 7) % V),
	);
	for (const h of await model.forward(sequences, { dtype: "bfloat16" })) h.dispose();
	await model.device.synchronize();
}

function readFiles(folder: string): void {
	const buffer = new Uint8Array(2 ** 23);
	for (const { name } of Deno.readDirSync(folder)) {
		using file = Deno.openSync(`${folder}/${name}`);
		while (file.readSync(buffer));
	}
}

const folder = flags.folder ?? await Deno.makeTempDir({ prefix: "outlierscope_stream_" });
try {
	if (!flags.folder || ![...Deno.readDirSync(folder)].length) await writeModel(folder);
	// The same compute with weights that stay: a checkpoint whose layers are all the first one.
	const alone = await Deno.makeTempDir();
	const times: Record<string, number[]> = { reading: [], computing: [], streamed: [] };
	let cold = true, peak = 0;
	try {
		for (const file of ["config.json", "rest.safetensors", "layer-0.safetensors"]) {
			Deno.symlinkSync(`${folder}/${file}`, `${alone}/${file}`);
		}
		const one = JSON.parse(Deno.readTextFileSync(`${folder}/config.json`));
		Deno.removeSync(`${alone}/config.json`);
		Deno.writeTextFileSync(
			`${alone}/config.json`,
			JSON.stringify({ ...one, num_hidden_layers: 1 }),
		);
		const index = JSON.parse(Deno.readTextFileSync(`${folder}/model.safetensors.index.json`));
		const kept = Object.entries(index.weight_map).filter(([, file]) =>
			file === "rest.safetensors" || file === "layer-0.safetensors"
		);
		Deno.writeTextFileSync(
			`${alone}/model.safetensors.index.json`,
			JSON.stringify({ weight_map: Object.fromEntries(kept) }),
		);
		using resident = await loadModel(alone, { resident: "bfloat16" });
		await forward(resident); // kernels compile, products are prepared
		for (let round = 0; round < ROUNDS; round++) {
			cold &&= dropCaches();
			times.reading!.push(await seconds(() => readFiles(folder)));
			times.computing!.push(
				await seconds(async () => {
					for (let layer = 0; layer < LAYERS; layer++) await forward(resident);
				}),
			);
			cold &&= dropCaches();
			using model = await loadModel(folder);
			const { device } = model, before = device.liveBytes;
			device.resetPeak();
			times.streamed!.push(await seconds(() => forward(model)));
			peak = Math.max(peak, device.peakBytes - before);
			console.error(`round ${round + 1} of ${ROUNDS} done`);
		}
	} finally {
		await Deno.remove(alone, { recursive: true });
	}
	const larger = times.reading!.map((reading, i) => Math.max(reading, times.computing![i]!));
	const ratios = times.streamed!.map((streamed, i) => streamed / larger[i]!);
	console.log(
		`${LAYERS} layers of ${
			(LAYER_BYTES / 1e6).toFixed(0)
		} MB, ${SEQUENCES} × ${TOKENS} tokens, bfloat16; files ` +
			(cold ? "read from the disk" : "read from the system's cache"),
	);
	console.log(markdownTable(["what", "seconds"], [
		...Object.entries(times).map(([name, list]) => [name, formatSpread(spread(list))]),
		["streamed / the larger of both", formatSpread(spread(ratios))],
	]));
	console.log(`Peak memory of the device: ${(peak / LAYER_BYTES).toFixed(2)} layers`);
} finally {
	if (!flags.folder) await Deno.remove(folder, { recursive: true });
}
