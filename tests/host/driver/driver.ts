// The host driver without the layers above it: its functions, one stream, memory and launches, for tests
// of single calls and their codes.

import { assertEquals } from "@std/assert";
import {
	addressOf,
	cString,
	fixedBuffer,
	OutParameter,
	textIn,
} from "../../../src/ffi/c_memory.ts";
import type { Libraries } from "../../../src/ffi/libraries.ts";
import { openHost } from "../../../src/host/open.ts";
import { root } from "../../../tools/project.ts";

Deno.env.set("OUTLIERSCOPE_SIMT_SOURCES", `${root}/tools/simt`); // as ./dev test does

/** Codes of the driver that tests expect, by the end of NVIDIA's name. */
export const CODE = {
	SUCCESS: 0,
	INVALID_VALUE: 1,
	OUT_OF_MEMORY: 2,
	NOT_INITIALIZED: 3,
	INVALID_DEVICE: 101,
	INVALID_IMAGE: 200,
	INVALID_CONTEXT: 201,
	NO_BINARY_FOR_GPU: 209,
	INVALID_HANDLE: 400,
	ILLEGAL_STATE: 401,
	NOT_FOUND: 500,
	NOT_READY: 600,
	ILLEGAL_ADDRESS: 700,
	LAUNCH_TIMEOUT: 702,
	ILLEGAL_INSTRUCTION: 715,
	MISALIGNED_ADDRESS: 716,
	LAUNCH_FAILED: 719,
	NOT_SUPPORTED: 801,
	STREAM_CAPTURE_UNSUPPORTED: 900,
	STREAM_CAPTURE_INVALIDATED: 901,
	STREAM_CAPTURE_MERGE: 902,
	STREAM_CAPTURE_UNMATCHED: 903,
	STREAM_CAPTURE_UNJOINED: 904,
	STREAM_CAPTURE_ISOLATION: 905,
	CAPTURED_EVENT: 907,
	STREAM_CAPTURE_WRONG_THREAD: 908,
} as const;

/** Kernels for tests of order: each argument is a pointer or a `long long`. */
export const ORDER_KERNELS = `
// Counts in steps that depend on each other, which takes about a nanosecond a step.
static unsigned spend(long long steps) {
  unsigned state = 1;
  for (long long i = 0; i < steps; i++) state = state * 1664525u + 1013904223u + (state >> 16);
  return state == 12345u ? 1u : 0u;
}
extern "C" __global__ void slow_set(volatile unsigned *x, long long value, long long steps) {
  unsigned nothing = spend(steps);
  *x = static_cast<unsigned>(value) + nothing;
}
extern "C" __global__ void append(unsigned *x, long long digit) {
  *x = *x * 10 + static_cast<unsigned>(digit);
}
// Reads first and writes last, so that another in between is lost.
extern "C" __global__ void slow_append(volatile unsigned *x, long long digit, long long steps) {
  unsigned old = *x, nothing = spend(steps);
  *x = old * 10 + static_cast<unsigned>(digit) + nothing;
}
extern "C" __global__ void copy(unsigned *to, const volatile unsigned *from) { *to = *from; }
// Waits for another kernel that runs at the same time, which raises \`other\`.
extern "C" __global__ void meet(volatile unsigned *own, volatile unsigned *other,
                                unsigned *met, long long patience) {
  *own = 1;
  for (long long i = 0; i < patience && !*met; i++) *met = *other;
}
`;

/** The driver with a context on this thread, and conveniences that expect success. */
export class HostDriver {
	readonly out = new OutParameter();

	private constructor(readonly libraries: Libraries) {}

	/** Opens the host driver, whatever device this process uses otherwise. */
	static async open(): Promise<HostDriver> {
		const host = new HostDriver(await openHost());
		const { driver } = host;
		assertEquals(driver.cuInit(0), 0);
		assertEquals(driver.cuDevicePrimaryCtxRetain(host.out.buffer, 0), 0);
		assertEquals(driver.cuCtxSetCurrent(host.out.size), 0);
		return host;
	}

	get driver() {
		return this.libraries.driver;
	}

	get nvrtc() {
		return this.libraries.nvrtc;
	}

	get cublas() {
		return this.libraries.cublas;
	}

	get cudnn() {
		return this.libraries.cudnn();
	}

