// What a check works with: a device, random numbers, guarded memory, and launches that take it.

import type { Device } from "../../cuda/device.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Given, given, type Guarded, wanted } from "./guarded.ts";
import type { Random } from "./random.ts";

/** An argument: memory stands for its pointer, an array for an input that holds it, nothing for a null pointer. */
export type Argument =
	| number
	| boolean
	| { pointer: number }
	| Float32Array
	| Int32Array
	| Uint8Array
	| null
	| undefined;

/** Where kernels are checked. */
export class Bench {
	constructor(readonly device: Device, readonly random: Random) {}

	/** Normally distributed float32 values. */
	normals(length: number, deviation?: number): Float32Array<ArrayBuffer> {
		return this.random.normals(length, deviation);
	}

	/** An input: reading beyond it gives NaN. */
	given<D extends DType>(dtype: D, data: ArrayLike<number>): Given<D> {
		return given(this.device, dtype, data);
	}

	/** A poisoned output: an element that is not written stays NaN. */
	wanted<D extends DType>(dtype: D, length: number): Guarded<D> {
		return wanted(this.device, dtype, length);
	}

	/** Launches with a warp a row. */
	overRows(kernel: string, rows: number, ...args: Argument[]): void {
		this.device.kernel(kernel).overRows(rows, ...this.#numbers(args));
	}

	/** Launches over elements. */
	overElements(kernel: string, count: number, ...args: Argument[]): void {
		this.device.kernel(kernel).overElements(count, ...this.#numbers(args));
	}

	/** Launches one warp. */
	once(kernel: string, ...args: Argument[]): void {
		this.device.kernel(kernel).once(...this.#numbers(args));
	}

	#numbers(args: Argument[]): number[] {
		return args.map((argument) => {
			if (argument instanceof Float32Array) return this.given("float32", argument).pointer;
			if (argument instanceof Int32Array) return this.given("int32", argument).pointer;
			if (argument instanceof Uint8Array) return this.given("uint8", argument).pointer;
			return argument && typeof argument === "object" ? argument.pointer : Number(argument ?? 0);
		});
	}
}
