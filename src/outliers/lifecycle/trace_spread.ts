// How outliers of the hidden state spread: their keys draw attention, and their values give nothing.

import { slopesOf } from "../../nn/config.ts";
import type { Transformer } from "../../nn/transformer.ts";
import { DownstreamProbe, type LayerDownstream } from "../interventions/downstream.ts";
import { progressAfter } from "../pass.ts";
import { type Alignment, alignmentOf, sizeOf } from "./alignment.ts";
import { KeptTaps, type Rows } from "./kept_taps.ts";
import { type Ledger, LEDGER_PASSES, traceLedger, type TraceOptions } from "./ledger.ts";
import { sample, sampleTokens, type Surface, surfaceOf } from "./surface.ts";
import { checkLayer } from "./trace_mlp_layers.ts";
import { average } from "../average.ts";

/** Options of {@linkcode traceSpread}. */
export interface SpreadOptions extends TraceOptions {
	/** The layer, 0-based. @default {the one after the outliers come about} */
	layer?: number;
	/** The head that is drawn. @default {the one that gives the outlier tokens most attention} */
	head?: number;
	/** The ledger of the same sequence, if there is one already. */
	ledger?: Ledger;
}

/** One outlier token as a key of one head. */
export interface SpreadToken {
	/** The token. */
	token: number;
	/** Queries beside it; null if no other token sees it together with others. */
	alignment: Alignment | null;
	/** Σ_i A[i, token] over Σ_ij A[i, j]. */
	share: number;
	/** Mean A[i, token] over the queries that see it. */
	attention: number;
	/** ‖v‖ over the mean ‖v‖ of the tokens that are not traced; null where there are none. */
	valueRatio: number | null;
}

/** One head of the layer. */
export interface HeadSpread {
	/** 0-based. */
	head: number;
	/** The key-value head that it reads. */
	keyValueHead: number;
	/** The outlier tokens. */
	tokens: SpreadToken[];
	/** Share of all attention that goes to the outlier tokens: what is left of an update is 1 less that. */
	share: number;
}

/** How outliers spread in one layer; enough to draw the paper's Fig. 8. */
export interface AttentionTrace {
	/** 0-based. */
	layer: number;
	/** All heads. */
	heads: HeadSpread[];
	/** Share of the heads where the first outlier token's value is less than half as long as others. */
	drainedHeads: number;
	/** Share of the heads that give the outlier tokens 10 % of their attention or more. */
	sinkHeads: number;
	/** The head that is drawn. */
	drawnHead: number;
	/**
	 * `residual`, `attn.input`, the drawn head's `query`, `key`, `value` before rotary positions, and over the drawn tokens
	 * `logits` (0 where a query does not see the key) and `attention` (of sequences of 256 tokens at most).
	 */
	stages: Surface[];
}

/** How outliers spread. */
export interface SpreadTrace {
	/** What the numbers mean. */
	definition: string;
	/** All layers of the residual stream. */
	ledger: Ledger;
	/** One layer, taken apart. */
	attention: AttentionTrace;
	/** All layers: the share of attention to the outlier tokens, and their values' size. */
	layers: LayerDownstream[];
}

const DEFINITION =
	"Shares are sums of attention to the outlier tokens over all attention of a head. The gap is the mean " +
	"over queries of a token's logit less the mean logit of the keys that are not traced and that the query sees; it is a " +
	"sum over dimensions of the head, after rotary positions, and of what distance adds. Value ratios are norms over the " +
	"mean norm of the tokens that are not traced.";

const DRAINED = 0.5, SINK = 0.1, MAP_TOKENS = 256, DRAWN = 24;

/** Part of a tensor [heads, T, ...]. */
function headOf(data: Float32Array, head: number, heads: number): Float32Array {
	const size = data.length / heads;
	return data.subarray(head * size, (head + 1) * size);
}

/**
 * Traces how outliers of the hidden state spread through attention (paper §4.2, Fig. 8): which dimensions of queries and
 * keys agree on the outlier tokens, what that makes of logits and attention, and how small the tokens' values are. Works
 * with grouped queries, with rotary positions or without, with windows and slopes.
 *
 * @param tokenIds one sequence
 * @throws {RangeError} if a layer, head, token or feature is not there
 *
 * @example Why the first token is a sink
 * ```ts ignore
 * import { loadModel, PAPER_SENTENCE, traceSpread } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const { attention } = await traceSpread(model, model.tokenizer.encode(PAPER_SENTENCE.text));
 * console.log(attention.heads[attention.drawnHead].tokens[0]);
 * ```
 */
