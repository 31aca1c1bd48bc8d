// What data-parallel training would do on GPUs that nobody here has: the formula of docs/scaling.md.

/** What is trained, and on what. */
export interface Cluster {
	/** Parameters of the model, P. */
	parameters: number;
	/** Tokens that a GPU takes at a time, t. */
	tokens: number;
	/** Operations a second that a GPU reaches in training, F. */
	rate: number;
	/** Bytes a second that each GPU can send in an all-reduce, W. */
	bandwidth: number;
	/** Seconds for a message from one GPU to another, α. */
	latency: number;
	/** How many GPUs, N. */
	gpus: number;
}

/** What the formula says, in seconds but for the first and the last. */
export interface Prediction {
	tokensPerSecond: number;
	compute: number;
	exchange: number;
	exposed: number;
	/** Of N times the rate of one GPU. */
	efficiency: number;
}

const BUCKET = 25 * 2 ** 20;

/** The time of a step: computing, and what of the exchange the backward pass does not hide. */
export function predict(
	{ parameters: P, tokens: t, rate: F, bandwidth: W, latency, gpus: N }: Cluster,
): Prediction {
	const compute = 6 * P * t / F, bytes = 4 * P;
	const buckets = Math.ceil(bytes / BUCKET);
	const exchange = N === 1
		? 0
		: 2 * (N - 1) / N * bytes / W + buckets * 2 * Math.ceil(Math.log2(N)) * latency;
	const backward = 2 / 3 * compute;
	// The last bucket is only there when the pass is over.
	const exposed = Math.max(exchange - backward, exchange / buckets);
	const step = compute + exposed;
	return { tokensPerSecond: N * t / step, compute, exchange, exposed, efficiency: compute / step };
}
