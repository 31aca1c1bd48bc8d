// Processes that work together, each with a device of its own.

import {
	type CommunicatedType,
	Communicator,
	type Reduction,
	uniqueId,
} from "../cuda/communicator.ts";
import type { Device } from "../cuda/device.ts";
import config from "../../deno.json" with { type: "json" };
import { Channel, ParallelError, type Patience } from "./channel.ts";
import { type Launch, readLaunch } from "../cuda/launch.ts";

/** Values on the device, such as a tensor. */
export interface Values {
	/** Where they are. */
	readonly pointer: number;
	/** How many. */
	readonly size: number;
	/** Their type. */
	readonly dtype: string;
}

/**
 * The processes of a job: started by `mpirun`, `srun` or `torchrun`, or this one alone. They pass on what their
 * devices hold through NCCL, on CPUs through MPI. When one is gone, the others are told within half a minute.
 *
 * @example A sum over all processes, started by `mpirun -n 4 deno run -A program.ts`
 * ```ts ignore
 * const device = await Device.open();
 * await using group = await ProcessGroup.open(device);
 * using x = tensor([group.rank]);
 * group.allReduce(x);
 * if (group.rank === 0) console.log(await x.data());
 * await group.finish();
 * ```
 */
export class ProcessGroup implements AsyncDisposable {
	/** Which of the processes this is, from 0 on. */
	readonly rank: number;
	/** How many they are. */
	readonly size: number;
	/** The device of this process. */
	readonly device: Device;
	readonly #channel: Channel | null;
	readonly #communicator: Communicator | null;
	#finished = false;

	private constructor(
		device: Device,
		launch: Launch | null,
		channel: Channel | null,
		communicator: Communicator | null,
	) {
		this.device = device;
		this.rank = launch?.rank ?? 0;
		this.size = launch?.size ?? 1;
		this.#channel = channel;
		this.#communicator = communicator;
		channel?.signal.addEventListener("abort", () => {
			try {
				communicator!.abort(); // else work that waits for the one that is gone would never end
			} catch { /* it has failed already */ }
		});
	}

	/**
	 * Joins the processes that were started with this one.
	 *
	 * @param options.launch which of them this is; by default what the environment says
	 * @throws {ParallelError} if they do not all come, or are of different versions or kinds of device
	 * @throws {LibraryError} if NCCL, or MPI on a CPU, is not installed
	 */
	static async open(
		device: Device,
		options: { launch?: Launch; patience?: Patience } = {},
	): Promise<ProcessGroup> {
		const launch = options.launch ?? readLaunch();
		if (!launch) return new ProcessGroup(device, null, null, null);
		await device.libraries.nccl(); // what is missing is told before anybody waits
		const channel = await Channel.open(launch, options.patience);
		try {
			await agree(channel, {
				"version of Outlierscope": config.version,
				"kind of device": device.kind,
			});
			const made = launch.rank === 0 ? await uniqueId(device) : new Uint8Array();
			const [id] = await channel.exchange([...made]);
			const own = new Uint8Array(id!);
			const communicator = await Communicator.join(device, own, launch);
			return new ProcessGroup(device, launch, channel, communicator);
		} catch (error) {
			channel.fail(`rank ${launch.rank}: ${error instanceof Error ? error.message : error}`);
			throw error;
		}
	}

	/** Aborted when another process is gone; the reason says which. */
	get signal(): AbortSignal | null {
		return this.#channel?.signal ?? null;
	}

	/** Bytes that this process has handed to the others, or combined with theirs. */
	get bytes(): number {
		return this.#communicator?.bytes ?? 0;
	}

	/** Throws if a process is gone or a queued call has failed. */
	check(): void {
		this.#channel?.signal.throwIfAborted();
		this.#communicator?.check();
	}

	/** The communicator of a group that is whole. */
	get #whole(): Communicator | null {
		this.#channel?.signal.throwIfAborted();
		return this.#communicator;
	}

	/** Puts the combination of all ranks' values in the place of each, in the order of the current stream. */
	allReduce({ pointer, size, dtype }: Values, reduction: Reduction = "sum"): void {
		this.#whole?.allReduce(pointer, pointer, size, typeOf(dtype), reduction);
	}

	/** The same, but only in the place of `root`'s; what the others have is undefined afterwards. */
	reduce({ pointer, size, dtype }: Values, root: number, reduction: Reduction = "sum"): void {
		this.#whole?.reduce(pointer, pointer, size, typeOf(dtype), root, reduction);
	}

	/** Puts `root`'s values in the place of each rank's, in the order of the current stream. */
	broadcast({ pointer, size, dtype }: Values, root = 0): void {
		this.#whole?.broadcast(pointer, pointer, size, typeOf(dtype), root);
	}

	/** Copies `from`'s values to the place of `to`'s, in the order of the current stream; others take no part. */
	pass({ pointer, size, dtype }: Values, from: number, to: number): void {
		if (from === to) return;
		if (this.rank === from) this.#whole?.send(pointer, size, typeOf(dtype), to);
		if (this.rank === to) this.#whole?.receive(pointer, size, typeOf(dtype), from);
	}

	/** Queues the calls of `body` together, which may then run at the same time. */
	together(body: () => void): void {
		const communicator = this.#whole;
		if (communicator) communicator.together(body);
		else body();
	}

	/**
	 * Gives each process the values of all, by rank; waits for the last.
	 *
	 * @param value anything that JSON can say, and numbers that are not finite
	 * @throws {ParallelError} if a process is gone
	 */
	async exchange<T>(value: T): Promise<T[]> {
		return this.#channel ? await this.#channel.exchange(value) : [value];
	}

	/**
	 * Makes sure that all processes mean the same.
	 *
	 * @param facts what must be equal, by name
	 * @throws {ParallelError} if something differs; it says what, and where
	 */
	async agree(facts: Readonly<Record<string, string>>): Promise<void> {
		if (this.#channel) await agree(this.#channel, facts);
	}

	/** Ends the work in order: waits until all processes are here. */
	async finish(): Promise<void> {
		if (this.#finished) return;
		await this.#channel?.end();
		this.#finished = true;
		this.#communicator?.[Symbol.dispose]();
	}

	/** Ends it. Without {@linkcode finish} before, the others are told that this process has given up. */
	// deno-lint-ignore require-await -- an `await using` is what the others' end needs
	async [Symbol.asyncDispose](): Promise<void> {
		if (!this.#finished) this.#channel?.fail(`rank ${this.rank} has given up`);
		this.#finished = true;
	}
}

async function agree(channel: Channel, facts: Readonly<Record<string, string>>): Promise<void> {
	const all = await channel.exchange(facts);
	for (const [what, value] of Object.entries(all[0]!)) {
		const other = all.findIndex((facts) => facts[what] !== value);
		if (other < 0) continue;
		throw new ParallelError(
			`Cannot work together: rank 0 has the ${what} ${value}, ` +
				`rank ${other} has ${all[other]![what] ?? "none"}`,
		);
	}
}

function typeOf(dtype: string): CommunicatedType {
	if (dtype === "float32" || dtype === "float64" || dtype === "int32") return dtype;
	throw new TypeError(`Cannot pass ${dtype} to other processes: float32, float64 and int32 can be`);
}
