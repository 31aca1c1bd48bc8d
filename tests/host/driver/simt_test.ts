// SIMT mode of the host driver: blocks of many threads, barriers, shuffles, shared memory and atomics do
// what CUDA says, one seed gives one order, and mistakes that a warp of one cannot show are found and
// told with kernel, block, thread and line.

import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { toFileUrl } from "../../../tools/project.ts";
import { runProgram } from "../../subprocess.ts";
import { CODE, HostDriver } from "./driver.ts";

// A process has one mode, so launches run in processes of their own. This one compiles.
const host = await HostDriver.open();
const SIMT = ["--gpu-architecture=sm_01"];

/** A launch of a kernel that takes `unsigned *out, long long n`; `words` are given to it, all zero. */
interface Launch {
	kernel: string;
	block?: number[];
	grid?: number[];
	shared?: number;
	words?: number;
	n?: number;
}
/** The words that each launch left, until one failed, and then its code and what the driver says. */
interface Result {
	words: number[][];
	launchCode: number;
	code: number;
	text: string;
	later: number[];
}

async function run(binary: Uint8Array, seed: number | string, launches: Launch[]): Promise<Result> {
	const file = await Deno.makeTempFile({ prefix: "outlierscope_test_" });
	await Deno.writeFile(file, binary);
	const path = (name: string) => toFileUrl(new URL(name, import.meta.url).pathname);
	try {
		const { code, stdout, stderr } = await runProgram(
			`
      import { HostDriver } from "${path("./driver.ts")}";
      import { OutParameter, textAt } from "src/ffi/c_memory.ts";
      const host = await HostDriver.open(), { driver } = host;
      const binary = Deno.readFileSync(${JSON.stringify(file)});
      const result = { words: [], launchCode: 0, code: 0, text: "", later: [] };
      const loaded = driver.cuModuleLoadData(host.out.buffer, binary), module = host.out.size;
      if (loaded !== 0) result.code = loaded;
      const stream = loaded === 0 && host.stream();
      for (const launch of loaded === 0 ? ${JSON.stringify(launches)} : []) {
        const { kernel, block = [32, 1, 1], grid = [1, 1, 1], shared = 0, words = 1024, n = 0 } = launch;
        const out = host.upload(new Uint32Array(words), stream);
        const handle = host.function(module, kernel);
        result.launchCode = host.launch(handle, [out, n], { stream, block, grid, shared });
        if (result.launchCode !== 0) break;
        result.code = driver.cuStreamSynchronize(stream);
        if (result.code !== 0) {
          const text = new OutParameter();
          driver.cuGetErrorString(result.code, text.buffer);
          result.text = textAt(text.pointer);
          result.later = [driver.cuCtxSynchronize(), host.launch(handle, [out, n], { stream })];
          break;
        }
        result.words.push([...host.read(new Uint32Array(words), out)]);
      }
      console.log(JSON.stringify(result));`,
			{ env: { OUTLIERSCOPE_SIMT: String(seed) } },
		);
		assertEquals({ code, stderr }, { code: 0, stderr: "" });
		return JSON.parse(stdout);
	} finally {
		await Deno.remove(file);
	}
}

async function compile(source: string): Promise<Uint8Array> {
	const { status, log, binary } = await host.compile(source, "planted.cu", {}, SIMT);
	assertEquals({ status, log }, { status: 0, log: "" });
	return binary;
}

/** Runs launches that must succeed, and returns what each left. */
async function words(binary: Uint8Array, seed: number, launches: Launch[]): Promise<number[][]> {
	const { launchCode, code, text, words } = await run(binary, seed, launches);
	assertEquals({ launchCode, code, text }, { launchCode: 0, code: 0, text: "" });
	return words;
}

const range = <T>(count: number, of: (i: number) => T) =>
	Array.from({ length: count }, (_, i) => of(i));
const seed = () => crypto.getRandomValues(new Uint32Array(1))[0];

