// A made-up analysis for the report's tests: the shapes and magnitudes of a real one, numbers from a
// seeded generator, so that a picture can be looked at and a test repeated without a model.

import type {
	ActivationAnalysis,
	ActivationStatistics,
	ActivationSummary,
	ActivationValue,
	Analysis,
	AnalyzedSequence,
	AttentionAnalysis,
	CumulativeAttention,
	HeadAttention,
	Projection,
	TokenClass,
	WeightAnalysis,
	WeightValue,
} from "../../../src/outliers/analysis.ts";

/** What kind of sample to make. */
export interface SampleOptions {
	seed?: number;
	layers?: number;
	heads?: number;
	/** Number of sequences besides the paper's sentence. */
	texts?: number;
	/** Tokens of each of those. */
	tokens?: number;
	/** Whether anything exceeds τ. */
	outliers?: boolean;
	/** Tokens to put at the start of the paper's sentence. */
	oddTokens?: string[];
	/** The model's name. */
	modelName?: string;
	/** Projections of a layer. */
	projections?: Projection[];
}

const SENTENCE = ["Summer", " is", " warm", ".", " Winter", " is", " cold", ".", "\n"];
const WORDS = [
	" the",
	" river",
	" was",
	" wide",
	",",
	" and",
	" nobody",
	" crossed",
	" it",
	".",
	"\n",
];

