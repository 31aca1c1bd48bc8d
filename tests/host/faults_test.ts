// Calls of the host driver that fail on purpose: whatever fails, an error says which call it was; and where
// memory runs out, the process goes on as if nothing had been tried.

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
	AdamW,
	CompileError,
	CudaError,
	Device,
	exp,
	gpt2,
	linear,
	OutOfMemoryError,
	PinnedMemory,
	scope,
	Stream,
	Tensor,
	zeroGradients,
} from "../../mod.ts";
import { compile, compilerOptions } from "../../src/cuda/compile.ts";
import * as cudnn from "../../src/cuda/softmax.ts";
import { cublasSymbols } from "../../src/ffi/cublas_symbols.ts";
import { cudnnSymbols } from "../../src/ffi/cudnn_symbols.ts";
import { STATUS } from "../../src/ffi/c_types.ts";
import { driverSymbols } from "../../src/ffi/driver_symbols.ts";
import { nvrtcSymbols } from "../../src/ffi/nvrtc_symbols.ts";

const VARIABLE = "OUTLIERSCOPE_FAIL";
const symbols = { ...driverSymbols, ...nvrtcSymbols, ...cublasSymbols, ...cudnnSymbols };

/** Runs `body` with the N-th call of a function failing; the failure, and the function that failed. */
async function failing(
	fault: string,
	body: () => void | Promise<void>,
): Promise<{ error: unknown; failed: string | undefined }> {
	Deno.env.set(VARIABLE, fault);
	let error: unknown;
	try {
		await body();
	} catch (thrown) {
		error = thrown;
	}
	const failed = /^(\w+):0$/.exec(Deno.env.get(VARIABLE)!)?.[1];
	Deno.env.set(VARIABLE, "");
	return { error, failed };
}

/** Functions that have failed, of all that can. */
const seen = new Set<string>();
/** Calls of which nothing depends: their status is not asked for. */
const UNASKED = [
	"nvrtcGetProgramLogSize",
	"nvrtcGetProgramLog",
	"nvrtcDestroyProgram",
	"cuGraphDestroy",
];

/** Fails every call that `body` makes, one at a time, until it makes no more. */
async function failEachCall(
	body: () => void | Promise<void>,
	check: (failed: string) => void = () => {},
): Promise<number> {
	for (let n = 1;; n++) {
		const { error, failed } = await failing(`*:${n}`, body);
		if (failed === undefined) {
			if (error) throw error; // of something else
			return n - 1;
		}
		seen.add(failed);
		check(failed);
		if (UNASKED.includes(failed) && error === undefined) continue;
		if (!(error instanceof CudaError)) throw new Error(`${failed}, call ${n}`, { cause: error });
		const { function: name, code, message } = error;
		assert(failed.replace(/Sync$/, "").startsWith(name), `${failed} failed, not ${name}`);
		const expected = failed.startsWith("nvrtc")
			? [11, /NVRTC_ERROR_INTERNAL_ERROR/] as const
			: failed.startsWith("cublas")
			? [13, /CUBLAS_STATUS_EXECUTION_FAILED/] as const
			: failed.startsWith("cudnn")
			? [5000, /CUDNN_STATUS_EXECUTION_FAILED/] as const
			: /^cuMem\w*Alloc/.test(failed)
			? [2, /CUDA_ERROR_OUT_OF_MEMORY/] as const
			: [999, /CUDA_ERROR_UNKNOWN/] as const;
		assertEquals(code, expected[0]);
		assertMatch(message, expected[1]);
		assertEquals(error instanceof CompileError, /^nvrtcCompile/.test(failed));
		assertEquals(error instanceof OutOfMemoryError, failed === "cuMemAllocAsync");
	}
}

let device: Device;

Deno.test.beforeAll(() => Deno.env.set(VARIABLE, ""));
Deno.test.afterAll(() => Deno.env.delete(VARIABLE)); // other files run in this process

Deno.test("each call of opening a device can fail, and the next try opens it", async () => {
	const before = Deno.env.get("OUTLIERSCOPE_DEVICE");
	Deno.env.set("OUTLIERSCOPE_DEVICE", "host");
	try {
		const calls = await failEachCall(async () => void (device = await Device.open()));
		assert(calls >= 15, `${calls} calls`);
	} finally {
		if (before === undefined) Deno.env.delete("OUTLIERSCOPE_DEVICE");
		else Deno.env.set("OUTLIERSCOPE_DEVICE", before);
	}
});

/** A kernel of no file of this library, as each test of compiling needs. */
const SOURCE = {
	name: "faults.cu",
	text: `extern "C" __global__ void nothing(int n) {}  // ${crypto.randomUUID()}: in no cache\n`,
};

Deno.test("each call of compiling can fail", async () => {
	const { nvrtc } = device.libraries;
	const calls = await failEachCall(async () => {
		await compile(nvrtc, SOURCE, compilerOptions("sm_90"));
	});
	assertEquals(calls, 7);
});

