// Shows what outliers do by taking them away: the same sequences run clean, changed, and with random entries changed
// instead.

import type { Transformer } from "../../nn/transformer.ts";
import { div, noGrad, norm, scope, sub, type Tensor } from "../../tensor/mod.ts";
import { DownstreamProbe, type LayerDownstream } from "./downstream.ts";
import { type ControlDraw, Edit, Survey } from "./edit.ts";
import { checkIntervention, type Intervention } from "./selection.ts";
import { type Estimate, estimateOf } from "./estimate.ts";

/** Options of {@linkcode ablate}. */
export interface AblateOptions {
	/** What is changed, all of it together. */
	interventions: readonly Intervention[];
	/** Tokens whose attention and values are watched, and which `change` leaves out. @default {[0]} */
	tokens?: readonly number[];
	/** How many times random entries are changed instead. @default {3} */
	controls?: number;
	/** An entry above so many times mean|x| of its tensor is an outlier and no control. @default {10} */
	controlLimit?: number;
	/** What the random numbers of the controls come from. @default {1} */
	seed?: number;
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: "float32" | "bfloat16";
	/** Told after each layer of each sequence: how many are done, of how many. */
	onProgress?: (done: number, total: number) => void;
	/** Stops it; the promise then rejects with the signal's reason. */
	signal?: AbortSignal;
}

/** The model under one condition. */
export interface Condition {
	/** How many entries were changed, of all sequences together; those of weights count once. */
	entries: number;
	/** Mean cross-entropy of the next tokens of each sequence, in nats; none of sequences of one token and of encoders. */
	losses: number[];
	/** Their spread. */
	loss: Estimate | null;
	/** exp of the mean loss. */
	perplexity: number | null;
	/** ‖h' − h‖ / ‖h‖ of the last hidden state beside the clean one's: mean over the tokens that are not watched. */
	change: Estimate | null;
	/** The outliers of each layer. */
	layers: LayerDownstream[];
}

/** What {@linkcode ablate} found. */
export interface Ablation {
	/** What the numbers mean. */
	definition: string;
	/** What was changed. */
	interventions: Intervention[];
	/** The tokens that were watched. */
	tokens: number[];
	/** How controls were drawn. */
	control: { limit: number; seed: number };
	/** Nothing changed. */
	clean: Condition;
	/** What was chosen changed. */
	ablated: Condition;
	/** Random entries changed instead, as many of the same tensors, once a draw. */
	controls: Condition[];
	/** Loss of each sequence less its clean one. */
	effect: Estimate | null;
	/** The same of the controls, of each sequence their mean. */
	controlEffect: Estimate | null;
	/** The one less the other. */
	beyondControl: Estimate | null;
}

const DEFINITION =
	"Losses are mean cross-entropies of the next tokens, in nats; perplexity is exp of their mean over " +
	"sequences. Effects are differences of the losses of the same sequence. Spreads: mean, standard deviation (n - 1), " +
	"and 95 % bootstrap interval of the mean, over sequences. A control changes as many random entries of the same " +
	"tensors (whole rows or columns for whole rows or columns), neither chosen nor above the limit times mean|x|, by the " +
	"same rule; in place of means over sequences it takes the tensor's mean.";

/** Runs the model once; gives the last hidden states, which the caller frees. */
async function run(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	probe: Survey | Edit,
	{ tokens = [0], dtype = "float32", signal }: AblateOptions,
	clean: readonly Tensor<"float32", 2>[] | null,
	onProgress?: (done: number) => void,
): Promise<{ condition: Condition; hidden: Tensor<"float32", 2>[] }> {
	const downstream = new DownstreamProbe(tokens);
	const hidden = await model.forward(sequences, {
		dtype,
		probes: [probe, downstream],
		...signal && { signal },
		...onProgress && { onProgress },
	}).catch(async (error) => {
		// What was queued is read, and so freed, before the caller goes on.
		await Promise.allSettled([downstream.result(), probe instanceof Survey && probe.finish()]);
		throw error;
	});
	using onError = new DisposableStack();
	for (const h of hidden) onError.use(h);
	const layers = await downstream.result();
	const losses: number[] = [], changes: number[] = [];
	const predicts = model.config.head.kind !== "none" && model.config.attention.causal;
	for (const [i, h] of hidden.entries()) {
		const ids = sequences[i]!;
		if (predicts && ids.length > 1) {
			using predicted = h.slice(0, ids.length - 1);
			using each = model.tokenLosses(predicted, ids.slice(1), { dtype });
			losses.push((await each.data()).reduce((sum, loss) => sum + loss, 0) / (ids.length - 1));
		}
		if (clean) {
			using ratios = relativeChange(h, clean[i]!);
			const others = [...await ratios.data()].filter((_, token) => !tokens.includes(token));
			if (others.length > 0) changes.push(others.reduce((a, b) => a + b) / others.length);
		}
		signal?.throwIfAborted();
	}
	const loss = estimateOf(losses);
	onError.move();
	return {
		hidden,
		condition: {
			entries: 0,
			losses,
			loss,
			perplexity: loss && Math.exp(loss.mean),
			change: estimateOf(changes),
			layers,
		},
	};
}

