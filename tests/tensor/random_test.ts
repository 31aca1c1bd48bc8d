// Random tensors: repeatable, distributed as they say, independent of each other, and dropout's gradient.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
	bernoulli,
	checkpoint,
	type Device,
	dropout,
	Generator,
	manualSeed,
	normal,
	permutation,
	randint,
	scope,
	Tensor,
	truncatedNormal,
	uniform,
} from "../../mod.ts";
import { defaultGenerator } from "../../src/tensor/random.ts";
import { device, deviceTest, fromBfloat16, normal as normals } from "./on_device.ts";

// Tests of distributions have fixed seeds: what they assert holds for these, for ever, and would hold for
// nearly all others.
const COUNT = 400_000;
const generator = () => new Generator(20261122);

function read(tensor: Tensor): Float64Array {
	const data = tensor.dataSync();
	tensor.dispose();
	return Float64Array.from(data, tensor.dtype === "bfloat16" ? fromBfloat16 : Number);
}

/** The largest distance between the distribution of a sample and F, times √n: over 1.95 once in 1,000. */
function kolmogorovSmirnov(sample: Float64Array, F: (x: number) => number): number {
	const sorted = sample.toSorted(), n = sorted.length;
	let largest = 0;
	for (let i = 0; i < n; i++) {
		const p = F(sorted[i]!);
		largest = Math.max(largest, p - i / n, (i + 1) / n - p);
	}
	return largest * Math.sqrt(n);
}

/** Mean, and central moments 2 to 4. */
function moments(sample: Float64Array): number[] {
	const mean = sample.reduce((sum, x) => sum + x, 0) / sample.length;
	const central = [2, 3, 4].map((power) =>
		sample.reduce((sum, x) => sum + (x - mean) ** power, 0) / sample.length
	);
	return [mean, ...central];
}

/** Fails unless each moment is within 4.5 standard errors. */
function assertMoments(sample: Float64Array, expected: number[], errors: number[], what: string) {
	moments(sample).forEach((moment, i) => {
		const error = errors[i]! / Math.sqrt(sample.length);
		assert(
			Math.abs(moment - expected[i]!) < 4.5 * error,
			`${what}: moment ${i + 1} is ${moment}, expected ${expected[i]} ± ${error}`,
		);
	});
}

/** The correlation of two samples, times √n: a standard normal number if they are independent. */
function correlation(a: Float64Array, b: Float64Array): number {
	const [meanA, varianceA] = moments(a) as [number, number];
	const [meanB, varianceB] = moments(b) as [number, number];
	const sum = a.reduce((sum, x, i) => sum + (x - meanA) * (b[i]! - meanB), 0);
	return sum / Math.sqrt(a.length * varianceA * varianceB);
}

/** The standard normal distribution function, by Simpson's rule from 0. */
function phi(z: number): number {
	const steps = 60, h = z / steps, f = (t: number) => Math.exp(-t * t / 2);
	let sum = f(0) + f(z);
	for (let i = 1; i < steps; i++) sum += f(i * h) * (i % 2 ? 4 : 2);
	return 0.5 + sum * h / 3 / Math.sqrt(2 * Math.PI);
}

deviceTest("the same seed gives the same tensors, another one others", () => {
	const draw = (g: Generator) =>
		scope(() => ({
			data: [
				uniform([3, 5], { generator: g }),
				normal([3, 5], { generator: g }),
				truncatedNormal([15], { generator: g }),
				randint([15], 0, 1000, { generator: g }),
				bernoulli([15], 0.5, { generator: g }),
				permutation(15, { generator: g }),
				dropout(normal([15], { generator: g }), 0.3, { generator: g }),
			].map((one) => [...one.dataSync()]),
		})).data;
	const first = draw(new Generator(7));
	assertEquals(draw(new Generator(7)), first);
	assertEquals(draw(new Generator(0).manualSeed(7)), first);
	draw(new Generator(8)).forEach((data, i) => assert(String(data) !== String(first[i])));
});