const right = await compile(`
#define OUT unsigned *out, long long n
__device__ unsigned linear() {
  return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}
extern "C" __global__ void indices(OUT) {
  unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + linear()] += 1 + linear() + 1000 * block;
}
extern "C" __global__ void shuffles(OUT) {
  unsigned lane = linear(), mask = 0xffffffffu, *to = out;
  for (int width = 1; width <= 32; width *= 2) {
    for (int by = 0; by < 32; by += 3) {
      to[lane] = __shfl_sync(mask, lane, by, width);
      to[lane + 32] = __shfl_up_sync(mask, static_cast<float>(lane), by, width);
      to[lane + 64] = __shfl_down_sync(mask, static_cast<double>(lane), by, width);
      to[lane + 96] = __shfl_xor_sync(mask, -static_cast<long long>(lane), by, width) * -1;
      to += 128;
    }
  }
}
extern "C" __global__ void votes(OUT) {
  unsigned lane = threadIdx.x % 32, mask = lane < 7 ? 0x7fu : 0xffffff80u;
  // Two parts of a warp, each by itself and at places of its own.
  if (lane < 7) {
    out[threadIdx.x] = __ballot_sync(mask, lane % 2);
    out[64 + threadIdx.x] = __any_sync(mask, lane == 3);
  } else {
    out[threadIdx.x] = __ballot_sync(mask, 8 * lane);
    out[64 + threadIdx.x] = __any_sync(mask, lane == 3);
  }
  out[128 + threadIdx.x] = __all_sync(mask, lane >= 7);
  __syncwarp(mask);
  out[192 + threadIdx.x] = __shfl_sync(mask, lane, lane < 7 ? 6 : 31);
}
extern "C" __global__ void reversed(OUT) {
  __shared__ unsigned fixed[256];
  extern __shared__ unsigned char bytes[];
  unsigned *sized = reinterpret_cast<unsigned *>(bytes);
  for (int turn = 0; turn < 3; turn++) {
    fixed[threadIdx.x] = out[threadIdx.x] + threadIdx.x;
    sized[threadIdx.x] = turn;
    __syncthreads();
    out[threadIdx.x] = fixed[blockDim.x - 1 - threadIdx.x] + sized[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();
  }
}
template <class T>
__device__ void unwritten(unsigned *out) {
  __shared__ T cells[4];
  out[0] = cells[3];
  cells[3] = 5;
}
extern "C" __global__ void uninitialized(OUT) {
  extern __shared__ unsigned sized[];
  out[2 * blockIdx.x + 1] = sized[1];
  sized[1] = 5;
  unwritten<unsigned>(out + 2 * blockIdx.x);
}
extern "C" __global__ void atomics(OUT) {
  unsigned i = threadIdx.x;
  atomicAdd(out, 1);
  atomicAdd(reinterpret_cast<float *>(out + 1), 0.5f);
  atomicAdd(reinterpret_cast<unsigned long long *>(out + 2), 1ull << 31);
  atomicMax(reinterpret_cast<int *>(out + 4), static_cast<int>(i) - 9);
  atomicMin(reinterpret_cast<int *>(out + 5), 9 - static_cast<int>(i));
  atomicMax(out + 6, i);
  unsigned old = atomicExch(out + 7, i + 1);  // a chain through all threads
  out[64 + i] = old;
  // A product, by compare and swap.
  unsigned seen = out[8], assumed;
  do {
    assumed = seen;
    seen = atomicCAS(out + 8, assumed, assumed * 3 + 1);
  } while (seen != assumed);
}
extern "C" __global__ void order(OUT) {
  out[atomicAdd(out + 1023, 1)] = 1000 * blockIdx.x + threadIdx.x;
}
`);

Deno.test("every thread of a block and block of a grid of three dimensions runs once", async () => {
	const launches = [
		{ block: [1024, 1, 1], words: 1024 },
		{ block: [3, 5, 7], grid: [2, 3, 4], words: 105 * 24 },
		{ block: [1, 1, 64], grid: [5, 1, 1], words: 320 },
	].map((launch) => ({ kernel: "indices", ...launch }));
	const results = await words(right, seed(), launches);
	launches.forEach(({ block: [x, y, z], words }, i) => {
		const threads = x * y * z;
		const expected = range(words, (j) => 1 + j % threads + 1000 * Math.floor(j / threads));
		assertEquals(results[i], expected);
	});
});

