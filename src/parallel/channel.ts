// How processes find each other, exchange small things, and notice that one is gone: a line to rank 0 each, which
// hands on what comes. What is large goes through the communicator.

import type { Launch } from "../cuda/launch.ts";

/** How patient a {@linkcode Channel} is, in milliseconds. */
export interface Patience {
	/** Until all processes have come. @default {60_000} */
	start?: number;
	/** Between two signs of life. @default {2_000} */
	beat?: number;
	/** Without a sign of life, before a process counts as gone. @default {15_000} */
	silence?: number;
}

/** Thrown when processes cannot work together, or one of them is gone; the message names it. */
export class ParallelError extends Error {
	/** Name of the class. */
	override readonly name = "ParallelError";
}

type Message =
	| { kind: "hello"; job: string; rank: number; size: number; process: number }
	| { kind: "beat" }
	| { kind: "exchange"; values: unknown[] }
	| { kind: "failed"; problem: string };

/** JSON has no word for numbers that are not finite. */
const encode = (_: string, value: unknown) =>
	typeof value === "number" && !Number.isFinite(value) ? { notFinite: String(value) } : value;
const decode = (_: string, value: unknown) =>
	typeof value === "object" && value !== null && "notFinite" in value
		? Number(value.notFinite)
		: value;

/** A line to another process: messages as lines of JSON. */
class Line {
	heard = performance.now();
	who = "a process";
	closed = false;
	readonly #connection: Deno.TcpConn;
	#sending: Promise<unknown> = Promise.resolve();

	constructor(connection: Deno.TcpConn) {
		this.#connection = connection;
		connection.setNoDelay();
	}

	get address(): string {
		return this.#connection.remoteAddr.hostname;
	}

	/** Sends behind what was sent before; what cannot be sent, the silence will tell. */
	send(message: Message): Promise<unknown> {
		const bytes = new TextEncoder().encode(JSON.stringify(message, encode) + "\n");
		return this.#sending = this.#sending.then(async () => {
			for (let at = 0; at < bytes.length;) {
				at += await this.#connection.write(bytes.subarray(at));
			}
		}).catch(() => {});
	}

	/** All that comes, in order; to be read once. */
	readonly messages: AsyncGenerator<Message> = this.#messages();

	async *#messages(): AsyncGenerator<Message> {
		const decoder = new TextDecoder(), chunk = new Uint8Array(65536);
		let parts: string[] = [];
		for (;;) {
			const count = await this.#connection.read(chunk);
			if (count === null) return;
			this.heard = performance.now();
			const lines = decoder.decode(chunk.subarray(0, count), { stream: true }).split("\n");
			parts.push(lines[0]!);
			for (const next of lines.slice(1)) {
				yield JSON.parse(parts.join(""), decode) as Message;
				parts = [next];
			}
		}
	}

	close(): void {
		this.closed = true;
		try {
			this.#connection.close();
		} catch { /* closed by the other side */ }
	}
}

/** Values that come from all ranks to rank 0, and from there to all. */
interface Exchange {
	values: Map<number, unknown>;
	done: PromiseWithResolvers<unknown[]>;
}

/** Connects this process with the others of its job. */
export class Channel {
	readonly #launch: Launch;
	readonly #lines = new Map<number, Line>();
	/** Exchanges that are not over, by number. */
	readonly #exchanges = new Map<number, Exchange>();
	readonly #failure = new AbortController();
	#count = 0;
	#received = new Map<number, number>();
	#timer: ReturnType<typeof setInterval> | undefined;
	#ended = false;

	private constructor(launch: Launch) {
		this.#launch = launch;
	}

	/** Aborted when a process is gone, with the reason. */
	get signal(): AbortSignal {
		return this.#failure.signal;
	}

	/**
	 * Waits for all processes of a job.
	 *
	 * @throws {ParallelError} if they do not come, or one that comes is of another job
	 */
	static async open(launch: Launch, patience: Patience = {}): Promise<Channel> {
		const { start = 60_000, beat = 2_000, silence = 15_000 } = patience;
		const channel = new Channel(launch);
		const limit = performance.now() + start;
		try {
			if (launch.rank === 0) await channel.#listen(limit);
			else await channel.#connect(limit);
			for (const [rank, line] of channel.#lines) void channel.#read(rank, line);
			channel.#timer = setInterval(() => channel.#watch(silence), beat);
			await channel.exchange(null); // all are there
			return channel;
		} catch (error) {
			channel.#close();
			throw error;
		}
	}

	/** Rank 0: the others come to it. */
	async #listen(limit: number): Promise<void> {
		const { port, size, job, rank } = this.#launch;
		let listener: Deno.TcpListener;
		try {
			listener = Deno.listen({ hostname: "0.0.0.0", port });
		} catch (error) {
			throw new ParallelError(
				`Cannot wait for the other ranks on port ${port}: ${explain(error)}; ` +
					"MASTER_PORT chooses another, for all ranks",
				{ cause: error },
			);
		}
		const late = setTimeout(() => listener.close(), limit - performance.now());
		try {
			while (this.#lines.size < size - 1) {
				const line = new Line(await listener.accept());
				const first = await firstMessage(line);
				if (first?.kind !== "hello" || first.job !== job) {
					line.close(); // not one of ours
					continue;
				}
				line.who = `rank ${first.rank} (process ${first.process} on ${line.address})`;
				const problem = first.size !== size
					? `${line.who} was started as one of ${first.size}, rank 0 as one of ${size}`
					: first.rank === rank || this.#lines.has(first.rank)
					? `there are two of rank ${first.rank}`
					: null;
				if (problem !== null) {
					await line.send({ kind: "failed", problem });
					line.close();
					throw this.#fail(problem);
				}
				this.#lines.set(first.rank, line);
			}
		} catch (error) {
			if (error instanceof ParallelError) throw error;
			const missing = Array.from({ length: size - 1 }, (_, i) => i + 1)
				.filter((rank) => !this.#lines.has(rank));
			throw this.#fail(`of ${size} ranks these did not come: ${missing.join(", ")}`);
		} finally {
			clearTimeout(late);
			try {
				listener.close();
			} catch { /* closed when it was late */ }
		}
	}

	/** The other ranks go to rank 0, which may start later. */
	async #connect(limit: number): Promise<void> {
		const { address, port, job, rank, size } = this.#launch;
		if (address === null) {
			throw new ParallelError(
				"Cannot tell where rank 0 is: set MASTER_ADDR to its host for all ranks " +
					"(mpirun -x MASTER_ADDR=host)",
			);
		}
		for (;;) {
			try {
				const line = new Line(await Deno.connect({ hostname: address, port }));
				line.who = `rank 0 (on ${address})`;
				this.#lines.set(0, line);
				await line.send({ kind: "hello", job, rank, size, process: Deno.pid });
				return;
			} catch (error) {
				if (error instanceof Deno.errors.NotCapable || performance.now() > limit) {
					throw new ParallelError(
						`Cannot reach rank 0 at ${address}:${port}: ${explain(error)}; MASTER_ADDR and ` +
							"MASTER_PORT say where it is",
						{ cause: error },
					);
				}
				await new Promise((resolve) => setTimeout(resolve, 100));
			}
		}
	}