/** A plausible analysis; the same options give the same one. */
export function sampleAnalysis(options: SampleOptions = {}): Analysis {
	const {
		seed = 1,
		layers = 30,
		heads = 9,
		texts = 3,
		tokens = 100,
		outliers = true,
		oddTokens = [],
		modelName = "SmolLM2-135M-Instruct",
		projections = ["query", "key", "value", "output", "gate", "up", "down"],
	} = options;
	const random = generator(seed);
	const hiddenSize = 576, intermediateSize = 1536, tau = 1000, attentionShare = 0.1;
	const pick = (n: number) => Math.floor(random() * n);

	const sequences: AnalyzedSequence[] = [sequence("paper sentence", [...oddTokens, ...SENTENCE])];
	for (let i = 0; i < texts; i++) {
		const words = Array.from({ length: tokens }, () => WORDS[pick(WORDS.length)]);
		sequences.push(sequence(i ? `text_${i}.txt` : "default text", words));
	}
	function sequence(source: string, tokenTexts: string[]): AnalyzedSequence {
		return { source, tokenTexts, tokenIds: tokenTexts.map(() => pick(49152)) };
	}
	// The first token and the first full stop carry the outliers, as in LLaMA2-7B.
	const carriers = sequences.map(({ tokenTexts }) =>
		[...new Set([0, tokenTexts.indexOf(".")])].filter((token) => token >= 0)
	);

	function activation(width: number, strong: [number, number], from: number, to: number) {
		const analysis: ActivationAnalysis = { layers: [] };
		for (let layer = 1; layer <= layers; layer++) {
			const born = outliers && layer >= from && layer <= to;
			analysis.layers.push({
				layer,
				sequences: sequences.map(({ tokenTexts }, sequence): ActivationStatistics => {
					const T = tokenTexts.length, mean = 0.1 + 0.02 * layer + 0.02 * random();
					const top: ActivationValue[] = Array.from({ length: 10 }, () => ({
						value: mean * (8 + 40 * random()) * (random() < 0.5 ? -1 : 1),
						token: pick(T),
						feature: pick(width),
					}));
					if (born) {
						carriers[sequence].forEach((token, i) => {
							top.push({
								value: mean * (3000 - 900 * i + 50 * random()),
								token,
								feature: strong[0],
							});
							top.push({
								value: -mean * (1500 - 700 * i + 50 * random()),
								token,
								feature: strong[1],
							});
						});
					}
					top.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
					const found = top.filter(({ value }) => Math.abs(value) > tau * mean);
					const byFeature = new Map<number, ActivationValue>();
					for (const entry of top) {
						if (!byFeature.has(entry.feature)) byFeature.set(entry.feature, entry);
					}
					return {
						sequence,
						mean,
						median: mean * (0.5 + 0.1 * random()),
						top: top.slice(0, 10),
						outlierCount: found.length,
						outliers: found,
						tokenMaxima: Array.from({ length: Math.min(64, T) }, (_, token) =>
							Math.max(
								mean * (4 + 8 * random()),
								...top.filter((entry) => entry.token === token).map(({ value }) => Math.abs(value)),
							)),
						topFeatures: [...byFeature.values()].slice(0, 8).map(({ feature, value, token }) => ({
							feature,
							value: Math.abs(value),
							token,
						})),
					};
				}),
			});
		}
		return analysis;
	}
	const hiddenState = activation(hiddenSize, [234, 19], 3, layers - 1);
	const downInput = activation(intermediateSize, [789, 1200], 3, 4);

	const weights: WeightAnalysis[] = [];
	for (let layer = 1; layer <= layers; layer++) {
		for (const projection of projections) {
			const shape: [number, number] = projection === "down"
				? [hiddenSize, intermediateSize]
				: projection === "gate" || projection === "up"
				? [intermediateSize, hiddenSize]
				: [hiddenSize, hiddenSize];
			const strong = outliers && projection === "down" && (layer === 3 || layer >= layers - 1);
			const ratios = (size: number, peak: number) =>
				Array.from(
					{ length: 5 },
					() => ({ index: pick(size), ratio: peak * (0.7 + 0.3 * random()) }),
				)
					.sort((a, b) => b.ratio - a.ratio);
			const top: WeightValue[] = ratios(shape[1], strong ? 1100 : 30).map(({ index, ratio }) => ({
				value: 0.02 * ratio * (random() < 0.5 ? -1 : 1),
				row: pick(shape[0]),
				column: index,
				ratio,
			}));
			const found = top.filter(({ ratio }) => ratio > tau);
			weights.push({
				layer,
				projection,
				shape,
				mean: 0.02,
				top,
				outlierCount: found.length,
				outliers: found,
				topRows: ratios(shape[0], 25),
				topColumns: ratios(shape[1], strong ? 400 : 20),
				medianColumnRatio: 4 + random(),
			});
		}
	}

	const attention: AttentionAnalysis[] = [];
	for (let layer = 1; layer <= layers; layer++) {
		sequences.forEach(({ tokenTexts }, sequence) => {
			const T = tokenTexts.length;
			const all = Array.from({ length: heads }, (_, head) => {
				const sink = outliers ? 0.1 + 0.85 * random() : 0.02 * random();
				return { head, ...headAttention(shares(T, sink, carriers[sequence])) };
			});
			const meanShares = shares(T, outliers ? 0.5 : 0.01, carriers[sequence]);
			attention.push({
				layer,
				sequence,
				heads: all,
				mean: headAttention(meanShares),
				tokenShares: meanShares.slice(0, 64),
			});
		});
	}
	function shares(T: number, sink: number, carriers: number[]): number[] {
		const raw = Array.from({ length: T }, () => 0.5 + random());
		const sum = raw.reduce((a, b) => a + b, 0);
		const result = raw.map((x) => (1 - sink) * x / sum);
		carriers.forEach((token, i) =>
			result[token] += sink * (carriers.length === 1 ? 1 : [0.8, 0.2][i])
		);
		return result;
	}
	function headAttention(shares: number[]): Omit<HeadAttention, "head"> {
		const T = shares.length;
		// Without outliers the sequences are long enough that no key reaches ρ, or the test data says so.
		const keys: CumulativeAttention[] = shares
			.map((share, token) => ({ token, share, value: share * T }))
			.sort((a, b) => b.share - a.share);
		return {
			top: keys.slice(0, 5),
			median: keys[Math.floor(T / 2)].value,
			outliers: outliers ? keys.filter(({ share }) => share >= attentionShare) : [],
			tauOutlierCount: 0,
		};
	}

	function classOf(sequence: number, token: number): TokenClass {
		if (token === 0) return "initial token";
		const text = sequences[sequence].tokenTexts[token].trim();
		if (text === "." || text === "," || text === "") return "strong delimiter";
		return ["the", "was", "is", "and", "it"].includes(text) ? "weak semantic" : "other";
	}
	function classes(pairs: Iterable<string>): Record<TokenClass, number> {
		const counts = { "initial token": 0, "strong delimiter": 0, "weak semantic": 0, "other": 0 };
		for (const pair of new Set(pairs)) {
			const [sequence, token] = pair.split(" ").map(Number);
			counts[classOf(sequence, token)]++;
		}
		return counts;
	}
	function summarize(analysis: ActivationAnalysis): ActivationSummary {
		const all = analysis.layers.flatMap(({ layer, sequences }) =>
			sequences.flatMap(({ sequence, mean, top, outliers }) => ({
				layer,
				sequence,
				mean,
				top,
				outliers,
			}))
		);
		const found = all.flatMap(({ layer, sequence, outliers }) =>
			outliers.map((entry) => ({ ...entry, layer, sequence }))
		);
		const inLayers = [...new Set(found.map(({ layer }) => layer))];
		const features = Map.groupBy(
			found.map(({ feature, layer, sequence }) => ({ feature, pair: `${layer} ${sequence}` })),
			({ feature }) => feature,
		);
		const pairs = Map.groupBy(found, ({ sequence, token }) => `${sequence} ${token}`);
		const largest = all.map(({ layer, sequence, mean, top }) => ({
			ratio: Math.abs(top[0].value) / mean,
			...top[0],
			layer,
			sequence,
		})).sort((a, b) => b.ratio - a.ratio)[0];
		return {
			layers: inLayers,
			firstLayer: inLayers[0] ?? null,
			lastLayer: inLayers.at(-1) ?? null,
			features: [...features].map(([feature, entries]) => ({
				feature,
				count: new Set(entries.map(({ pair }) => pair)).size,
			})).sort((a, b) => b.count - a.count),
			tokenClasses: classes(pairs.keys()),
			tokens: [...pairs.values()].map((entries) => {
				const { sequence, token } = entries[0];
				return {
					sequence,
					token,
					id: sequences[sequence].tokenIds[token],
					text: sequences[sequence].tokenTexts[token],
					layers: new Set(entries.map(({ layer }) => layer)).size,
				};
			}).sort((a, b) => b.layers - a.layers).slice(0, 64),
			largestRatio: largest,
		};
	}
	const triples = attention.flatMap(({ layer, sequence, heads }) =>
		heads.map((head) => ({ layer, sequence, ...head }))
	);
	const withOutliers = triples.filter(({ outliers }) => outliers.length > 0);
	const largestHead = triples.toSorted((a, b) => b.top[0].share - a.top[0].share)[0];
	const largestRow = weights.map(({ layer, projection, top }) => ({ ...top[0], layer, projection }))
		.sort((a, b) => b.ratio - a.ratio)[0];
	const largestColumn = weights.filter(({ projection }) => projection === "down")
		.map(({ layer, topColumns }) => ({ ...topColumns[0], layer }))
		.sort((a, b) => b.ratio - a.ratio)[0];
	const longest = Math.max(...sequences.map(({ tokenIds }) => tokenIds.length));

	return {
		format: "outlierscope-analysis",
		version: 1,
		created: "2026-11-22T12:00:00.000Z",
		device: { name: "Host CPU", kind: "host", dtype: "float32" },
		model: {
			name: modelName,
			file: "SmolLM2-135M-Instruct.Q4_1.gguf",
			architecture: "llama",
			layers,
			hiddenSize,
			intermediateSize,
			heads,
			keyValueHeads: 3,
			headDimension: 64,
			vocabularySize: 49152,
			contextLength: 8192,
			parameters: 134515008,
			storage: { Q4_1: 106168320, F32: 35136, Q8_0: 28311552 },
		},
		criteria: {
			tau,
			attentionShare,
			reachability: [
				{ test: "hiddenState", limit: longest * hiddenSize, reachable: true },
				{ test: "downInput", limit: longest * intermediateSize, reachable: true },
				...projections.map((projection) => {
					const limit = projection === "down" ? intermediateSize : hiddenSize;
					return { test: `weights.${projection}`, limit, reachable: limit > tau };
				}),
				{ test: "attention", limit: longest, reachable: longest > tau },
			],
		},
		sequences,
		hiddenState,
		downInput,
		weights,
		attention,
		manifest: {
			library: "0.1.0",
			model: { name: modelName, family: "llama", attention: "softmax", layers },
			weights: {
				hash: `sha256:${"b1".repeat(32)}`,
				of: "all bytes of SmolLM2-135M-Instruct.Q4_1.gguf",
				changed: null,
			},
			data: {
				hash: `sha256:${"d4".repeat(32)}`,
				of: "of each sequence its number of tokens and their ids, as 32-bit little-endian integers",
				sequences: sequences.length,
				tokens: sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0),
			},
			seeds: {},
			layerNumbering: "from 1, but from 0 in detections and in names such as layers.0.output",
			device: { name: "Host CPU", kind: "host" },
			precision: { products: "float32", measured: "float32" },
			definitions: {
				hiddenState: { definition: "|h| > tau * mean|h|", thresholds: { tau } },
			},
		},
		summary: {
			hiddenState: summarize(hiddenState),
			downInput: summarize(downInput),
			weights: {
				outlierCount: weights.reduce((sum, { outlierCount }) => sum + outlierCount, 0),
				largestRowRatio: largestRow,
				largestDownColumnRatio: largestColumn,
			},
			attention: {
				sequences: sequences.length,
				layers: [...new Set(withOutliers.map(({ layer }) => layer))],
				headFraction: withOutliers.length / triples.length,
				tokenClasses: classes(
					withOutliers.flatMap(({ sequence, outliers }) =>
						outliers.map(({ token }) => `${sequence} ${token}`)
					),
				),
				largestShare: {
					share: largestHead.top[0].share,
					layer: largestHead.layer,
					sequence: largestHead.sequence,
					head: largestHead.head,
					token: largestHead.top[0].token,
				},
			},
		},
	};
}

// Mulberry32: 32 bits of state are plenty here.
function generator(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6D2B79F5) >>> 0;
		let x = Math.imul(state ^ (state >>> 15), state | 1);
		x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
		return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
	};
}