Deno.test("shuffles give each lane the value of the lane that CUDA names", async () => {
	const count = 6 * 11 * 128;
	const [actual] = await words(right, seed(), [{ kernel: "shuffles", words: count }]);
	const expected: number[] = [];
	for (let width = 1; width <= 32; width *= 2) {
		for (let by = 0; by < 32; by += 3) {
			const lanes = (source: (lane: number, first: number, last: number) => number) =>
				range(32, (lane) => {
					const first = lane - lane % width, from = source(lane, first, first + width - 1);
					return from;
				});
			expected.push(
				...lanes((_, first) => first + by % width),
				...lanes((lane, first) => lane - by < first ? lane : lane - by),
				...lanes((lane, _, last) => lane + by > last ? lane : lane + by),
				...lanes((lane, _, last) => (lane ^ by) > last ? lane : lane ^ by),
			);
		}
	}
	assertEquals(actual, expected);
});

Deno.test("parts of a warp vote and exchange by themselves", async () => {
	const [actual] = await words(right, seed(), [{ kernel: "votes", block: [64, 1, 1] }]);
	const part = (lane: number, low: number, high: number) => lane % 32 < 7 ? low : high;
	const expected = [[0b0101010, 0xffffff80], [1, 0], [0, 1], [6, 31]]
		.flatMap(([low, high]) => range(64, (i) => part(i, low, high)));
	assertEquals(actual.slice(0, 256), expected);
});

Deno.test("threads of a block share static and dynamic memory, ordered by barriers", async () => {
	for (const threads of [1, 33, 256]) {
		const launch = { kernel: "reversed", block: [threads, 1, 1], shared: 4 * threads };
		const [actual] = await words(right, seed(), [launch]);
		let expected = range(threads, () => 0);
		for (const turn of [0, 1, 2]) {
			expected = expected.map((_, i) => expected[threads - 1 - i] + threads - 1 - i + turn);
		}
		assertEquals(actual.slice(0, threads), expected);
	}
});

Deno.test("shared memory is poisoned before each block", async () => {
	const launch = {
		kernel: "uninitialized",
		block: [1, 1, 1],
		grid: [4, 1, 1],
		shared: 8,
		words: 8,
	};
	assertEquals(await words(right, seed(), [launch]), [Array(8).fill(0xffffffff)]);
});

Deno.test("atomics lose nothing", async () => {
	const [actual] = await words(right, seed(), [{ kernel: "atomics", block: [300, 1, 1] }]);
	assertEquals(actual[0], 300);
	assertEquals(new Float32Array(Uint32Array.of(actual[1]).buffer)[0], 150);
	assertEquals([actual[2], actual[3]], [0, 150]);
	assertEquals(actual.slice(4, 7), [290, -290 >>> 0, 299]);
	// Each thread took the value that one other had put there.
	const taken = [...actual.slice(64, 364), actual[7]].sort((a, b) => a - b);
	assertEquals(taken, range(301, (i) => i));
	assertEquals(actual[8], range(300, (i) => i).reduce((x) => Math.imul(x, 3) + 1 >>> 0, 0));
});

Deno.test("a seed gives one order of threads and blocks, and each launch another", async () => {
	const launch = { kernel: "order", block: [64, 1, 1], grid: [9, 1, 1] };
	const [one, two] = await words(right, 5, [launch, launch]);
	assertEquals(await words(right, 5, [launch]), [one]);
	assertNotEquals(two, one);
	assertNotEquals(await words(right, 6, [launch]), [one]);
	const ids = range(9, (block) => range(64, (thread) => 1000 * block + thread)).flat();
	assertEquals(one.slice(0, 576).sort((a, b) => a - b), ids);
});

Deno.test("blocks and shared memory over the limits are refused at the launch", async () => {
	for (const block of [[1025, 1, 1], [1, 1025, 1], [1, 1, 65], [33, 32, 1], [0, 1, 1]]) {
		const { launchCode } = await run(right, 1, [{ kernel: "indices", block }]);
		assertEquals(launchCode, CODE.INVALID_VALUE, `${block}`);
	}
	const { launchCode } = await run(right, 1, [{ kernel: "indices", shared: 49153 }]);
	assertEquals(launchCode, CODE.INVALID_VALUE);
});