/** ‖h' − h‖ / ‖h‖ of each token; 0 where both are 0. */
function relativeChange(
	h: Tensor<"float32", 2>,
	clean: Tensor<"float32", 2>,
): Tensor<"float32", 1> {
	// The smallest normal number keeps 0 / 0 from being none.
	return noGrad(() => scope(() => div(norm(sub(h, clean), 1), norm(clean, 1).add(2 ** -126))));
}

const differences = (some: readonly number[], others: readonly number[]) =>
	some.map((value, i) => value - others[i]!);

/**
 * Changes outliers, in weights or in activations, and measures what that does to the loss, to the hidden states of the
 * other tokens, and to the outliers of all layers, beside what changing as many random entries does. Parameters are
 * the same afterwards: what is changed is a copy, while the model runs.
 *
 * @param sequences token ids of each sequence
 * @throws {RangeError} if an intervention does not fit the model, or changes nothing that exists
 *
 * @example Zero a super weight
 * ```ts ignore
 * import { ablate, loadModel } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const { effect, controlEffect } = await ablate(model, [model.tokenizer.encode(text)], {
 *   interventions: [{ tap: "layers.11.mlp.down.weight", entries: [[507, 1229]] }],
 * });
 * ```
 */
export async function ablate(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	options: AblateOptions,
): Promise<Ablation> {
	const { interventions, tokens = [0], controls = 3, controlLimit = 10, seed = 1 } = options;
	if (interventions.length === 0) throw new RangeError("Cannot ablate: there is no intervention");
	if (sequences.length === 0) throw new RangeError("Cannot ablate: there is no sequence");
	if (!(Number.isInteger(controls) && controls >= 0)) {
		throw new RangeError(`Cannot run ${controls} controls: it must be a whole number, 0 or more`);
	}
	if (!(controlLimit > 0)) {
		throw new RangeError(`Cannot use ${controlLimit} as controlLimit: it must be above 0`);
	}
	for (const intervention of interventions) checkIntervention(intervention);

	const runs = 2 + controls, steps = model.config.layers * sequences.length;
	const told = (index: number) =>
		options.onProgress &&
		((done: number) => options.onProgress!(index * steps + done, runs * steps));
	const survey = new Survey(interventions);
	const first = await run(model, sequences, survey, options, null, told(0));
	const { condition: clean, hidden } = first;
	using stack = new DisposableStack();
	for (const h of hidden) stack.use(h);
	await survey.finish();
	survey.check();

	const changed = async (index: number, control: ControlDraw | null): Promise<Condition> => {
		const edit = new Edit(interventions, survey, control);
		const { condition, hidden: after } = await run(
			model,
			sequences,
			edit,
			options,
			hidden,
			told(index),
		);
		for (const h of after) h.dispose();
		return { ...condition, entries: edit.changed };
	};
	const ablated = await changed(1, null);
	const ofControls: Condition[] = [];
	for (let draw = 0; draw < controls; draw++) {
		ofControls.push(await changed(2 + draw, { limit: controlLimit, seed, draw }));
	}
	const effects = differences(ablated.losses, clean.losses);
	const controlEffects = controls === 0
		? []
		: clean.losses.map((loss, i) =>
			ofControls.reduce((sum, { losses }) => sum + losses[i]!, 0) / controls - loss
		);
	return {
		definition: DEFINITION,
		interventions: [...interventions],
		tokens: [...tokens],
		control: { limit: controlLimit, seed },
		clean,
		ablated,
		controls: ofControls,
		effect: estimateOf(effects),
		controlEffect: estimateOf(controlEffects),
		beyondControl: controls === 0 ? null : estimateOf(differences(effects, controlEffects)),
	};
}
