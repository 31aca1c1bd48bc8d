// One piece of an experiment: a model with one attention and one seed, trained, measured and compressed. It has a
// folder of its own, in which it goes on after an interruption; a finished piece is not repeated.

import {
	AdamW,
	type Attention,
	type DataSource,
	type LogRecord,
	type Probe,
	readLog,
	train,
	TrainingError,
	type TrainingProgress,
	type Transformer,
} from "../../nn/mod.ts";
import { Generator, noGrad, Tensor } from "../../tensor/mod.ts";
import { type CompressionLoss, compressionLosses, validationLoss } from "./compress.ts";
import { buildModel, type ExperimentSetting, scheduleOf } from "./setting.ts";
import {
	EvidenceWatch,
	type HeadlineNumbers,
	headlineNumbers,
	type LayerEvidence,
} from "./watch.ts";

/** A time of training. */
export interface StepMeasurement {
	/** Updates made before it. */
	step: number;
	/** Mean cross-entropy of held-out data, nats. */
	loss: number;
	/** The numbers in which outliers show. */
	headline: HeadlineNumbers;
}

/** |h| of the tokens of one sequence (the paper's Figures 10 and 23). */
export interface SentenceMap {
	/** 0-based layer whose output it is; -1: the embeddings. */
	layer: number;
	/** The tokens' texts. */
	tokens: string[];
	/** Channels that a column stands for: it has the largest of them. */
	channels: number;
	/** A row a token. */
	values: number[][];
}

/** The down projection's outlier weights. */
export interface DownRatio {
	/** 0-based. */
	layer: number;
	/** Largest max|w| / mean|w| of a column. */
	column: number;
}

/** What a piece found. */
export interface PieceResult {
	/** The attention's name. */
	variant: string;
	/** Of parameters and data. */
	seed: number;
	/** How many parameters there are. */
	parameters: number;
	/** Updates made. */
	steps: number;
	/** Why training could not be finished, if so; what follows is then as far as it came. */
	problem: string | null;
	/** Loss of training batches. */
	training: { step: number; loss: number }[];
	/** Over training, from step 0 on. */
	measurements: StepMeasurement[];
	/** At the end. */
	evidence: LayerEvidence[];
	/** At the end, of each layer. */
	downRatios: DownRatio[];
	/** At the end, of a short sequence. */
	map: SentenceMap | null;
	/** At the end: losses after compression. */
	compression: CompressionLoss[];
}

/** What a piece is made of. */
export interface PieceOptions {
	/** All but attention and seed. */
	setting: ExperimentSetting;
	/** The attention. */
	attention: Attention;
	/** Of parameters and data. */
	seed: number;
	/** What to train on. */
	data: DataSource;
	/** A short sequence for the map, and its tokens' texts. */
	sentence: { ids: readonly number[]; texts: readonly string[] };
	/** Its folder. */
	folder: string;
	/** Told after each update. */
	onProgress?: (progress: TrainingProgress) => void;
	/** Stops it after the update at hand, with a checkpoint. */
	signal?: AbortSignal;
}

/** Trains a piece, or goes on with it, or reads what it found before. */
export async function runPiece(options: PieceOptions): Promise<PieceResult> {
	const { setting, attention, seed, data, folder, onProgress, signal } = options;
	const found = await finishedPiece(folder);
	if (found) return found;
	await Deno.mkdir(folder, { recursive: true });
	const { steps, batchSize, accumulation, contextLength: tokens, dtype, sequences } = setting;
	const interval = Math.max(1, Math.ceil(steps / setting.measurements));
	using model = await buildModel(setting, attention, seed);
	const log = `${folder}/log.jsonl`;
	let problem: string | null = null;
	try {
		const { finished } = await train(model, {
			data,
			steps,
			batchSize,
			accumulation,
			tokens,
			dtype,
			optimizer: ({ parameters }) =>
				new AdamW(parameters, {
					weightDecay: setting.weightDecay,
					decays: (name) => model.decays(name),
				}),
			schedule: scheduleOf(setting),
			evaluation: { interval, sequences: 4 * sequences },
			metrics: { watch: new EvidenceWatch(data), interval, sequences },
			checkpoints: { folder: `${folder}/checkpoints`, interval, keep: 1 },
			resume: true,
			log,
			logInterval: Math.max(1, Math.round(interval / 10)),
			generator: new Generator(seed),
			config: { ...setting, variant: attention.name, seed },
			...onProgress && { onProgress },
			...signal && { signal },
		});
		if (!finished) signal?.throwIfAborted();
	} catch (error) {
		if (!(error instanceof TrainingError)) throw error;
		problem = error.message;
	}
	const { training, measurements, evidence } = curves(await readLog(log));
	const result: PieceResult = {
		variant: attention.name,
		seed,
		parameters: [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0),
		steps: problem === null ? steps : training.at(-1)?.step ?? 0,
		problem,
		training,
		measurements,
		evidence,
		downRatios: problem === null ? await downRatios(model) : [],
		map: problem === null ? await activationMap(model, options.sentence) : null,
		compression: problem === null
			? await compressionLosses(
				model,
				() => validationLoss(model, data, { tokens, sequences: 4 * sequences, batchSize }),
			)
			: [],
	};
	await writeWhole(`${folder}/result.json`, JSON.stringify(result));
	return result;
}

