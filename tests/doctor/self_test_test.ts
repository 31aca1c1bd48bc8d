// The self-test covers every kernel, launches what it says, and finds a kernel that computes wrong.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { parseKernels } from "../../src/cuda/kernel_source.ts";
import { kernelSources } from "../../src/cuda/kernels.ts";
import { Random } from "../../src/doctor/self_test/random.ts";
import { runSelfTests, selfTests } from "../../src/doctor/self_test.ts";
import { scope } from "../../src/tensor/scope.ts";
import { Bench, openDevice } from "../cuda/kernels/bench.ts";
import { seed } from "../random.ts";

const device = await openDevice();
const kernels = kernelSources.flatMap(({ text }) => parseKernels(text).map(({ name }) => name));

Deno.test("every kernel has a self-test, and passes it", () => {
	const before = device.liveBytes;
	const results = runSelfTests(device, seed, kernels);
	assertEquals(results.filter(({ ok }) => !ok), [], `repeat with OUTLIERSCOPE_SEED=${seed}`);
	const names = results.map(({ name }) => name);
	assertEquals(kernels.filter((name) => !names.includes(name)), []);
	for (const { largestError } of results) assert(largestError! >= 0 && largestError! < 0.01);
	assertEquals(device.liveBytes, before);
});

Deno.test("each self-test launches the kernels that it says it covers", () => {
	for (const test of selfTests) {
		const used = new Set<string>();
		const find = device.kernel;
		device.kernel = (name) => {
			used.add(name);
			return find.call(device, name);
		};
		try {
			scope(() => void test.run(new Bench(device, new Random(seed))));
		} finally {
			device.kernel = find;
		}
		assertEquals([...used].sort(), test.kernels.toSorted());
	}
});

Deno.test("a kernel without a self-test is a failure", () => {
	const results = runSelfTests(device, seed, [...kernels, "forgotten"]);
	assertEquals(results.filter(({ ok }) => !ok), [
		{ name: "forgotten", ok: false, largestError: null, problem: "no self-test covers it" },
	]);
});

Deno.test("a kernel that computes wrong fails alone, with what is wrong", async () => {
	const source = kernelSources.find(({ name }) => name === "norm.cu")!;
	const wrong = source.text.replaceAll(" + epsilon", "");
	assert(wrong !== source.text);
	await device.load([{ name: "norm.cu", text: wrong }]);
	try {
		const failed = runSelfTests(device, seed, kernels).filter(({ ok }) => !ok);
		const own = parseKernels(wrong).map(({ name }) => name);
		assert(failed.every(({ name }) => own.includes(name)) && failed.length > 0);
		assertMatch(failed[0].problem!, /^Error: rms_norm .* value \d+ is .*, expected .* within /);
	} finally {
		await device.load([source]);
	}
});
