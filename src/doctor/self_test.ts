// The self-test: every kernel against its reference in float64, on the device that is there, so that one page
// tells whether a machine computes right.

import type { Device } from "../cuda/device.ts";
import { scope } from "../tensor/scope.ts";
import { selfTests as activation } from "./self_test/activation.ts";
import { selfTests as attention } from "./self_test/attention.ts";
import { Bench } from "./self_test/bench.ts";
import { selfTests as binary } from "./self_test/binary.ts";
import { selfTests as cast } from "./self_test/cast.ts";
import { selfTests as copy } from "./self_test/copy.ts";
import { selfTests as crossEntropy } from "./self_test/cross_entropy.ts";
import { selfTests as dequantize } from "./self_test/dequantize.ts";
import { selfTests as find } from "./self_test/find.ts";
import { selfTests as gather } from "./self_test/gather.ts";
import { selfTests as gemm } from "./self_test/gemm.ts";
import { selfTests as inPlace } from "./self_test/in_place.ts";
import { selfTests as masks } from "./self_test/masks.ts";
import { selfTests as losses } from "./self_test/losses.ts";
import { selfTests as norm } from "./self_test/norm.ts";
import { selfTests as normBackward } from "./self_test/norm_backward.ts";
import { selfTests as optimizer } from "./self_test/optimizer.ts";
import { Random } from "./self_test/random.ts";
import { selfTests as randomNumbers } from "./self_test/random_numbers.ts";
import { selfTests as reduce } from "./self_test/reduce.ts";
import { selfTests as rotary } from "./self_test/rotary.ts";
import { selfTests as scatter } from "./self_test/scatter.ts";
import type { SelfTest } from "./self_test/self_test.ts";
import { selfTests as scan } from "./self_test/scan.ts";
import { selfTests as softmax } from "./self_test/softmax.ts";
import { selfTests as sort } from "./self_test/sort.ts";
import { selfTests as spread } from "./self_test/spread.ts";
import { selfTests as statistics } from "./self_test/statistics.ts";
import { selfTests as swapAxes } from "./self_test/swap_axes.ts";
import { selfTests as unary } from "./self_test/unary.ts";

/** Every self-test. */
export const selfTests: SelfTest[] = [
	...activation,
	...attention,
	...binary,
	...cast,
	...copy,
	...crossEntropy,
	...dequantize,
	...find,
	...gather,
	...inPlace,
	...masks,
	...losses,
	...norm,
	...normBackward,
	...optimizer,
	...randomNumbers,
	...reduce,
	...rotary,
	...scan,
	...scatter,
	...softmax,
	...sort,
	...spread,
	...statistics,
	...swapAxes,
	...unary,
	...gemm,
];

/** How a kernel did. */
export interface SelfTestResult {
	/** The kernel's name, or what was checked. */
	name: string;
	/** Whether its results are right. */
	ok: boolean;
	/** The largest error, relative to the sizes that errors are judged by; null if it failed. */
	largestError: number | null;
	/** What is wrong, if it failed. */
	problem: string | null;
}

/**
 * Runs every self-test on `device`.
 *
 * @param seed of the random inputs
 * @param kernels the names of the kernels that must be covered
 * @returns a result a kernel in the order of the tests, and failures for kernels that no test covers
 */
export function runSelfTests(
	device: Device,
	seed: number,
	kernels: readonly string[],
): SelfTestResult[] {
	const results = selfTests.flatMap((test, stream): SelfTestResult[] => {
		const names = test.name === undefined ? test.kernels : [test.name];
		const each = (result: Omit<SelfTestResult, "name">) =>
			names.map((name) => ({ name, ...result }));
		try {
			const { largestError } = scope(() => ({
				largestError: Math.max(
					...[test.run(new Bench(device, new Random(seed, stream))) ?? 0].flat(),
				),
			}));
			return each({ ok: true, largestError, problem: null });
		} catch (error) {
			return each({ ok: false, largestError: null, problem: String(error) });
		}
	});
	const covered = new Set(selfTests.flatMap((test) => test.kernels));
	const forgotten = kernels.filter((name) => !covered.has(name));
	return [
		...results,
		...forgotten.map((name) => ({
			name,
			ok: false,
			largestError: null,
			problem: "no self-test covers it",
		})),
	];
}