/** Of functions that can fail, those that the library does not call, or only after another failed. */
const NOT_CALLED = [
	...["cuDriverGetVersion", "cublasGetVersion_v2", "nvrtcVersion"], // for the doctor
	...["cuDeviceCanAccessPeer", "cuDevicePrimaryCtxRelease_v2"], // with several devices; at the end
	...["cuGetErrorName", "cuGetErrorString"],
	...["cuEventDestroy_v2", "cuModuleUnload", "cuMemPoolGetAttribute", "cuStreamIsCapturing"],
	...["cudnnDestroy", "cudnnDestroyTensorDescriptor"],
];

Deno.test("each call of work with memory, products, streams, events and graphs can fail", async () => {
	const work = async () => {
		await device.load([SOURCE]);
		scope(() => {
			using stream = new Stream(device);
			using pinned = new PinnedMemory(device, 60);
			device.withStream(stream, () => {
				using begin = stream.record({ timed: true });
				const x = Tensor.from<"float32", 2>(
					device,
					"float32",
					[3, 5],
					new Float32Array(15).fill(2),
				);
				const y = linear(x, x);
				device.fill(y.pointer, 0, 8);
				device.copy(y.pointer + 8, y.pointer, 8);
				cudnn.softmax(device, 3, 5, x.pointer, x.pointer);
				cudnn.softmaxBackward(device, 3, 5, x.pointer, x.pointer, x.pointer);
				device.queueDownload(pinned.bytes, x.pointer);
				y.dataSync();
				using end = stream.record({ timed: true });
				end.reachedSync();
				void [begin.isReached, stream.isIdle];
				end.millisecondsSince(begin);
			});
			device.mainStream.wait(stream);
			const x = Tensor.from(device, "float32", [3], [1, 2, 3]);
			using graph = device.capture(() => exp(x).dispose());
			graph.launch();
		});
		device.trimMemory();
		void device.memory;
	};
	await device.load([SOURCE]); // into the cache: each try then makes the same calls, and none is passed over
	let live = device.liveBytes;
	const check = (failed: string) => {
		const lost = device.liveBytes - live;
		// What could not be freed is not free, and a graph keeps what it uses; but that alone.
		const most = failed === "cuMemFreeAsync" || failed === "cuGraphExecDestroy" ? 60 : 0;
		assert(lost >= 0 && lost <= most, `${failed} loses ${lost} bytes`);
		live += lost;
	};
	await failEachCall(work, check); // the first time makes what is kept, the second uses it
	const calls = await failEachCall(work, check);
	assert(calls >= 45, `${calls} calls`);
	const unseen = Object.entries(symbols)
		.filter(([name, symbol]) => symbol.result === STATUS && !seen.has(name))
		.map(([name]) => name)
		.filter((name) => name !== "nvrtcCompileProgramSync"); // of kernels that the cache does not have yet
	assertEquals(unseen.sort(), NOT_CALLED.sort());
});

Deno.test("memory that runs out at any allocation of a training step leaves no trace", async () => {
	const sizes = { layers: 1, heads: 2, hiddenSize: 16, vocabularySize: 32, contextLength: 8 };
	const ids = (first: number) =>
		Tensor.from<"int32", 2>(
			device,
			"int32",
			[2, 8],
			Array.from({ length: 16 }, (_, i) => (i * 7 + first) % 32),
		);
	using inputs = ids(1);
	using targets = ids(8);
	const start = async () => {
		const model = await gpt2({ ...sizes, device, seed: 5 });
		const optimizer = new AdamW(model.parameters);
		const step = () => {
			try {
				scope(() => {
					const loss = model.loss(inputs, targets);
					loss.backward();
					optimizer.step(1e-2);
				});
			} finally {
				zeroGradients(model.parameters);
			}
		};
		step();
		const bits = () => [...model.parameters.values()].map((x) => [...x.dataSync()]);
		return {
			step,
			bits,
			[Symbol.dispose]: () => (optimizer[Symbol.dispose](), model[Symbol.dispose]()),
		};
	};
	using undisturbed = await start();
	undisturbed.step();
	using disturbed = await start();
	const first = disturbed.bits(), live = device.liveBytes;
	let allocations = 0;
	for (let n = 1;; n++) {
		const { error, failed } = await failing(`cuMemAllocAsync:${n}`, disturbed.step);
		if (failed === undefined) {
			assertEquals(error, undefined);
			allocations = n - 1;
			break;
		}
		if (!(error instanceof OutOfMemoryError)) throw new Error(`allocation ${n}`, { cause: error });
		assertEquals(error.code, 2);
		assert(error.memory.requested > 0);
		assertEquals(device.liveBytes, live, `allocation ${n}, of ${error.memory.label}`);
		assertEquals(disturbed.bits(), first);
	}
	assert(allocations > 50);
	assertEquals(disturbed.bits(), undisturbed.bits());
	assertEquals(device.liveBytes, live);
});