deviceTest("a generator goes on from where its state says", () => {
	const g = new Generator(7);
	assertEquals(g.state, { seed: 7, offset: 0 });
	const first = read(normal([9], { generator: g }));
	assertEquals(g.state, { seed: 7, offset: 1 });
	const { state } = g;
	const second = read(normal([9], { generator: g }));
	assert(String(first) !== String(second));
	g.state = state;
	assertEquals(read(normal([9], { generator: g })), second);
	assertEquals(g.seed, 7);
});

deviceTest("an element depends on its index, not on how many there are", () => {
	for (const draw of [uniform, normal, truncatedNormal]) {
		const few = read(draw([100], { generator: generator() }));
		const many = read(draw([10, 100], { generator: generator() }));
		assertEquals(many.subarray(0, 100), few);
	}
});

deviceTest("manualSeed() seeds the generator of draws that name none", () => {
	manualSeed(3);
	const first = read(normal([4]));
	assertEquals(read(normal([4], { generator: new Generator(3) })), first);
	assertEquals(manualSeed(3), defaultGenerator);
	assertEquals(read(normal([4])), first);
});

deviceTest("without a seed, generators differ", () => {
	assert(new Generator().seed !== new Generator().seed);
});

deviceTest("uniform numbers have the moments and the distribution of [low, high)", () => {
	const sample = read(uniform([COUNT], { generator: generator() }));
	const errors = [Math.sqrt(1 / 12), Math.sqrt(1 / 180), 0.02, 0.01];
	assertMoments(sample, [0.5, 1 / 12, 0, 1 / 80], errors, "uniform");
	assert(kolmogorovSmirnov(sample, (x) => x) < 1.95);
	const stretched = read(uniform([COUNT], { low: -3, high: 5, generator: generator() }));
	stretched.forEach((x, i) => assert(Math.abs(x - (sample[i]! * 8 - 3)) < 1e-6));
	const coarse = read(uniform([COUNT], { dtype: "bfloat16", generator: generator() }));
	assert(coarse.every((x) => x >= 0 && x < 1));
});

deviceTest(
	"normal numbers have the moments and the distribution of their mean and deviation",
	() => {
		const sample = read(normal([COUNT], { generator: generator() }));
		assertMoments(sample, [0, 1, 0, 3], [1, Math.SQRT2, Math.sqrt(6), Math.sqrt(96)], "normal");
		assert(kolmogorovSmirnov(sample, phi) < 1.95);
		const other = read(normal([COUNT], { mean: 10, std: 0.5, generator: generator() }));
		other.forEach((x, i) => assert(Math.abs(x - (10 + 0.5 * sample[i]!)) < 2e-6));
		assertEquals(read(normal([5], { mean: 2, std: 0 })), Float64Array.of(2, 2, 2, 2, 2));
	},
);

deviceTest(
	"truncated normal numbers have the distribution between their bounds, and keep to them",
	() => {
		for (
			const [mean, std, low, high] of [
				[0, 1, -2, 2],
				[0, 0.02, -0.04, 0.04],
				[1, 2, 4, 5],
				[0, 1, -Infinity, -3],
				[5, 1, -100, 100],
			] as const
		) {
			const options = { mean, std, low, high, generator: generator() };
			const sample = read(truncatedNormal([COUNT / 4], options));
			assert(sample.every((x) => x >= Math.fround(low) && x <= Math.fround(high)));
			const a = phi(Math.max(-9, (low - mean) / std)), b = phi(Math.min(9, (high - mean) / std));
			const F = (x: number) => (phi((x - mean) / std) - a) / (b - a);
			assert(
				kolmogorovSmirnov(sample, F) < 1.95,
				`truncated to ${low}..${high} of ${mean} ± ${std}`,
			);
		}
	},
);

