// The log of a training run: a file of JSON Lines, one record a line.

import { readAt } from "../../formats/local_file.ts";

/** How training is going. */
export interface TrainingProgress {
	/** Updates made. */
	step: number;
	/** Updates in all. */
	steps: number;
	/** Mean cross-entropy of the last batch. */
	loss: number;
	/** Tokens a second, lately. */
	tokensPerSecond: number;
	/** Until the end, at this rate. */
	secondsLeft: number;
}

/** Progress in a line: `step 120 of 2000, loss 2.314, 44,200 tokens/s, 4 min 20 s left`. */
export function describeProgress(progress: TrainingProgress): string {
	const { step, steps, loss, tokensPerSecond, secondsLeft } = progress;
	const speed = Math.round(Number(tokensPerSecond.toPrecision(3))).toLocaleString("en");
	return `step ${step} of ${steps}, loss ${loss.toFixed(3)}, ${speed} tokens/s, ` +
		`${describeTime(secondsLeft)} left`;
}

function describeTime(seconds: number): string {
	const whole = Math.ceil(seconds), minutes = Math.floor(whole / 60);
	if (whole < 60) return `${whole} s`;
	return minutes < 60
		? `${minutes} min ${whole % 60} s`
		: `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** One line of a log. `step` counts the updates that were made before it was written. */
export type LogRecord =
	| { event: "start"; step: number; time: string; [detail: string]: unknown }
	| {
		event: "step";
		step: number;
		/** Tokens trained on so far. */
		tokens: number;
		/** Mean cross-entropy of the batch of the last update, before it. */
		loss: number;
		learningRate: number;
		/** ‖g‖ before clipping. */
		gradientNorm: number;
		tokensPerSecond: number;
		/** Bytes of the device in use between steps, and the most during them. */
		liveBytes: number;
		peakBytes: number;
	}
	| { event: "evaluation"; step: number; loss: number }
	| { event: "metrics"; step: number; [metric: string]: unknown }
	| { event: "checkpoint"; step: number; path: string }
	| { event: "end"; step: number; [detail: string]: unknown };

/** A log that is written to. Each record is in the file when {@linkcode write} returns. */
export class TrainingLog implements Disposable {
	readonly #file: Deno.FsFile;
	readonly #encoder = new TextEncoder();

	private constructor(file: Deno.FsFile) {
		this.#file = file;
	}

	/**
	 * Opens a log.
	 *
	 * @param after what was written after this step is dropped, as after a crash: training comes there again. By default
	 * everything is.
	 */
	static open(path: string, after = -1): TrainingLog {
		let file: Deno.FsFile;
		try {
			file = Deno.openSync(path, { read: true, write: true, create: true });
		} catch (cause) {
			const problem = cause instanceof Error ? cause.message : cause;
			throw new Error(`Cannot write the log "${path}": ${problem}`, { cause });
		}
		try {
			const bytes = new Uint8Array(file.statSync().size);
			readAt(file, 0, bytes);
			let kept = 0;
			for (let begin = 0, end: number; after >= 0; begin = kept = end + 1) {
				end = bytes.indexOf(10, begin);
				if (end < 0) break; // the last line may be cut off
				const record = parseRecord(new TextDecoder().decode(bytes.subarray(begin, end)));
				if (!record || record.step > after) break;
			}
			file.truncateSync(kept);
			file.seekSync(kept, Deno.SeekMode.Start);
			return new TrainingLog(file);
		} catch (error) {
			file.close();
			throw error;
		}
	}

	/** Adds a record. */
	write(record: LogRecord): void {
		const line = this.#encoder.encode(`${JSON.stringify(record)}\n`);
		for (let at = 0; at < line.length;) at += this.#file.writeSync(line.subarray(at));
	}

	/** Closes the file. */
	[Symbol.dispose](): void {
		this.#file.close();
	}
}

function parseRecord(line: string): LogRecord | null {
	try {
		const record = JSON.parse(line);
		return typeof record?.event === "string" && typeof record.step === "number" ? record : null;
	} catch {
		return null;
	}
}

/** The records of a log; a last line that is still being written is left out. */
export async function readLog(path: string): Promise<LogRecord[]> {
	const text = await Deno.readTextFile(path);
	return text.split("\n").flatMap((line) => parseRecord(line) ?? []);
}
