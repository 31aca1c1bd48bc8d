// Where the time of a device goes, kernel by kernel: timed events around everything that is queued.

import type { Device, Event, Kernel } from "../../mod.ts";

/** What one kind of work took. */
export interface Share {
	/** A kernel's name, or the product's or copy's. */
	name: string;
	/** How often it ran. */
	calls: number;
	/** All its time on the device, in milliseconds. */
	milliseconds: number;
	/** Floating-point operations, of products. */
	operations: number;
}

type Call = (...args: unknown[]) => number;

/**
 * Runs `body` and measures all work that it queues. The events cost a little, so the whole takes
 * longer than without.
 */
export async function profile(device: Device, body: () => void | Promise<void>): Promise<Share[]> {
	const { driver, cublas } = device.libraries as unknown as Record<
		"driver" | "cublas",
		Record<string, Call>
	>;
	const names = new Map<bigint, string>();
	const work: { name: string; operations: number; begin: Event; end: Event }[] = [];
	const originals: [Record<string, Call>, string, Call][] = [];
	const wrap = (
		library: Record<string, Call>,
		symbol: string,
		describe: (args: unknown[]) => [name: string, operations: number],
	) => {
		const original = library[symbol]!;
		originals.push([library, symbol, original]);
		library[symbol] = (...args) => {
			const begin = device.currentStream.record({ timed: true });
			const code = original(...args);
			const end = device.currentStream.record({ timed: true });
			const [name, operations] = describe(args);
			work.push({ name, operations, begin, end });
			return code;
		};
	};
	const find = device.kernel.bind(device);
	device.kernel = (name: string): Kernel => {
		const kernel = find(name);
		names.set(kernel.handle, name);
		return kernel;
	};
	wrap(driver, "cuLaunchKernel", ([handle]) => [names.get(handle as bigint) ?? "?", 0]);
	wrap(cublas, "cublasGemmStridedBatchedEx", (args) => {
		const [, , , n, m, k, , , type] = args as number[], batch = args[20] as number;
		const flags = `${args[2] ? "T" : "N"}${args[1] ? "T" : "N"}`;
		const of = type === 14 ? "bf16" : "f32";
		const shape = `${batch > 1 ? `${batch} x ` : ""}${m}x${n}x${k}`;
		return [`matmul ${of} ${flags} ${shape}`, 2 * batch * m! * n! * k!];
	});
	wrap(driver, "cuMemcpyDtoDAsync_v2", () => ["copy", 0]);
	wrap(driver, "cuMemcpyHtoDAsync_v2", () => ["copy to the device", 0]);
	wrap(driver, "cuMemsetD8Async", () => ["fill", 0]);
	try {
		await body();
		await device.synchronize();
	} finally {
		for (const [library, symbol, original] of originals) library[symbol] = original;
		delete (device as unknown as Record<string, unknown>).kernel;
	}
	const shares = new Map<string, Share>();
	for (const { name, operations, begin, end } of work) {
		const share = shares.get(name) ?? { name, calls: 0, milliseconds: 0, operations: 0 };
		share.calls++;
		share.milliseconds += end.millisecondsSince(begin);
		share.operations += operations;
		shares.set(name, share);
		begin[Symbol.dispose]();
		end[Symbol.dispose]();
	}
	return [...shares.values()].sort((a, b) => b.milliseconds - a.milliseconds);
}