/** What a finished piece found; null if it is not finished. */
export async function finishedPiece(folder: string): Promise<PieceResult | null> {
	try {
		return JSON.parse(await Deno.readTextFile(`${folder}/result.json`)) as PieceResult;
	} catch (error) {
		if (error instanceof Deno.errors.NotFound) return null;
		throw error;
	}
}

/** Writes a file that appears whole or not at all. */
export async function writeWhole(path: string, text: string): Promise<void> {
	const temporary = `${path}.${crypto.randomUUID()}.tmp`;
	try {
		await Deno.writeTextFile(temporary, text, { createNew: true });
		await Deno.rename(temporary, path);
	} catch (error) {
		await Deno.remove(temporary).catch(() => {});
		throw error;
	}
}

function curves(records: readonly LogRecord[]) {
	const training: PieceResult["training"] = [], measurements: StepMeasurement[] = [];
	let loss = NaN, evidence: LayerEvidence[] = [];
	for (const record of records) {
		if (record.event === "step") training.push({ step: record.step, loss: record.loss });
		if (record.event === "evaluation") loss = record.loss;
		if (record.event === "metrics") { // written right behind the evaluation of the same step
			evidence = record.evidence as LayerEvidence[];
			measurements.push({ step: record.step, loss, headline: headlineNumbers(evidence) });
		}
	}
	return { training, measurements, evidence };
}

async function downRatios(model: Transformer): Promise<DownRatio[]> {
	const ratios: DownRatio[] = [];
	for (let layer = 0; layer < model.config.layers; layer++) {
		const weight = model.parameters.get(`layers.${layer}.mlp.down.weight`)!;
		const [rows, columns] = weight.shape as readonly [number, number], data = await weight.data();
		let column = 0;
		for (let j = 0; j < columns; j++) {
			let max = 0, sum = 0;
			for (let i = 0; i < rows; i++) {
				const size = Math.abs(Number(data[i * columns + j]));
				max = Math.max(max, size);
				sum += size;
			}
			if (sum > 0) column = Math.max(column, max / (sum / rows));
		}
		ratios.push({ layer, column });
	}
	return ratios;
}

/** Columns of a map at most. */
const COLUMNS = 128;

/** |h| behind the last layer but one: the last also makes the logits. */
async function activationMap(
	model: Transformer,
	{ ids, texts }: PieceOptions["sentence"],
): Promise<SentenceMap> {
	const layer = model.config.layers > 4
		? Math.ceil(model.config.layers / 2) - 1 // the paper's
		: model.config.layers - 2;
	let hidden: Tensor<"float32"> | undefined;
	const probe: Probe = {
		taps: [layer < 0 ? "embed" : `layers.${layer}.output`],
		receive: (tensor) => hidden = noGrad(() => tensor.mul(1)),
	};
	const shape = [1, ids.length] as const;
	using inputs = Tensor.from<"int32", 2>(model.device, "int32", shape, Int32Array.from(ids));
	using loss = noGrad(() => model.loss(inputs, inputs, { probes: [probe] }));
	await loss.data();
	const data = await hidden!.data(), width = model.config.hiddenSize;
	hidden!.dispose();
	const channels = Math.ceil(width / COLUMNS);
	const values = ids.map((_, t) =>
		Array.from({ length: Math.ceil(width / channels) }, (_, column) => {
			const from = column * channels, to = Math.min(width, from + channels);
			return Math.max(...data.subarray(t * width + from, t * width + to).map(Math.abs));
		})
	);
	return { layer, tokens: [...texts], channels, values };
}
