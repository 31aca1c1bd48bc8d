// The host driver's device memory: reused in the order of streams, cut to what is asked for and joined again,
// counted, limited and given back to the system; what the real driver refuses is refused with its code.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { fixedBuffer } from "../../../src/ffi/c_memory.ts";
import { Random, seed } from "../../random.ts";
import { runProgram } from "../../subprocess.ts";
import { CODE, HostDriver, ORDER_KERNELS } from "./driver.ts";

const host = await HostDriver.open();
const { driver, out } = host;
const stream = host.stream();
const MB = 2 ** 20, GIGABYTE = 2 ** 30;

Deno.test("memory is freed once, by its own address", () => {
	const pointer = host.allocate(100, stream);
	assertEquals(pointer % 64, 0, "aligned as kernels may expect");
	assertEquals(driver.cuMemFreeAsync(pointer + 64, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemFreeAsync(pointer, stream), 0);
	assertEquals(driver.cuMemFreeAsync(pointer, stream), CODE.INVALID_VALUE, "the second time");
	assertEquals(driver.cuMemFreeAsync(12345, stream), CODE.INVALID_VALUE, "a foreign pointer");
});

Deno.test("allocations of nothing, without a place, or on no stream are refused", () => {
	assertEquals(driver.cuMemAllocAsync(out.buffer, 0, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemAllocAsync(null, 8, stream), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemAllocAsync(out.buffer, 8, stream + 8), CODE.INVALID_HANDLE);
});

Deno.test("more than the machine has is out of memory, and later allocations work", () => {
	assertEquals(driver.cuMemAllocAsync(out.buffer, 2 ** 50, stream), CODE.OUT_OF_MEMORY);
	assertEquals(driver.cuMemFreeAsync(host.allocate(8, stream), stream), 0);
});

Deno.test("cuMemGetInfo tells less than the machine has", () => {
	const available = fixedBuffer(8), total = fixedBuffer(8);
	assertEquals(driver.cuMemGetInfo_v2(available, total), 0);
	const [a, t] = [available, total].map((buffer) => new BigUint64Array(buffer.buffer)[0]);
	assert(a > 0n && a < t);
	assertEquals(driver.cuMemGetInfo_v2(null, total), CODE.INVALID_VALUE);
});

Deno.test("memory freed on a stream is reused there, and not by another stream", () => {
	const other = host.stream();
	const pointer = host.allocate(5_000_000, stream);
	driver.cuMemFreeAsync(pointer, stream);
	const elsewhere = host.allocate(5_000_000, other);
	const again = host.allocate(5_000_000, stream);
	assert(elsewhere !== pointer);
	assertEquals(again, pointer);
	driver.cuMemFreeAsync(again, stream);
	driver.cuMemFreeAsync(elsewhere, other);
	assertEquals(driver.cuStreamDestroy_v2(other), 0);
});

/** Resident memory of this process. */
function resident(): number {
	return Deno.memoryUsage().rss;
}

Deno.test("freed memory goes back to the system when other sizes are asked for", () => {
	const before = resident(), step = GIGABYTE / 8;
	for (let round = 0; round < 6; round++) {
		// Each round's size fits no block of the rounds before.
		const size = Math.round(step * 1.5 ** (round % 3)) + round * 2 ** 22;
		const pointer = host.allocate(size, stream);
		driver.cuMemsetD8Async(pointer, 1, size, stream);
		driver.cuMemFreeAsync(pointer, stream);
		driver.cuStreamSynchronize(stream);
	}
	driver.cuMemFreeAsync(host.allocate(2 ** 24, stream), stream);
	driver.cuStreamSynchronize(stream);
	const kept = (resident() - before) / step;
	assert(kept < 3.5, `${kept.toFixed(1)} × 128 MB are still held`);
});

/** An attribute of the pool. */
const ATTRIBUTE = { threshold: 4, reserved: 5, reservedHigh: 6, used: 7, usedHigh: 8 };
const pool = host.made((made) => driver.cuDeviceGetDefaultMemPool(made, 0));
function attribute(name: keyof typeof ATTRIBUTE): number {
	assertEquals(driver.cuMemPoolGetAttribute(pool, ATTRIBUTE[name], out.buffer), 0);
	return out.size;
}
function setAttribute(name: keyof typeof ATTRIBUTE, value: bigint): number {
	const buffer = fixedBuffer(8);
	new BigUint64Array(buffer.buffer)[0] = value;
	return driver.cuMemPoolSetAttribute(pool, ATTRIBUTE[name], buffer);
}

/** A pool that keeps nothing, whatever other tests of this process asked of it. */
function emptyPool(): void {
	assertEquals(setAttribute("threshold", 0n), 0);
	driver.cuCtxSynchronize();
	driver.cuMemPoolTrimTo(pool, 0);
}

Deno.test("the pool counts, keeps what the threshold says, and is trimmed", () => {
	emptyPool();
	const SIZE = 2 ** 23, before = attribute("reserved"), inUse = attribute("used");
	assertEquals(attribute("threshold"), 0);
	const pointers = [0, 1, 2].map(() => host.allocate(SIZE, stream));
	assertEquals(attribute("used"), inUse + 3 * SIZE);
	assertEquals(attribute("reserved"), before + 3 * SIZE);
	for (const pointer of pointers) driver.cuMemFreeAsync(pointer, stream);
	assertEquals([attribute("used"), attribute("reserved")], [inUse, before + 3 * SIZE]);
	assert(attribute("usedHigh") >= inUse + 3 * SIZE);
	assertEquals(setAttribute("threshold", BigInt(before + 2 * SIZE)), 0);
	driver.cuStreamSynchronize(stream);
	assertEquals(attribute("reserved"), before + 2 * SIZE, "released down to the threshold");
	assertEquals(driver.cuMemPoolTrimTo(pool, before + SIZE), 0);
	assertEquals(attribute("reserved"), before + SIZE);
	assertEquals(setAttribute("threshold", 0n), 0);
	driver.cuCtxSynchronize();
	assertEquals(attribute("reserved"), before);
	assertEquals(setAttribute("usedHigh", 0n), 0);
	assertEquals(attribute("usedHigh"), inUse);
	assertEquals(setAttribute("usedHigh", 1n), CODE.INVALID_VALUE, "only reset");
	assertEquals(setAttribute("used", 0n), CODE.INVALID_VALUE, "only read");
	assertEquals(driver.cuMemPoolTrimTo(pool + 8, 0), CODE.INVALID_VALUE);
	assertEquals(driver.cuMemPoolGetAttribute(pool, 99, out.buffer), CODE.INVALID_VALUE);
	assertEquals(driver.cuDeviceGetDefaultMemPool(out.buffer, 1), CODE.INVALID_DEVICE);
});

Deno.test("a pool that may keep everything holds little more than was ever in use", () => {
	const SIZE = 2 ** 26;
	emptyPool();
	setAttribute("threshold", 2n ** 64n - 1n);
	setAttribute("usedHigh", 0n);
	const before = attribute("reserved");
	for (let round = 0; round < 12; round++) {
		const size = Math.round(SIZE * 1.3 ** round % (2 * SIZE)) + 2 ** 20;
		driver.cuMemFreeAsync(host.allocate(size, stream), stream);
		driver.cuStreamSynchronize(stream);
	}
	const again = host.allocate(SIZE, stream);
	driver.cuMemFreeAsync(again, stream);
	driver.cuStreamSynchronize(stream);
	assertEquals(host.allocate(SIZE, stream), again, "kept over a synchronization");
	driver.cuMemFreeAsync(again, stream);
	assert(attribute("reserved") - before <= attribute("usedHigh") + 2 ** 27 + 2 ** 22);
	setAttribute("threshold", 0n);
	driver.cuCtxSynchronize();
	assertEquals(attribute("reserved"), before);
});

Deno.test("memory freed on a stream that ended serves the others", () => {
	setAttribute("threshold", 2n ** 64n - 1n);
	const other = host.stream(), pointer = host.allocate(5_000_000, other);
	driver.cuMemFreeAsync(pointer, other);
	const elsewhere = host.allocate(5_000_000, stream);
	assertNotEquals(elsewhere, pointer);
	driver.cuStreamDestroy_v2(other);
	assertEquals(host.allocate(5_000_000, stream), pointer);
	driver.cuMemFreeAsync(pointer, stream);
	driver.cuMemFreeAsync(elsewhere, stream);
	setAttribute("threshold", 0n);
});

/** Runs `body` on a pool that keeps everything and has nothing free when it begins. */
function keepingPool(body: () => void): void {
	emptyPool();
	setAttribute("threshold", 2n ** 64n - 1n);
	body();
	setAttribute("threshold", 0n);
	assertEquals(driver.cuCtxSynchronize(), 0);
}
const free = (pointer: number, on = stream) => assertEquals(driver.cuMemFreeAsync(pointer, on), 0);

/** Pieces of these sizes side by side, and nothing free between them. */
function sideBySide(sizes: number[], on = stream): number[] {
	free(host.allocate(sizes.reduce((a, b) => a + b), on), on);
	const pointers = sizes.map((size) => host.allocate(size, on));
	for (let i = 1; i < sizes.length; i++) assertEquals(pointers[i], pointers[i - 1] + sizes[i - 1]);
	return pointers;
}

Deno.test("a large piece serves smaller ones, and its parts join again in any order", () => {
	keepingPool(() => {
		const whole = host.allocate(24 * MB, stream);
		free(whole);
		const reserved = attribute("reserved");
		for (const order of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
			const parts = [9.1, 3.3, 11.5].map((size) => host.allocate(Math.floor(size * MB), stream));
			assertEquals(parts[0], whole);
			assert(whole + 9.1 * MB <= parts[1] && parts[1] + 3.3 * MB <= parts[2]);
			assert(parts[2] + 11.5 * MB <= whole + 24 * MB);
			for (const part of order) free(parts[part]);
			const again = host.allocate(24 * MB, stream);
			assertEquals(again, whole, `freed in the order ${order}`);
			free(again);
		}
		assertEquals(attribute("reserved"), reserved, "nothing new");
	});
});

Deno.test("the smallest piece that fits serves, and what fits nowhere takes only what is missing", () => {
	keepingPool(() => {
		const pointers = sideBySide([8, 1, 4, 1, 6].map((size) => size * MB));
		const [eight, between, four, beside, six] = pointers;
		for (const pointer of [eight, four, six]) free(pointer);
		const reserved = attribute("reserved");
		const chosen = [3, 5, 5].map((size) => host.allocate(size * MB, stream));
		assertEquals(chosen, [four, six, eight]);
		assertEquals(attribute("reserved"), reserved);
		const grown = host.allocate(7 * MB, stream);
		assertEquals(grown, six + 5 * MB, "where 1 MB is left at the end");
		assertEquals(attribute("reserved"), reserved + 6 * MB);
		for (const pointer of [...chosen, grown, between, beside]) free(pointer);
		const all = host.allocate(26 * MB, stream);
		assertEquals([all, attribute("reserved")], [eight, reserved + 6 * MB], "one piece again");
		free(all);
	});
});

Deno.test("neighbors freed on two streams join when both have ended", () => {
	keepingPool(() => {
		const [one, two] = [host.stream(), host.stream()];
		const [low, high] = sideBySide([8 * MB, 8 * MB], one);
		const taken = (size: number, on: number) => {
			const pointer = host.allocate(size, on);
			free(pointer, on);
			return pointer >= low && pointer < low + 16 * MB;
		};
		free(low, one);
		free(high, two);
		assert(!taken(8 * MB, stream), "work of either stream may still use them");
		assert(!taken(16 * MB, one), "work of the other may still use half of it");
		assert(!taken(16 * MB, two), "work of the other may still use half of it");
		assertEquals(driver.cuStreamDestroy_v2(one), 0);
		assertEquals(driver.cuStreamDestroy_v2(two), 0);
		const reserved = attribute("reserved"), third = host.stream();
		const all = [0, 1, 2].map(() => host.allocate(16 * MB, third));
		assert(all.includes(low), "whole again");
		assertEquals(attribute("reserved"), reserved, "as the two that were made elsewhere");
		for (const pointer of all) free(pointer, third);
		assertEquals(driver.cuStreamDestroy_v2(third), 0);
	});
});

const module = await host.module(ORDER_KERNELS);
const [slowSet, copy] = ["slow_set", "copy"].map((name) => host.function(module, name));
const LONG = 200_000_000; // steps: some 0.4 s

Deno.test("what running work uses goes to no other stream, and to the system behind that work", () => {
	keepingPool(() => {
		const other = host.stream();
		const y = host.allocate(4, stream), x = host.allocate(160 * MB, stream);
		host.launch(slowSet, [x, 7, LONG], { stream });
		host.launch(copy, [y, x], { stream });
		free(x);
		assertEquals(setAttribute("usedHigh", 0n), 0);
		const reserved = attribute("reserved");
		// More than the pool may keep beside 200 MB: the first bytes of x go, behind the work.
		const large = host.allocate(200 * MB, stream);
		assert(attribute("reserved") < reserved + 200 * MB);
		const elsewhere = host.allocate(300 * MB, other);
		assertEquals(driver.cuStreamQuery(stream), CODE.NOT_READY);
		assert(elsewhere + 300 * MB <= x || elsewhere >= x + 160 * MB);
		assertEquals(driver.cuStreamSynchronize(stream), 0);
		assertEquals(host.read(new Uint32Array(1), y)[0], 7);
		for (const pointer of [y, large]) free(pointer);
		free(elsewhere, other);
		assertEquals(driver.cuStreamDestroy_v2(other), 0);
	});
});

Deno.test("a part of what is free can go back, and what lies beside it stays as it is", () => {
	keepingPool(() => {
		const sizes = [3 * MB + 8, 32 * MB, 3 * MB + 8].map((size) => Math.ceil(size / 65536) * 65536);
		const [low, middle, high] = sideBySide(sizes);
		const before = attribute("reserved");
		driver.cuMemsetD8Async(low, 1, sizes[0], stream);
		driver.cuMemsetD8Async(middle, 2, sizes[1], stream);
		driver.cuMemsetD8Async(high, 3, sizes[2], stream);
		free(middle);
		driver.cuStreamSynchronize(stream);
		const held = resident();
		assertEquals(driver.cuMemPoolTrimTo(pool, before - 20 * MB), 0);
		assertEquals(attribute("reserved"), before - 20 * MB);
		assert(held - resident() > 16 * MB, "resident memory fell");
		for (const [pointer, size, value] of [[low, sizes[0], 1], [high, sizes[2], 3]]) {
			assert(host.read(new Uint8Array(size), pointer).every((byte) => byte === value));
		}
		assertEquals(host.allocate(12 * MB, stream), middle + 20 * MB, "what was kept");
		assertEquals(attribute("reserved"), before - 20 * MB);
		for (const pointer of [low, middle + 20 * MB, high]) free(pointer);
	});
});

Deno.test("random sizes on three streams: nothing overlaps, and all joins in the end", () => {
	const random = new Random(), streams = [0, 1, 2].map(() => host.stream());
	type Range = { from: number; to: number; on: number };
	const overlap = (a: Range, b: Range) => a.from < b.to && b.from < a.to;
	// What an allocation has for itself: a piece its pages, a block that is never cut at least its beginning.
	const whole = ({ from, to, on }: Range) => {
		const size = to - from, PAGES = 2 ** 16;
		return { from, to: from + (size < MB ? 1 : Math.ceil(size / PAGES) * PAGES), on };
	};
	const live: Range[] = [];
	let left: Range[] = []; // what a stream freed and nobody had since
	let lowest = Infinity, highest = 0; // of pieces
	keepingPool(() => {
		for (let round = 0; round < 3000; round++) {
			const what = `round ${round}, seed ${seed}`, on = streams[random.below(3)];
			const bytes = live.reduce((sum, { from, to }) => sum + to - from, 0);
			if (random.uniform() < bytes / (32 * MB)) {
				const [range] = live.splice(random.below(live.length), 1);
				const freer = random.below(8) ? range.on : on; // mostly the stream that it was allocated on
				free(range.from, freer);
				left.push({ ...whole(range), on: freer });
				continue;
			}
			// From bytes to megabytes, each magnitude as often.
			const size = Math.ceil(2 ** (23 * random.uniform())), from = host.allocate(size, on);
			const range = { from, to: from + size, on }, mine = whole(range);
			assertEquals(from % 64, 0, what);
			assert(!live.some((other) => overlap(other, range)), `in use: ${what}`);
			const takers = left.filter((other) => overlap(other, mine));
			assert(takers.every((other) => other.on === on), `freed on another stream: ${what}`);
			left = left.filter((other) => !takers.includes(other));
			for (const other of takers) {
				left.push({ ...other, to: mine.from }, { ...other, from: mine.to });
			}
			left = left.filter((other) => other.from < other.to);
			live.push(range);
			if (size < MB) continue;
			lowest = Math.min(lowest, from);
			highest = Math.max(highest, mine.to);
		}
		for (const { from, on } of live) free(from, on);
		for (const each of streams) assertEquals(driver.cuStreamDestroy_v2(each), 0);
		const reserved = attribute("reserved"), all = host.allocate(highest - lowest, stream);
		assertEquals([all, attribute("reserved")], [lowest, reserved], `one piece, seed ${seed}`);
		free(all);
	});
});

Deno.test("steps of training take no new memory after the first two", () => {
	let last = 0, fresh = 0;
	const held: number[] = [],
		allocate = (size: number) => {
			const pointer = host.allocate(Math.round(size * MB), stream), now = attribute("reserved");
			fresh += Math.max(0, now - last);
			last = now;
			return pointer;
		};
	const LAYERS = 12, taken: number[] = [];
	keepingPool(() => {
		assertEquals(setAttribute("usedHigh", 0n), 0);
		for (let step = 0; step < 6; step++) {
			last = attribute("reserved");
			fresh = 0;
			const saved = Array.from({ length: LAYERS }, () => {
				const [wide, narrow, scores] = [12, 3, 10.3].map(allocate);
				free(scores);
				const layer = [wide, ...[3, 3, 0.7, 3.1].map(allocate)];
				free(narrow);
				return layer;
			});
			const logits = allocate(224), loss = allocate(224.3), gradients = [allocate(160)];
			for (const pointer of [logits, loss]) free(pointer);
			for (const layer of saved.reverse()) {
				const [wide, narrow] = [12, 3.2].map(allocate);
				gradients.push(...[6.8, 2.3, 9, 9].map(allocate));
				for (const pointer of [...layer, narrow, wide]) free(pointer);
			}
			// What the optimizer keeps is made by the first step, between all that is temporary.
			if (step === 0) held.push(...gradients.map((_, i) => allocate(i === 0 ? 160 : 6.8)));
			free(allocate(31));
			for (const pointer of gradients) free(pointer);
			taken.push(Math.round(fresh / MB));
		}
		for (const pointer of held) free(pointer);
	});
	assertEquals(taken.slice(2), [0, 0, 0, 0], `MB taken anew: ${taken}`);
});

Deno.test("a limit refuses what exceeds it, after giving back what is free", async () => {
	const { stdout, stderr } = await runProgram(
		`
import { HostDriver } from "tests/host/driver/driver.ts";
const host = await HostDriver.open(), { driver, out } = host;
const one = host.stream(), two = host.stream(), MB = 2 ** 20, codes = [];
const allocate = (bytes, stream) => {
  codes.push(driver.cuMemAllocAsync(out.buffer, bytes, stream));
  return out.size;
};
const held = allocate(32 * MB, one);
allocate(20 * MB, one); // more than 48 MB
const pointer = allocate(16 * MB, two);
driver.cuMemFreeAsync(pointer, two);
driver.cuMemFreeAsync(allocate(10 * MB, one), one); // what the other stream had freed gives way
const free = new Uint8Array(8), total = new Uint8Array(8);
driver.cuMemGetInfo_v2(free, total);
driver.cuMemFreeAsync(held, one);
allocate(45 * MB, two);
const size = (bytes) => Number(new BigUint64Array(bytes.buffer)[0]);
driver.cuDeviceTotalMem_v2(out.buffer, 0);
console.log(JSON.stringify({ codes, free: size(free), total: size(total), all: out.size }));`,
		{ env: { OUTLIERSCOPE_HOST_MEMORY: String(48 * 2 ** 20) } },
	);
	assertEquals(stderr, "");
	assertEquals(JSON.parse(stdout), {
		codes: [0, CODE.OUT_OF_MEMORY, 0, 0, 0],
		free: 6 * 2 ** 20, // what the pool keeps is not free
		total: 48 * 2 ** 20,
		all: 48 * 2 ** 20,
	});
});
