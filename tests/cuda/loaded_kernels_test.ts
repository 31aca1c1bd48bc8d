// Which sources are compiled and loaded, and when: those that are asked for, at their first use or before.

import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import type { Device } from "../../src/cuda/device.ts";
import { CompileError } from "../../src/cuda/errors.ts";
import { takeInventory } from "../../src/cuda/inventory.ts";
import { LoadedKernels } from "../../src/cuda/loaded_kernels.ts";
import { cString, textIn } from "../../src/ffi/c_memory.ts";
import { withEmptyCache } from "../empty_cache.ts";
import { given, kernelTest, openDevice } from "./kernels/bench.ts";

const device = await openDevice();
const architecture = `sm_${takeInventory(device).computeCapability.replace(".", "")}`;

/** The kernels of a device that has none yet, and what is compiled for it. */
class Fresh {
	readonly compiled: string[] = [];
	/** How many modules were loaded. */
	loaded = 0;
	told = 0;
	/** Whether what is compiled has a mistake. */
	broken = false;
	readonly kernels: LoadedKernels;

	constructor() {
		const { libraries } = device, { driver, nvrtc } = libraries;
		const watched: typeof nvrtc = {
			...nvrtc,
			nvrtcCreateProgram: (program, text, name, ...headers) => {
				this.compiled.push(textIn(name as Uint8Array<ArrayBuffer>));
				const source = this.broken ? cString("\nvoid f() { missing(); }") : text;
				return nvrtc.nvrtcCreateProgram(program, source, name, ...headers);
			},
		};
		const counting: typeof driver = {
			...driver,
			cuModuleLoadData: (...call) => {
				this.loaded++;
				return driver.cuModuleLoadData(...call);
			},
		};
		const other: Device = Object.create(device, {
			libraries: { value: { ...libraries, driver: counting, nvrtc: watched } },
			countLaunch: { value: () => device.countLaunch() },
		});
		this.kernels = new LoadedKernels(other, architecture, () => this.told++);
	}
}

Deno.test("the first use of a source compiles that one alone, and its kernels compute", () =>
	withEmptyCache(async () => {
		const { kernels, compiled } = new Fresh();
		const scale = kernels.get("in_place_mul_float32");
		assertEquals(compiled, ["in_place.cu"]);
		assertEquals(kernels.get("in_place_mul_float32"), scale);
		kernels.get("in_place_add_bfloat16");
		assertEquals(compiled, ["in_place.cu"], "another kernel of the same source");
		const pointer = device.allocate(12), data = Float32Array.of(1, 2, 3);
		device.upload(pointer, data);
		scale.overElements(3, pointer, 3, 3);
		await device.download(data, pointer);
		device.free(pointer);
		assertEquals([...data], [3, 6, 9]);
		kernels.get("scan_rows");
		assertEquals(compiled, ["in_place.cu", "scan.cu"]);
	}));

Deno.test("what is prepared is compiled together, once, and not again at its first use", () =>
	withEmptyCache(async (directory) => {
		const fresh = new Fresh(), { kernels, compiled } = fresh;
		await kernels.prepare(["scan.cu", "in_place.cu"]);
		assertEquals(compiled.toSorted(), ["in_place.cu", "scan.cu"]);
		kernels.get("scan_rows");
		await kernels.prepare(["in_place.cu", "scan.cu", "masks.cu"]);
		assertEquals(compiled.slice(2), ["masks.cu"]);
		assertEquals(fresh.loaded, 3);
		assertEquals([...Deno.readDirSync(`${directory}/kernels`)].length, 3);
	}));

Deno.test("a source that is not there cannot be prepared", async () => {
	const { kernels, compiled } = new Fresh();
	const error = await assertRejects(() => kernels.prepare(["scan.cu", "scan"]), RangeError);
	assertEquals(error.message, 'Cannot prepare "scan": there is no such kernel source');
	assertEquals(compiled, []);
});

Deno.test("a compilation is told once, and none where the cache has all", () =>
	withEmptyCache(async () => {
		const first = new Fresh(), again = new Fresh();
		first.kernels.get("scan_rows");
		assertEquals(first.told, 1);
		await first.kernels.prepare(["in_place.cu"]);
		first.kernels.get("alibi_bias");
		assertEquals(first.told, 1);
		await again.kernels.prepare(["in_place.cu"]);
		again.kernels.get("scan_rows");
		assertEquals([again.told, again.compiled], [0, []]);
	}));

Deno.test("a first use while the same source is prepared waits for nothing, and both are right", () =>
	withEmptyCache(async () => {
		const { kernels, compiled } = new Fresh();
		const preparing = kernels.prepare(["scan.cu"]);
		assertEquals(kernels.get("scan_rows").signature.name, "scan_rows");
		await preparing;
		assertEquals(compiled, ["scan.cu", "scan.cu"]);
		assertEquals(new Fresh().kernels.get("scan_columns").signature.name, "scan_columns");
	}));

Deno.test("a source that does not compile is the same error either way, and can be tried again", () =>
	withEmptyCache(async () => {
		const fresh = new Fresh(), { kernels } = fresh;
		fresh.broken = true;
		const errors = [
			assertThrows(() => kernels.get("scan_rows"), CompileError),
			await assertRejects(() => kernels.prepare(["scan.cu"]), CompileError),
		];
		for (const error of errors) {
			assertEquals([error.function, error.file, error.line], ["nvrtcCompileProgram", "scan.cu", 2]);
			assertStringIncludes(error.message, "missing");
		}
		fresh.broken = false;
		assertEquals(kernels.get("scan_rows").signature.name, "scan_rows");
	}));

kernelTest("a kernel may be used for the first time in a capture", ({ device }) => {
	const x = given(device, "float32", [1, 2, 3]);
	const { kernels } = new Fresh();
	using graph = device.capture(() => {
		kernels.get("in_place_mul_float32").overElements(3, x.pointer, 2, 3);
	});
	graph.launch();
	graph.launch();
	assertEquals([...x.take()], [4, 8, 12]);
});
