// The page: everything found is on it, and what failed stands out.

import { assert, assertMatch, assertStringIncludes } from "@std/assert";
import type { Examination } from "../../src/doctor/examination.ts";
import { formatExamination } from "../../src/doctor/page.ts";

const examination: Examination = {
	format: "outlierscope-doctor",
	version: "1.2.3",
	system: "Deno 9.9.9, linux, x86_64",
	environment: { CXX: "clang++" },
	device: {
		name: "A device",
		kind: "cuda",
		computeCapability: "9.0",
		driverVersion: "12.4",
		warpSize: 32,
		maxThreadsPerBlock: 1024,
		multiprocessors: 132,
		memory: { free: 2 ** 30, total: 80 * 2 ** 30 },
	},
	parts: [
		{ name: "CUDA driver", path: "libcuda.so.1", version: "12.4", problem: null },
		{ name: "NVRTC", path: null, version: null, problem: "Cannot load NVRTC; tried\n  a\n  b" },
	],
	cache: {
		directory: "/cache",
		bytes: 5 * 2 ** 20,
		hostDrivers: 1,
		modules: 2,
		models: [{ name: "m.gguf", bytes: 3 * 2 ** 20 }],
	},
	lacks: [{ what: "a thing\nin two lines", remedy: "get it" }],
	selfTest: {
		seed: 77,
		results: [
			{ name: "right", ok: true, largestError: 1.27e-7, problem: null },
			{ name: "exact", ok: true, largestError: 0, problem: null },
			{ name: "wrong", ok: false, largestError: null, problem: "Error: value 3 is 4\nmore" },
		],
	},
};

Deno.test("the page tells all that was found", () => {
	const page = formatExamination(examination);
	for (
		const line of [
			/^Outlierscope 1\.2\.3, Deno 9\.9\.9, linux, x86_64$/m,
			/^ {2}cuda, compute capability 9\.0, driver for CUDA 12\.4$/m,
			/^ {2}1\.0 GiB of 80\.0 GiB memory are free$/m,
			/^ {2}CUDA driver {3}libcuda\.so\.1, 12\.4$/m,
			/^ {2}NVRTC {9}not found$/m,
			/^ {2}CXX=clang\+\+$/m,
			/^ {2}model m\.gguf, 3\.0 MiB$/m,
			/^ {2}in two lines\n {4}→ get it$/m,
			/OUTLIERSCOPE_SEED=77$/m,
			/^ {2}right +ok +largest error 1\.3e-7$/m,
			/^ {2}exact +ok +exact$/m,
			/^ {2}wrong +FAILED Error: value 3 is 4$/m,
			/^ {2}2 ok, 1 failed$/m,
			/^The device computes wrong results: please report this page\.$/m,
		]
	) assertMatch(page, line);
});

Deno.test("the page ends with what is to be done", () => {
	const [right] = examination.selfTest!.results;
	const well = formatExamination({ ...examination, selfTest: { seed: 1, results: [right] } });
	assertStringIncludes(well, "\nEverything works.\n");
	const none = formatExamination({ ...examination, device: null, selfTest: null, environment: {} });
	assertStringIncludes(none, "\nDevice\n  none that can compute\n");
	assertStringIncludes(none, "\nNothing can be computed here yet: see what is missing.\n");
	assert(!none.includes("Environment"));
});