Deno.test("a module is for one mode, and dynamic shared memory for kernels", async () => {
	const source = 'extern "C" __global__ void k(unsigned *out) {}';
	const one = await host.compile(source), many = await host.compile(source, "k.cu", {}, SIMT);
	assertEquals((await run(one.binary, 1, [])).code, CODE.NO_BINARY_FOR_GPU);
	assertEquals(
		host.driver.cuModuleLoadData(host.out.buffer, many.binary),
		CODE.NO_BINARY_FOR_GPU,
	);
	const { status, log } = await host.compile(`extern __shared__ float cells[];\n${source}`);
	assertEquals(status, 6);
	assertMatch(log, /test\.cu:1:.*error: .*extern_shared_must_be_in_a_function/);
});

Deno.test("a seed that is no number is refused, and told", async () => {
	for (const seed of ["on", "-1", "1.5", "99999999999999999999999"]) {
		const { code, stdout } = await runProgram(
			`
      import { Device } from "src/cuda/device.ts";
      await Device.open().catch((error) => console.log(error.message));`,
			{ env: { OUTLIERSCOPE_SIMT: seed, OUTLIERSCOPE_DEVICE: "host" } },
		);
		assertEquals(code, 0);
		assertMatch(stdout, /^cuInit failed .*OUTLIERSCOPE_SIMT must be a whole number, the seed/);
	}
});

const wrongSource = `
#define OUT unsigned *out, long long n
extern "C" __global__ void no_barrier(OUT) {
  __shared__ unsigned cells[64];
  cells[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = cells[63 - threadIdx.x];
}
extern "C" __global__ void one_barrier_of_two(OUT) {
  __shared__ unsigned cells[64];
  for (unsigned turn = 0; turn < 4; turn++) {
    cells[threadIdx.x] = turn + threadIdx.x;
    __syncthreads();
    out[threadIdx.x] += cells[63 - threadIdx.x];
  }
}
extern "C" __global__ void no_sync_of_the_warp(OUT) {
  __shared__ unsigned cells[64];
  cells[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = cells[threadIdx.x ^ 1];
}
extern "C" __global__ void not_atomic(OUT) {
  unsigned seen = out[0];
  atomicAdd(out + 1, 1);
  out[0] = seen + 1;
}
extern "C" __global__ void ended_before_the_barrier(OUT) {
  if (threadIdx.x >= 40) return;
  __syncthreads();  // A
}
extern "C" __global__ void barriers_in_both_branches(OUT) {
  if (threadIdx.x % 2) {
    __syncthreads();  // B
  } else {
    __syncthreads();  // C
  }
}
extern "C" __global__ void barrier_in_one_branch(OUT) {
  if (threadIdx.x == 3) __syncthreads();  // D
  __syncwarp();  // E
}
extern "C" __global__ void lane_missing(OUT) {
  if (threadIdx.x != 37) out[0] = __shfl_down_sync(0xffffffffu, threadIdx.x, 1);  // F
}
extern "C" __global__ void other_call(OUT) {
  if (threadIdx.x < 5) out[0] = __ballot_sync(0xffffffffu, 1);  // G
  else __syncwarp();  // H
}
extern "C" __global__ void not_in_its_mask(OUT) {
  __syncwarp(0xffffu);  // I
}
extern "C" __global__ void reads_outside_its_mask(OUT) {
  if (threadIdx.x < 16) out[0] = __shfl_xor_sync(0xffffu, threadIdx.x, 16);  // J
}
extern "C" __global__ void part_of_a_warp(OUT) {
  __syncwarp();  // K
}
extern "C" __global__ void waits_in_a_loop(OUT) {
  if (threadIdx.x == 0) {
    while (atomicAdd(out, 0) == 0) {}
  }
}
`;
const wrong = await compile(wrongSource);
/** The line of a mark in the source. */
const at = (mark: string) =>
	`planted.cu:${wrongSource.slice(0, wrongSource.indexOf(`// ${mark}`)).split("\n").length}`;

