// The experiment: the same Transformer trained with one attention after another, from the same first parameters, on
// the same data in the same order; and what their outliers are at equal steps and at equal loss.

import type { Attention, DataSource } from "../../nn/mod.ts";
import {
	finishedPiece,
	type PieceResult,
	runPiece,
	type StepMeasurement,
	writeWhole,
} from "./piece.ts";
import type { ExperimentSetting } from "./setting.ts";

/** Options of {@linkcode compareAttentions}. */
export interface CompareOptions {
	/** What all models have in common. */
	setting: ExperimentSetting;
	/** What they differ in; names must differ. */
	attentions: readonly Attention[];
	/** Seeds of parameters and data: how many runs each has. */
	seeds: readonly number[];
	/** The data of a seed. */
	data: (seed: number) => DataSource;
	/** A short text for activation maps: ids and texts of its tokens. @default the first 16 held-out symbols */
	sentence?: { ids: readonly number[]; texts: readonly string[] };
	/** Where it is kept: `results.json`, and a folder a run, in which an interrupted one goes on. */
	folder: string;
	/** Told after each update. */
	onProgress?: (progress: CompareProgress) => void;
	/** Stops after the update at hand, with a checkpoint. */
	signal?: AbortSignal;
}

/** How a comparison is going. */
export interface CompareProgress {
	/** The run at hand. */
	variant: string;
	/** The run at hand. */
	seed: number;
	/** Updates of this call, over all runs. */
	done: number;
	/** Updates that this call has to make. */
	total: number;
	/** Loss of the last batch. */
	loss: number;
}

/** A variant at the loss that every variant has reached. */
export interface AtEqualLoss extends StepMeasurement {
	/** The attention's name. */
	variant: string;
	/** The run. */
	seed: number;
}

/** What a comparison found. */
export interface CompareResults {
	/** Version of this format. */
	version: 1;
	/** When it was finished. */
	created: string;
	/** What all models had in common. */
	setting: ExperimentSetting;
	/** The data of the first seed. */
	data: string;
	/** Names, in order. */
	variants: string[];
	/** The seeds. */
	seeds: number[];
	/** Every run. */
	pieces: PieceResult[];
	/** The highest of the lowest held-out losses of all runs of a seed, and each run's first measurement at or below. */
	equalLoss: { seed: number; loss: number; runs: AtEqualLoss[] }[];
}

const pieceFolder = (folder: string, variant: string, seed: number) =>
	`${folder}/runs/${variant}-seed-${seed}`;

/** Refuses a folder of another experiment: its runs could not be compared with these. */
async function checkFolder(folder: string, common: unknown): Promise<void> {
	const path = `${folder}/setting.json`, text = JSON.stringify(common, null, 2) + "\n";
	await Deno.mkdir(folder, { recursive: true });
	const before = await Deno.readTextFile(path).catch((error) => {
		if (error instanceof Deno.errors.NotFound) return null;
		throw error;
	});
	if (before === null) return await writeWhole(path, text);
	if (before === text) return;
	const [old, now] = [before, text].map((one) => one.split(/,?\n/));
	const i = now!.findIndex((line, i) => line !== old![i]);
	throw new RangeError(
		`Cannot go on with the experiment in "${folder}": there it was ${
			old![i]?.trim() ?? "nothing"
		}, ` +
			`now it is ${now![i]!.trim()}; choose another folder`,
	);
}

/**
 * Trains a model for each attention and seed, or goes on where an earlier call was interrupted, and compares them.
 *
 * Models of one seed start from the same parameters, but for the attention's own, and see the same data in the same
 * order. Attentions and seeds may be added later; the runs there are stay.
 *
 * @throws {RangeError} if the folder is of an experiment with another setting or other data
 *
 * @example Softmax and context-aware scaling on the copy task
 * ```ts ignore
 * const { pieces } = await compareAttentions({
 *   setting: experimentPresets.copy,
 *   attentions: [softmaxVariant(), contextScaling()],
 *   seeds: [1, 2, 3],
 *   data: (seed) => copyTask({ seed }),
 *   folder: "out/compare",
 * });
 * ```
 */
export async function compareAttentions(options: CompareOptions): Promise<CompareResults> {
	const { setting, attentions, seeds, data, folder, onProgress, signal } = options;
	const variants = attentions.map(({ name }) => name);
	const twice = variants.find((name, i) => variants.indexOf(name) !== i);
	if (twice !== undefined || variants.length === 0 || seeds.length === 0) {
		throw new RangeError(
			twice !== undefined
				? `Cannot compare two attentions named ${twice}`
				: "Cannot compare nothing: there must be an attention and a seed",
		);
	}
	const first = data(seeds[0]!), sentence = options.sentence ?? firstSymbols(first, setting);
	await checkFolder(folder, { ...setting, data: first.description.replace(/, seed \d+$/, "") });
	const work = seeds.flatMap((seed) => attentions.map((attention) => ({ seed, attention })));
	const open = new Set<string>();
	for (const { seed, attention } of work) {
		const path = pieceFolder(folder, attention.name, seed);
		if (!await finishedPiece(path)) open.add(path);
	}
	const total = open.size * setting.steps;
	let before = 0;
	const pieces: PieceResult[] = [];
	for (const { seed, attention } of work) {
		const path = pieceFolder(folder, attention.name, seed), variant = attention.name;
		pieces.push(
			await runPiece({
				setting,
				attention,
				seed,
				data: data(seed),
				sentence,
				folder: path,
				onProgress: ({ step, loss }) =>
					onProgress?.({ variant, seed, done: before + step, total, loss }),
				...signal && { signal },
			}),
		);
		if (open.has(path)) before += setting.steps;
	}
	const results: CompareResults = {
		version: 1,
		created: new Date().toISOString(),
		setting,
		data: first.description,
		variants,
		seeds: [...seeds],
		pieces,
		equalLoss: seeds.map((seed) => atEqualLoss(pieces.filter((piece) => piece.seed === seed))),
	};
	await writeWhole(`${folder}/results.json`, JSON.stringify(results) + "\n");
	return results;
}

/** Runs of one seed at the lowest loss that all of them have reached. */
export function atEqualLoss(pieces: readonly PieceResult[]): CompareResults["equalLoss"][number] {
	const lowest = pieces.map(({ measurements }) =>
		Math.min(...measurements.map(({ loss }) => loss))
	);
	const loss = Math.max(...lowest);
	const runs = pieces.map(({ variant, seed, measurements }) => ({
		variant,
		seed,
		...measurements.find((one) => one.loss <= loss)!,
	}));
	return { seed: pieces[0]!.seed, loss, runs };
}

/** The beginning of a held-out sequence, for data without text. */
function firstSymbols(data: DataSource, { contextLength }: ExperimentSetting) {
	const ids = new Int32Array(Math.min(16, contextLength));
	data.fill("validation", 0, ids, new Int32Array(ids.length));
	return { ids: [...ids], texts: Array.from(ids, String) };
}
