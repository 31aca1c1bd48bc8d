// Gradients of several processes, combined while the backward pass still runs: in buckets of parameters, each sent as
// soon as its gradients and those of the buckets before it are there, so that all processes send in the same order.

import type { ProcessGroup } from "../../parallel/process_group.ts";
import { Stream, type Tensor } from "../../tensor/mod.ts";
import type { Parameters } from "../optim/optimizer.ts";

/** Bytes of gradients that are sent together at most: enough for the full rate of a network. */
const LARGEST_BUCKET = 25 * 2 ** 20;
/** How many buckets there are at least, about, so that the first is sent early. */
const FEWEST_BUCKETS = 8;

interface Bucket {
	parameters: Tensor[];
	/** Of how many of its parameters the gradient has not come. */
	left: number;
}

/** Sums gradients over a group of processes. */
export class GradientExchange implements Disposable {
	readonly #group: ProcessGroup;
	readonly #stream: Stream;
	readonly #buckets: Bucket[] = [];
	readonly #places = new Map<unknown, Bucket>();
	readonly #owners: ReadonlyMap<Tensor, number> | null;
	#sent = 0;

	/**
	 * Makes one for the parameters of a model.
	 *
	 * @param owners which process needs a parameter's sum; by default all of them do
	 */
	constructor(
		parameters: Parameters,
		group: ProcessGroup,
		owners: ReadonlyMap<Tensor, number> | null = null,
	) {
		this.#group = group;
		this.#owners = owners;
		this.#stream = new Stream(group.device);
		const all = [...parameters.values()];
		const whole = all.reduce((sum, { size }) => sum + 4 * size, 0);
		const limit = Math.min(LARGEST_BUCKET, whole / FEWEST_BUCKETS);
		let bucket: Bucket = { parameters: [], left: 0 }, bytes = Infinity;
		// The backward pass comes to the last parameters first.
		for (const parameter of all.reverse()) {
			if (bytes >= limit) {
				this.#buckets.push(bucket = { parameters: [], left: 0 });
				bytes = 0;
			}
			bucket.parameters.push(parameter);
			bytes += 4 * parameter.size;
			this.#places.set(parameter.edge!.node, bucket);
		}
	}

	/** Before the backward pass whose gradients are to be sent. */
	begin(): void {
		this.#sent = 0;
		for (const bucket of this.#buckets) bucket.left = bucket.parameters.length;
	}

	/** For the backward pass: the gradient of a leaf is complete. */
	readonly onLeaf = (leaf: unknown): void => {
		const bucket = this.#places.get(leaf);
		if (!bucket) return;
		bucket.left--;
		while (this.#buckets[this.#sent]?.left === 0) this.#send(this.#buckets[this.#sent++]!);
	};

	/** Behind the backward pass: sends what is left, and `others`, and has the main stream wait for it all. */
	finish(...others: Tensor[]): void {
		while (this.#sent < this.#buckets.length) this.#send(this.#buckets[this.#sent++]!);
		const { device } = this.#group;
		device.withStream(this.#stream, () => {
			this.#stream.wait(device.mainStream);
			this.#group.together(() => others.forEach((one) => this.#group.allReduce(one)));
		});
		device.mainStream.wait(this.#stream);
	}

	#send({ parameters }: Bucket): void {
		const group = this.#group;
		group.device.withStream(this.#stream, () => {
			this.#stream.wait(group.device.mainStream);
			group.together(() => {
				for (const parameter of parameters) {
					const { grad } = parameter; // none came where nothing depends on it
					if (!grad) continue;
					if (this.#owners) group.reduce(grad, this.#owners.get(parameter)!);
					else group.allReduce(grad);
				}
			});
		});
	}

	/** Ends its stream. */
	[Symbol.dispose](): void {
		this.#stream[Symbol.dispose]();
	}
}
