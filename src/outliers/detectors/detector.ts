// A criterion for outliers as a value: its definition in words, its thresholds, and a probe that measures it. Many
// of them share one pass of a model. Layers count from 0 here, as in the names of taps.

import type { TapContext, Transformer } from "../../nn/mod.ts";
import { noGrad, type Tensor } from "../../tensor/mod.ts";
import { type AnalysisProbe, type PassOptions, runAnalyses } from "../pass.ts";
import { Reading } from "../reading.ts";

/** Where something was measured. */
export interface Site {
	/** The tap, such as `"layers.2.output"`; its layer counts from 0. */
	site: string;
	/** Layer, 0-based; -1 of the embeddings. */
	layer: number;
	/** Index of the sequence; left out of what concerns all. */
	sequence?: number;
	/** Of a mixture of experts: which one, 0-based. */
	expert?: number;
}

/** Something that a criterion's thresholds flag. */
export interface Finding extends Site {
	/** Token position, 0-based. */
	token?: number;
	/** Feature, 0-based. */
	feature?: number;
	/** Head, 0-based; a key-value head where the criterion is about values. */
	head?: number;
	/** Row of a weight matrix, 0-based. */
	row?: number;
	/** Column of a weight matrix, 0-based. */
	column?: number;
	/** The value that was found. */
	value: number;
	/** The criterion's statistic of it, free of scale. */
	ratio: number;
	/** What else the criterion looks at, by name. */
	numbers?: Record<string, number>;
}

/** The criterion's statistic of one tensor. */
export interface Measurement extends Site {
	/** The statistic, free of scale. */
	value: number;
}

/** What a criterion says of a model. */
export interface Detection {
	/** The detector's name. */
	detector: string;
	/** The criterion, in words and formulas. */
	definition: string;
	/** Who proposed it. */
	source: string;
	/** Its thresholds and other settings, by name. */
	thresholds: Record<string, number>;
	/** Whether anything was flagged; null of a statistic without a threshold, or if nothing could be measured. */
	found: boolean | null;
	/** How many findings there are. */
	count: number;
	/** Whether `count` is exact; else there are at least so many. */
	complete: boolean;
	/** The findings with the most extreme ratios, those first; at most 256. */
	findings: Finding[];
	/** A number free of scale, to stand beside the yes or no: the model's most extreme measurement, or their mean. */
	statistic: {
		/** What is measured, as a formula. */
		name: string;
		/** Of all measurements, which one this is. */
		of: "largest" | "smallest" | "mean";
		/** The number; null if nothing could be measured. */
		value: number | null;
		/** Where it is, unless it is a mean. */
		at: Site | null;
	};
	/** Further numbers of the criterion, by name. */
	numbers: Record<string, number>;
	/** The statistic of each tensor, by layer, site and sequence. */
	measurements: Measurement[];
	/** What was left out, and why. */
	notes: string[];
}

/** A criterion as a value: given to {@linkcode runDetectors}, or with others to `runAnalyses`. */
export interface Detector {
	/** What it is called, as on the command line. */
	readonly name: string;
	/** The criterion, in words and formulas. */
	readonly definition: string;
	/** Who proposed it. */
	readonly source: string;
	/** Its thresholds and other settings, by name. */
	readonly thresholds: Readonly<Record<string, number>>;
	/** A probe that measures it in one pass of the model. */
	probe(model: Transformer): AnalysisProbe<Detection>;
}

/** Takes down what a criterion measures and flags. */
export interface Taken {
	/** Takes down the statistic of a tensor. */
	measure(measurement: Measurement): void;
	/**
	 * Takes down what is flagged.
	 *
	 * @param count how many there are, if more than are given
	 * @param complete whether there are no more
	 */
	flag(findings: readonly Finding[], count?: number, complete?: boolean): void;
	/** Takes down what was left out; once, however often it is said. */
	note(text: string): void;
	/** Further numbers, by name. */
	readonly numbers: Record<string, number>;
}

/** The part of a criterion that looks at tensors. */
export interface Watcher {
	/** The taps it takes. */
	readonly taps: readonly string[];
	/**
	 * Queues work on a tensor, unrecorded.
	 *
	 * @param site where the tensor is
	 * @returns reads the results and takes them down, once the device is done; or null
	 */
	receive(tensor: Tensor<"float32">, context: TapContext, site: Site): (() => void) | null;
	/** Takes down what only shows when all tensors were seen. */
	conclude?(): void | Promise<void>;
}

/** What a detector is made of. */
export interface DetectorParts {
	/** What it is called. */
	name: string;
	/** The criterion, in words and formulas. */
	definition: string;
	/** Who proposed it. */
	source: string;
	/** Its thresholds and other settings, by name; none if it has none. */
	thresholds?: Readonly<Record<string, number>>;
	/** Whether it says yes or no. @default {true} */
	flags?: boolean;
	/** The number free of scale: what, and which of all measurements is the model's. */
	statistic: { name: string; of: "largest" | "smallest" | "mean" };
	/** Makes the part that looks at tensors, for one pass. */
	watch(model: Transformer, record: Taken): Watcher;
}