	async #read(rank: number, line: Line): Promise<void> {
		try {
			for await (const message of line.messages) {
				if (message.kind === "failed") this.#fail(message.problem);
				else if (message.kind === "exchange") this.#take(rank, message.values);
			}
		} catch { /* the line broke */ }
		if (!this.#ended) this.#fail(`${line.who} is gone`);
	}

	#watch(silence: number): void {
		const now = performance.now();
		for (const line of this.#lines.values()) {
			void line.send({ kind: "beat" });
			if (now - line.heard > silence) {
				this.#fail(`${line.who} has been silent for ${Math.round((now - line.heard) / 1000)} s`);
			}
		}
	}

	/** Ends the work of all processes; returns the error. */
	#fail(problem: string): ParallelError {
		const error = new ParallelError(`Cannot go on with ${this.#launch.size} ranks: ${problem}`);
		if (this.signal.aborted) return error;
		const told = [...this.#lines.values()].map((line) => line.send({ kind: "failed", problem }));
		this.#failure.abort(error);
		for (const { done } of this.#exchanges.values()) done.reject(error);
		void Promise.race([Promise.all(told), new Promise((resolve) => setTimeout(resolve, 1000))])
			.then(() => this.#close());
		return error;
	}

	/** Exchange number `n`, as far as it has come. */
	#exchange(n: number): Exchange {
		let exchange = this.#exchanges.get(n);
		if (!exchange) {
			exchange = { values: new Map(), done: Promise.withResolvers() };
			exchange.done.promise.catch(() => {}); // whoever waits for it is told
			this.#exchanges.set(n, exchange);
		}
		return exchange;
	}

	#take(rank: number, values: unknown[]): void {
		const n = this.#received.get(rank) ?? 0;
		this.#received.set(rank, n + 1);
		const exchange = this.#exchange(n);
		if (this.#launch.rank !== 0) {
			exchange.done.resolve(values);
			return;
		}
		exchange.values.set(rank, values[0]);
		if (exchange.values.size < this.#launch.size) return;
		const all = Array.from({ length: this.#launch.size }, (_, i) => exchange.values.get(i) ?? null);
		for (const line of this.#lines.values()) void line.send({ kind: "exchange", values: all });
		exchange.done.resolve(all);
	}

	/**
	 * Gives each process the values of all, by rank. All must call it as often; it waits for the last.
	 *
	 * @param value anything that JSON can say, and numbers that are not finite
	 * @throws {ParallelError} if a process is gone
	 */
	async exchange<T>(value: T): Promise<T[]> {
		this.signal.throwIfAborted();
		const n = this.#count++, { done } = this.#exchange(n);
		if (this.#launch.rank === 0) this.#take(0, [value]);
		else void this.#lines.get(0)!.send({ kind: "exchange", values: [value] });
		const values = await done.promise;
		this.#exchanges.delete(n);
		return values as T[];
	}

	/** Tells the others that this process does not go on. */
	fail(problem: string): void {
		if (!this.#ended) this.#fail(problem);
	}

	/** Ends the channel when all processes call it. */
	async end(): Promise<void> {
		await this.exchange(null);
		this.#close();
	}

	#close(): void {
		this.#ended = true;
		clearInterval(this.#timer);
		for (const line of this.#lines.values()) line.close();
	}
}

/** The first message of a line within 5 seconds, if it is one. */
async function firstMessage(line: Line): Promise<Message | null> {
	const late = setTimeout(() => line.close(), 5_000);
	try {
		const { value } = await line.messages.next();
		return (value ?? null) as Message | null;
	} catch {
		return null;
	} finally {
		clearTimeout(late);
	}
}

function explain(error: unknown): string {
	if (error instanceof Deno.errors.NotCapable) {
		return "Deno needs the permission --allow-net (run with --allow-net, or -A)";
	}
	return error instanceof Error ? error.message : String(error);
}
