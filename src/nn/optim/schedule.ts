// Learning rates over a training run. Steps count from 0, and the first has a rate above 0 already.

/** The learning rate of a step. */
export type Schedule = (step: number) => number;

/** What all schedules have. */
export interface WarmUpOptions {
	/** The highest learning rate. */
	peak: number;
	/** Steps over which it rises to that: step i of them has peak · (i + 1) / (warmUp + 1). @default {0} */
	warmUp?: number;
}

/** Options of schedules that fall at the end. */
export interface DecayingOptions extends WarmUpOptions {
	/** Steps of the whole run. */
	steps: number;
	/** What the rate falls to. @default {peak / 10} */
	minimum?: number;
}

function check(options: Readonly<Record<string, number>>): void {
	for (const [name, value] of Object.entries(options)) {
		if (!(Number.isFinite(value) && value >= 0)) {
			throw new RangeError(`Cannot schedule learning rates: ${name} is ${value}, not from 0 on`);
		}
	}
}

/** Rises over the first steps, then follows `after`. */
function warmedUp({ peak, warmUp = 0 }: WarmUpOptions, after: Schedule): Schedule {
	check({ peak, warmUp });
	return (step) => step < warmUp ? peak * (step + 1) / (warmUp + 1) : after(step);
}

/** A constant rate. */
export function constant(options: WarmUpOptions): Schedule {
	return warmedUp(options, () => options.peak);
}

/** A rate that falls from the peak to the minimum along half of a cosine. */
export function cosine(options: DecayingOptions): Schedule {
	const { peak, steps, warmUp = 0, minimum = peak / 10 } = options;
	check({ steps, minimum });
	return warmedUp(options, (step) => {
		if (step >= steps) return minimum;
		const done = (step - warmUp) / (steps - warmUp);
		return minimum + (1 + Math.cos(Math.PI * done)) / 2 * (peak - minimum);
	});
}

/** Options of {@linkcode warmUpStableDecay}. */
export interface WarmUpStableDecayOptions extends DecayingOptions {
	/** Over how many of the last steps the rate falls. @default {a fifth of them} */
	decay?: number;
	/** Along a line, or as 1 - √ of the share that is done. @default {"linear"} */
	shape?: "linear" | "root";
}

/** Warm-up, then the peak, then a fall over the last steps (WSD): how long the run is can be decided late. */
export function warmUpStableDecay(options: WarmUpStableDecayOptions): Schedule {
	const { peak, steps, minimum = peak / 10, decay = Math.ceil(steps / 5), shape = "linear" } =
		options;
	check({ steps, minimum, decay });
	return warmedUp(options, (step) => {
		const done = Math.min(1, Math.max(0, (step - (steps - decay)) / Math.max(1, decay)));
		return peak - (peak - minimum) * (shape === "root" ? Math.sqrt(done) : done);
	});
}