Deno.test("a missing barrier gives a wrong result, within a few launches of any seed", async () => {
	const threads = [64, 1, 1];
	for (
		const [kernel, expected] of [
			["no_barrier", range(64, (i) => 63 - i)],
			["one_barrier_of_two", range(64, (i) => 4 * (63 - i) + 6)],
			["no_sync_of_the_warp", range(64, (i) => i ^ 1)],
			["not_atomic", [64]],
		] as const
	) {
		const launches = Array(3).fill({ kernel, block: threads });
		const results = await words(wrong, seed(), launches);
		const good = results.filter((words) => expected.every((word, i) => word === words[i])).length;
		assert(good < 3, `${kernel} was right in all launches`);
	}
});

const mistakes: Record<string, { block?: number[]; code: number; text: string }> = {
	ended_before_the_barrier: {
		code: CODE.LAUNCH_FAILED,
		text: `thread (0, 0, 0) waits in __syncthreads() at ${
			at("A")
		} for thread (40, 0, 0), which has ended`,
	},
	barriers_in_both_branches: {
		code: CODE.LAUNCH_FAILED,
		text: `thread (0, 0, 0) waits in __syncthreads() at ${
			at("C")
		} for thread (1, 0, 0), which waits in __syncthreads() at ${at("B")}`,
	},
	barrier_in_one_branch: {
		code: CODE.LAUNCH_FAILED,
		text: `thread (0, 0, 0) waits in __syncwarp(0xffffffff) at ${
			at("E")
		} for thread (3, 0, 0), which waits in __syncthreads() at ${at("D")}`,
	},
	lane_missing: {
		code: CODE.LAUNCH_FAILED,
		text: `thread (32, 0, 0) waits in __shfl_down_sync(0xffffffff) at ${
			at("F")
		} for thread (37, 0, 0), which has ended`,
	},
	other_call: {
		code: CODE.LAUNCH_FAILED,
		text: `thread (0, 0, 0) waits in __ballot_sync(0xffffffff) at ${
			at("G")
		} for thread (5, 0, 0), which waits in __syncwarp(0xffffffff) at ${at("H")}`,
	},
	not_in_its_mask: {
		code: CODE.ILLEGAL_INSTRUCTION,
		text: `thread (#, 0, 0) is not in the mask of __syncwarp(0x0000ffff) at ${
			at("I")
		}, which it calls`,
	},
	reads_outside_its_mask: {
		code: CODE.ILLEGAL_INSTRUCTION,
		text:
			`thread (#, 0, 0) reads from lane #, which is not in the mask of __shfl_xor_sync(0x0000ffff) at ${
				at("J")
			}`,
	},
	part_of_a_warp: {
		block: [3, 13, 1],
		code: CODE.LAUNCH_FAILED,
		text: `thread (2, 10, 0) waits in __syncwarp(0xffffffff) at ${
			at("K")
		} for lane 7, which the block of 39 threads has not`,
	},
	waits_in_a_loop: {
		code: CODE.LAUNCH_TIMEOUT,
		text:
			`thread (0, 0, 0) and others change memory in a loop without end: they wait for what no running thread does`,
	},
};
for (const [kernel, { block = [64, 1, 1], code, text }] of Object.entries(mistakes)) {
	Deno.test(`a mistake is told with its place, and no hang: ${kernel}`, async () => {
		const launch = { kernel, block, grid: [2, 1, 1] };
		const result = await run(wrong, seed(), [launch]);
		assertEquals(result.code, code, result.text);
		const words = {
			[CODE.LAUNCH_FAILED]: "unspecified launch failure",
			[CODE.ILLEGAL_INSTRUCTION]: "an illegal instruction was encountered",
			[CODE.LAUNCH_TIMEOUT]: "the launch timed out and was terminated",
		}[code];
		// Which block comes first, and which thread, is up to the seed where both make the mistake.
		const told = result.text.replace(/block \([01], 0, 0\)/, "block #");
		assertEquals(
			text.includes("#") ? told.replace(/(thread \(|lane )\d+/g, "$1#") : told,
			`${words}: kernel ${kernel}, block #: ${text}`,
		);
		assertEquals(result.later, [code, code], "every later call returns the code as well");
	});
}