/** How many findings are listed. */
const LISTED = 256;

/** The place of a tap. */
export function siteOf({ name, layer, sequence }: TapContext): Site {
	const expert = /\.experts\.(\d+)\./.exec(name);
	return { site: name, layer, sequence, ...expert && { expert: Number(expert[1]) } };
}

const before = (a: Site, b: Site) =>
	a.layer - b.layer || (a.site < b.site ? -1 : a.site > b.site ? 1 : 0) ||
	(a.sequence ?? 0) - (b.sequence ?? 0);

class DetectorProbe implements AnalysisProbe<Detection> {
	readonly taps: readonly string[];
	readonly #parts: DetectorParts;
	readonly #watcher: Watcher;
	readonly #reading = new Reading();
	readonly #measurements: Measurement[] = [];
	readonly #numbers: Record<string, number> = {};
	readonly #notes = new Set<string>();
	#findings: Finding[] = [];
	#count = 0;
	#complete = true;

	constructor(parts: DetectorParts, model: Transformer) {
		this.#parts = parts;
		this.#watcher = parts.watch(model, {
			measure: (measurement) => this.#measurements.push(measurement),
			flag: (findings, count, complete) => this.#flag(findings, count, complete),
			note: (text) => this.#notes.add(text),
			numbers: this.#numbers,
		});
		this.taps = this.#watcher.taps;
	}

	receive(tensor: Tensor<"float32">, context: TapContext): void {
		const read = noGrad(() => this.#watcher.receive(tensor, context, siteOf(context)));
		if (read) this.#reading.after(tensor.device, read);
	}

	#flag(findings: readonly Finding[], count = findings.length, complete = true): void {
		this.#count += count;
		this.#complete &&= complete;
		this.#findings.push(...findings);
		if (this.#findings.length > 4 * LISTED) this.#trim();
	}

	/** Keeps the most extreme, in an order that does not depend on when they were read. */
	#trim(): void {
		const sign = this.#parts.statistic.of === "smallest" ? 1 : -1;
		this.#findings = this.#findings
			.sort((a, b) =>
				sign * (a.ratio - b.ratio) || before(a, b) || (a.token ?? 0) - (b.token ?? 0) ||
				(a.head ?? 0) - (b.head ?? 0) || (a.feature ?? 0) - (b.feature ?? 0)
			)
			.slice(0, LISTED);
	}

	async result(): Promise<Detection> {
		await this.#reading.finish();
		await this.#watcher.conclude?.();
		this.#trim();
		const measurements = this.#measurements.sort(before), { of } = this.#parts.statistic;
		let at: Measurement | null = null, sum = 0;
		for (const measurement of measurements) {
			const { value } = measurement;
			sum += value;
			if (!at || (of === "smallest" ? value < at.value : value > at.value)) at = measurement;
		}
		const value = !at ? null : of === "mean" ? sum / measurements.length : at.value;
		if (at && of !== "mean") {
			const { value: _, ...site } = at;
			return this.#detection({ value, at: site });
		}
		return this.#detection({ value, at: null });
	}

	#detection(extreme: { value: number | null; at: Site | null }): Detection {
		const { name, definition, source, thresholds = {}, flags = true, statistic } = this.#parts;
		return {
			detector: name,
			definition,
			source,
			thresholds: { ...thresholds },
			found: flags && extreme.value !== null ? this.#count > 0 : null,
			count: this.#count,
			complete: this.#complete,
			findings: this.#findings,
			statistic: { ...statistic, ...extreme },
			numbers: this.#numbers,
			measurements: this.#measurements,
			notes: [...this.#notes],
		};
	}
}

/** Makes a detector; every detector of this library is made so, and one's own can be. */
export function defineDetector(parts: DetectorParts): Detector {
	const { name, definition, source, thresholds = {} } = parts;
	return {
		name,
		definition,
		source,
		thresholds,
		probe: (model) => new DetectorProbe(parts, model),
	};
}

/**
 * Runs a model over sequences once and gives what each detector says.
 *
 * @param sequences token ids of each sequence
 * @returns a detection of each detector, in their order
 *
 * @example Two criteria in one pass
 * ```ts ignore
 * const [massive, sinks] = await runDetectors(model, [ids], [massiveActivations(), sinkRate()]);
 * console.log(massive.found, massive.statistic.value, sinks.numbers.rate);
 * ```
 */
export async function runDetectors(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	detectors: readonly Detector[],
	options: PassOptions = {},
): Promise<Detection[]> {
	const probes = Object.fromEntries(detectors.map((each, i) => [i, each.probe(model)]));
	const results = await runAnalyses(model, sequences, probes, options);
	return detectors.map((_, i) => results[i]!);
}