export async function traceSpread(
	model: Transformer,
	tokenIds: readonly number[],
	options: SpreadOptions = {},
): Promise<SpreadTrace> {
	const { config } = model, { heads: n, keyValueHeads: kv, headDimension: d } = config;
	if (options.layer !== undefined) checkLayer(model, options.layer);
	const { head: wanted } = options;
	if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 0 && wanted < n)) {
		throw new RangeError(`Cannot trace head ${wanted}: the model has ${n}, the first is 0`);
	}
	const before = options.ledger ? 0 : LEDGER_PASSES * config.layers;
	const told = (from: number) => progressAfter(options.onProgress, from, before + config.layers);
	const ledger = options.ledger ?? await traceLedger(model, tokenIds, { ...options, ...told(0) });
	const layer = options.layer ?? Math.min(ledger.emergence + 1, config.layers - 1);
	const T = tokenIds.length, { tokens: traced } = ledger;
	const withMaps = T <= MAP_TOKENS;
	const residual = layer === 0 ? "embed" : `layers.${layer - 1}.output`;
	const tap = (name: string) => `layers.${layer}.attn.${name}`;
	const names = ["input", "qkv", "q_rotated", "k_rotated", "v", "cumulative"];
	using kept = new KeptTaps(
		[residual, ...[...names, ...withMaps ? ["weights"] : []].map(tap)],
		null,
	);
	const downstream = new DownstreamProbe(traced);
	const hidden = await model.forward([tokenIds], {
		dtype: options.dtype ?? "float32",
		probes: [kept, downstream],
		...options.signal && { signal: options.signal },
		...told(before),
	});
	for (const h of hidden) h.dispose();
	const layers = await downstream.result();

	const read = async (name: string) => await kept.tensor(tap(name)).data();
	const q = await read("q_rotated"), k = await read("k_rotated"), v = await read("v");
	const sums = await read("cumulative"), slopes = slopesOf(config);
	const { causal, window } = config.attention;
	const pairs = config.positions.kind === "rotary" ? config.positions.dimensions / 2 : 0;
	const vectorsOf = (head: number) => ({
		queries: headOf(q, head, n),
		keys: headOf(k, Math.floor(head * kv / n), kv),
		tokens: T,
		dimension: d,
		pairs,
		causal,
		...window !== undefined && { window },
		slope: slopes?.[head] ?? 0,
	});
	const seenBy = (token: number) =>
		Math.min(causal ? T - token : T, window === undefined ? T : causal ? window : T);
	const heads = Array.from({ length: n }, (_, head): HeadSpread => {
		const keyValueHead = Math.floor(head * kv / n), values = headOf(v, keyValueHead, kv);
		const others = [...tokenIds.keys()].filter((token) => !traced.includes(token)).map((token) =>
			sizeOf(values, token, d)
		);
		const usual = others.length > 0 ? average(others) : 0;
		const columns = headOf(sums, head, n), all = columns.reduce((sum, value) => sum + value, 0);
		const tokens = traced.map((token): SpreadToken => ({
			token,
			alignment: alignmentOf(vectorsOf(head), token, traced),
			share: all > 0 ? columns[token]! / all : 0,
			attention: columns[token]! / seenBy(token),
			valueRatio: usual > 0 ? sizeOf(values, token, d) / usual : null,
		}));
		return {
			head,
			keyValueHead,
			tokens,
			share: tokens.reduce((sum, { share }) => sum + share, 0),
		};
	});
	const drawnHead = wanted ??
		heads.reduce((best, head) => head.share > best.share ? head : best).head;
	const of = (test: (head: HeadSpread) => boolean) => heads.filter(test).length / n;
	return {
		definition: DEFINITION,
		ledger,
		attention: {
			layer,
			heads,
			drainedHeads: of(({ tokens: [first] }) => (first!.valueRatio ?? 1) < DRAINED),
			sinkHeads: of(({ share }) => share >= SINK),
			drawnHead,
			stages: await stagesOf(),
		},
		layers,
	};

	async function stagesOf(): Promise<Surface[]> {
		const drawn = sampleTokens(T, traced),
			channels = sample(config.hiddenSize, ledger.features, DRAWN);
		const all = Array.from({ length: d }, (_, i) => i);
		const some = ({ values }: Rows): Rows => ({ ids: drawn, values: drawn.map((t) => values[t]!) });
		const qkv = some(await kept.rows(tap("qkv")));
		const keyValueHead = Math.floor(drawnHead * kv / n);
		const part = (name: string, first: number): Surface => ({
			...surfaceOf(name, qkv, all.map((i) => first + i)),
			columns: all,
		});
		const { queries, keys, slope } = vectorsOf(drawnHead);
		const logit = (i: number, j: number) => {
			if ((causal && j > i) || j <= i - (window ?? Infinity)) return 0;
			let sum = 0;
			for (let p = 0; p < d; p++) sum += queries[i * d + p]! * keys[j * d + p]!;
			return sum / Math.sqrt(d) + slope * (j - i);
		};
		const square = (name: string, at: (i: number, j: number) => number): Surface => ({
			name,
			rows: drawn,
			columns: drawn,
			values: drawn.map((i) => drawn.map((j) => at(i, j))),
		});
		const maps = withMaps ? headOf(await read("weights"), drawnHead, n) : null;
		return [
			surfaceOf("residual", some(await kept.rows(residual)), channels),
			surfaceOf("attn.input", some(await kept.rows(tap("input"))), channels),
			part("query", drawnHead * d),
			part("key", (n + keyValueHead) * d),
			part("value", (n + kv + keyValueHead) * d),
			square("logits", logit),
			...maps ? [square("attention", (i, j) => maps[i * T + j]!)] : [],
		];
	}
}