	/** Calls `create` with an out-parameter and returns the handle that it leaves. */
	made(create: (out: Uint8Array<ArrayBuffer>) => number): number {
		assertEquals(create(this.out.buffer), 0);
		return this.out.size;
	}

	stream(): number {
		return this.made((out) => this.driver.cuStreamCreate(out, 1));
	}

	event(flags = 0): number {
		return this.made((out) => this.driver.cuEventCreate(out, flags));
	}

	allocate(bytes: number, stream: number): number {
		return this.made((out) => this.driver.cuMemAllocAsync(out, bytes, stream));
	}

	/** Copies numbers to new memory and waits. */
	upload(data: ArrayBufferView<ArrayBuffer>, stream: number): number {
		const pointer = this.allocate(Math.max(1, data.byteLength), stream);
		const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
		assertEquals(this.driver.cuMemcpyHtoDAsync_v2(pointer, bytes, bytes.length, stream), 0);
		assertEquals(this.driver.cuStreamSynchronize(stream), 0);
		return pointer;
	}

	/** What memory holds at this moment. */
	read<T extends ArrayBufferView<ArrayBuffer>>(into: T, pointer: number): T {
		const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
		assertEquals(this.driver.cuMemcpyDtoH_v2(bytes, pointer, bytes.length), 0);
		return into;
	}

	/** Compiles a source; returns the status, the log and the bytes. */
	async compile(
		source: string,
		name = "test.cu",
		headers: Record<string, string> = {},
		options: string[] = [],
	) {
		const { nvrtc } = this;
		const list = (texts: string[]) => {
			const strings = texts.map(cString), pointers = fixedBuffer(8 * Math.max(1, texts.length));
			new BigUint64Array(pointers.buffer).set(strings.map(addressOf));
			return { strings, pointers };
		};
		const texts = list(Object.values(headers)), names = list(Object.keys(headers));
		const flags = list(options);
		const program = new OutParameter(), size = new OutParameter();
		assertEquals(
			nvrtc.nvrtcCreateProgram(
				program.buffer,
				cString(source),
				cString(name),
				texts.strings.length,
				texts.pointers,
				names.pointers,
			),
			0,
		);
		const status = await nvrtc.nvrtcCompileProgram(
			program.size,
			options.length,
			flags.pointers,
		);
		nvrtc.nvrtcGetProgramLogSize(program.size, size.buffer);
		const log = fixedBuffer(size.size);
		nvrtc.nvrtcGetProgramLog(program.size, log);
		nvrtc.nvrtcGetCUBINSize(program.size, size.buffer);
		const binary = fixedBuffer(size.size);
		if (binary.length > 0) nvrtc.nvrtcGetCUBIN(program.size, binary);
		assertEquals(nvrtc.nvrtcDestroyProgram(program.buffer), 0);
		void [texts.strings, names.strings, flags.strings];
		return { status, log: textIn(log), binary };
	}

	/** Compiles and loads a source that must be right. */
	async module(source: string): Promise<number> {
		const { status, log, binary } = await this.compile(source);
		assertEquals(status, 0, log);
		return this.made((out) => this.driver.cuModuleLoadData(out, binary));
	}

	function(module: number, name: string): number {
		return this.made((out) => this.driver.cuModuleGetFunction(out, module, cString(name)));
	}

	/** Launches with arguments of 8 bytes each: pointers and `long long`. Returns the code. */
	launch(
		kernel: number,
		args: number[],
		{ stream = 0, grid = [1, 1, 1], block = [1, 1, 1], shared = 0, bytes = 8 * args.length } = {},
	): number {
		const packed = fixedBuffer(Math.max(8, 8 * args.length));
		new BigInt64Array(packed.buffer).set(args.map(BigInt));
		const size = fixedBuffer(8), extra = fixedBuffer(40);
		new BigUint64Array(size.buffer)[0] = BigInt(bytes);
		new BigUint64Array(extra.buffer).set([1n, addressOf(packed), 2n, addressOf(size), 0n]);
		const [x, y, z] = grid, [bx, by, bz] = block;
		const list = Deno.UnsafePointer.of(extra);
		return this.driver.cuLaunchKernel(kernel, x, y, z, bx, by, bz, shared, stream, null, list);
	}
}