deviceTest("masks have ones with their probability", () => {
	for (const p of [0, 1e-3, 0.1, 0.5, 1]) {
		const mask = read(bernoulli([COUNT], p, { generator: generator() }));
		assert(mask.every((x) => x === 0 || x === 1));
		const error = Math.sqrt(p * (1 - p) / COUNT);
		assert(Math.abs(moments(mask)[0]! - p) <= 4.5 * error, `p = ${p}`);
	}
});

deviceTest("whole numbers are equally likely, from low to high", () => {
	const counts = new Float64Array(7);
	for (const x of read(randint([COUNT], -3, 4, { generator: generator() }))) counts[x + 3]!++;
	const expected = COUNT / 7;
	const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
	assert(chiSquare < 22.5, `${counts}`); // six degrees of freedom: once in 1,000
	const wide = read(randint([COUNT], -(2 ** 31), 2 ** 31 - 1, { generator: generator() }));
	assert(kolmogorovSmirnov(wide, (x) => (x + 2 ** 31) / 2 ** 32) < 1.95);
	assertEquals(read(randint([3], 5, 6)), Float64Array.of(5, 5, 5));
});

deviceTest("orders are permutations, each equally likely", () => {
	const g = generator(), seen = new Map<string, number>();
	for (let i = 0; i < 2400; i++) {
		const order = String(read(permutation(4, { generator: g })));
		seen.set(order, (seen.get(order) ?? 0) + 1);
	}
	assertEquals(seen.size, 24);
	const chiSquare = [...seen.values()].reduce((sum, count) => sum + (count - 100) ** 2 / 100, 0);
	assert(chiSquare < 49.7, `${chiSquare}`); // 23 degrees of freedom: once in 1,000
	const long = read(permutation(1000, { generator: g }));
	assertEquals(long.toSorted(), Float64Array.from({ length: 1000 }, (_, i) => i));
	assertEquals([...read(permutation(0))], []);
});

deviceTest(
	"draws of one seed, the same draw of other seeds, and neighbours are independent",
	() => {
		const at = (seed: number, offset: number) => {
			const g = new Generator();
			g.state = { seed, offset };
			return read(normal([COUNT / 4], { generator: g }));
		};
		const first = at(1, 0), others = [at(1, 1), at(2, 0), at(1, 2 ** 32), at(2 ** 32 + 1, 0)];
		for (const other of others) assert(Math.abs(correlation(first, other)) < 4.5);
		for (const lag of [1, 2, 32, 64, 96, 128]) {
			const r = correlation(first.subarray(lag), first.subarray(0, -lag));
			assert(Math.abs(r) < 4.5, `lag ${lag}: ${r}`);
			const squares = first.map((x) => x * x);
			const s = correlation(squares.subarray(lag), squares.subarray(0, -lag));
			assert(Math.abs(s) < 4.5, `squares, lag ${lag}: ${s}`);
		}
	},
);

deviceTest("dropout keeps the others scaled, and sends gradients through the same mask", () => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		const data = normals(1000).map((x) => x === 0 ? 1 : x);
		using float = Tensor.from<"float32", 2>(device, "float32", [10, 100], data);
		using x = (dtype === "float32" ? float.detach() : normal([10, 100], { dtype })).requireGrad();
		using y = dropout(x, 0.25, { generator: generator() });
		using ones = Tensor.from(
			device,
			dtype,
			[10, 100],
			Array(1000).fill(dtype === "float32" ? 1 : 0x3f80),
		);
		y.backward({ gradient: ones });
		const from = read(x.detach()), to = read(y.detach()), gradient = read(x.grad!.detach());
		const round = dtype === "float32" ? 1e-7 : 2 ** -8;
		let dropped = 0;
		from.forEach((value, i) => {
			if (gradient[i] === 0) dropped++;
			else assert(Math.abs(gradient[i]! - 4 / 3) <= 2 * round);
			assert(
				Math.abs(to[i]! - (gradient[i] === 0 ? 0 : value * 4 / 3)) <= 2 * round * Math.abs(value),
			);
		});
		assert(dropped > 190 && dropped < 310, `${dropped} of 1000`);
	}
});

