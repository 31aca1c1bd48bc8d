// Whether operations are recorded at present, and who watches those that are not.

import type { Tensor } from "../tensor.ts";

/** State that operations advance, such as a random generator's. */
export interface Replayable {
	/** What it is at present; setting an earlier value repeats what came after it. */
	state: unknown;
}

/** Watches the operations of a function that is run without being recorded, to run it again later. */
export interface Watcher {
	/** An operation takes a tensor that requires a gradient. */
	uses(tensor: Tensor): void;
	/** An operation is about to advance a state. */
	advances(state: Replayable): void;
}

let recording = true;
let watcher: Watcher | null = null;

/** Whether operations are recorded for a backward pass. */
export function isRecording(): boolean {
	return recording;
}

/** Tells who watches, if anyone does, that an operation takes `tensor`. */
export function noteUse(tensor: Tensor): void {
	watcher?.uses(tensor);
}

/** Tells who watches, if anyone does, that `state` is about to advance: generators call it before they draw. */
export function noteAdvance(state: Replayable): void {
	watcher?.advances(state);
}

function withRecording<T>(on: boolean, name: string, body: () => T): T {
	const before = recording;
	recording = on;
	try {
		const result = body();
		if (result instanceof Promise) {
			result.catch(() => {}); // it may well fail; the error below says why
			throw new TypeError(
				`Cannot run an asynchronous function in ${name}: it would go on after its end`,
			);
		}
		return result;
	} finally {
		recording = before;
	}
}

/**
 * Runs `body` without recording its operations: no gradient will flow through them, and nothing is kept for a
 * backward pass. `body` must not be asynchronous.
 *
 * @example Change a parameter
 * ```ts
 * import { Device, noGrad, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using w = Tensor.from<"float32", 1>(device, "float32", [2], [1, 2]).requireGrad();
 * using view = noGrad(() => w.reshape([1, 2]));
 * console.log(view.requiresGrad); // false
 * ```
 */
export function noGrad<T>(body: () => T): T {
	return withRecording(false, "noGrad", body);
}

/** Runs `body` with its operations recorded, also inside of {@linkcode noGrad}. */
export function enableGrad<T>(body: () => T): T {
	return withRecording(true, "enableGrad", body);
}

/** Runs `body` without recording, watched by `next` as well as by who watches already. */
export function watched<T>(next: Watcher, body: () => T): T {
	const before = watcher;
	watcher = {
		uses(tensor) {
			next.uses(tensor);
			before?.uses(tensor);
		},
		advances(state) {
			next.advances(state);
			before?.advances(state);
		},
	};
	try {
		return noGrad(body);
	} finally {
		watcher = before;
	}
}

/** Throws if `target`, which is about to change in place, takes part in what is recorded. */
export function refuseRecorded(operation: string, target: Tensor): void {
	if (recording && target.requiresGrad) {
		throw new RangeError(
			`Cannot compute ${operation} in place: a ${target.dtype} tensor of shape [${target.shape}] requires a ` +
				"gradient; do it in noGrad(), or compute a new tensor",
		);
	}
}