deviceTest("dropout of nothing and of all, of views and of infinity", () => {
	using x = Tensor.from<"float32", 2>(device, "float32", [2, 2], [1, Infinity, NaN, 4]);
	using none = dropout(x, 0);
	assertEquals([...none.dataSync()], [1, Infinity, NaN, 4]);
	using all = dropout(x, 1);
	assertEquals([...all.dataSync()], [0, 0, 0, 0]);
	using turned = x.transpose();
	using kept = dropout(turned, 0);
	assertEquals([...kept.dataSync()], [1, NaN, Infinity, 4]);
	using empty = Tensor.empty<"float32", 1>(device, "float32", [0]);
	using still = dropout(empty, 0.5);
	assertEquals(still.size, 0);
});

deviceTest("a checkpoint draws the same mask again", () => {
	const g = generator();
	using x = normal([100], { requiresGrad: true });
	using y = checkpoint((x) => dropout(x, 0.5, { generator: g }), x);
	using between = normal([3], { generator: g });
	using ones = Tensor.from<"float32", 1>(device, "float32", [100], Array(100).fill(1));
	y.backward({ gradient: ones });
	const [to, gradient] = [read(y.detach()), read(x.grad!.detach())];
	to.forEach((value, i) => assertEquals(value === 0, gradient[i] === 0));
	assertEquals(g.state.offset, 2);
	void between;
});

deviceTest("empty tensors and scalars can be drawn, with gradients wanted or not", () => {
	using none = uniform([0, 3]);
	using one = normal([], { requiresGrad: true });
	assertEquals([none.size, one.size, none.requiresGrad, one.requiresGrad], [0, 1, false, true]);
});

deviceTest("what cannot be drawn is refused", () => {
	const refused = (draw: () => unknown, message: string) => assertThrows(draw, RangeError, message);
	refused(() => uniform([2], { low: 1, high: 1 }), "Cannot draw from 1 to 1");
	refused(() => uniform([2], { low: NaN }), "Cannot draw from NaN to 1");
	refused(() => uniform([2], { high: Infinity }), "Cannot draw from 0 to Infinity");
	refused(() => normal([2], { std: -1 }), "Cannot draw with mean 0 and standard deviation -1");
	refused(() => normal([2], { mean: NaN }), "Cannot draw with mean NaN");
	refused(() => truncatedNormal([2], { low: 7, high: 8 }), "reach within 6 deviations of the mean");
	refused(() => truncatedNormal([2], { low: 2, high: 1 }), "must not be empty");
	refused(() => truncatedNormal([2], { std: 0 }), "Cannot draw from -2 to 2 with mean 0");
	refused(
		() => bernoulli([2], 1.5),
		"Cannot compute bernoulli with probability 1.5: not from 0 to 1",
	);
	refused(() => randint([2], 3, 3), "Cannot draw whole numbers from 3 to 3");
	refused(() => randint([2], 0.5, 3), "both must be int32");
	refused(() => randint([2], 0, 2 ** 31), "both must be int32");
	refused(() => permutation(-1), "Cannot permute -1 numbers");
	refused(() => new Generator(-1), "Cannot use -1 as a generator's seed");
	refused(() => new Generator(2 ** 53), "it must be whole, from 0 to 2⁵³ - 1");
	refused(
		() => new Generator(1).state = { seed: 1, offset: 0.5 },
		"Cannot use 0.5 as a generator's offset",
	);
	using x = normal([2]);
	refused(() => dropout(x, -0.1), "Cannot compute dropout with probability -0.1");
});

deviceTest("draws may name their device", () => {
	using x = normal([2], { device: device as Device });
	assertEquals(x.device, device);
});
