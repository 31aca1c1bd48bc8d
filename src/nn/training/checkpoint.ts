// Checkpoints of a training run: one safetensors file each, with the parameters by their names, the optimizer's
// state as `optimizer.NAME`, and in the metadata all else that the run needs to go on with the same bits.

import { createHash } from "node:crypto";
import { FileError, Safetensors, saveSafetensors } from "../../formats/mod.ts";
import type { GeneratorState, Tensor } from "../../tensor/mod.ts";
import type { Optimizer, Parameters } from "../optim/optimizer.ts";

/** Where a run is, beside its tensors. */
export interface TrainingState {
	/** How many updates were made. */
	step: number;
	/** How many sequences were trained on. */
	sequences: number;
	/** The generator of dropout and the like. */
	generator: GeneratorState;
	/** What the data are, as their source says. */
	data: string;
	/** The optimizer's name. */
	optimizer: string;
	/** What the run's author wants to know of it later. */
	config: unknown;
}

/** What a checkpoint is about: tensors by name. */
export interface Trained {
	/** The model's parameters. */
	parameters: Parameters;
	/** What changes them. */
	optimizer: Optimizer;
}

/** A checkpoint that is there. */
export interface CheckpointFile {
	/** Its path. */
	path: string;
	/** After how many updates it was written. */
	step: number;
}

/** What is wrong with a checkpoint, or why none can be written. */
export class CheckpointError extends FileError {
	/** The class's name, for printing. */
	override name = "CheckpointError";
	/** Whether the file is damaged. */
	readonly damaged: boolean;

	/** Makes an error about the file at `path`; `problem` reads on from "Cannot use <path>: ". */
	constructor(path: string, problem: string, options: ErrorOptions & { damaged?: boolean } = {}) {
		super(path, problem, options);
		this.damaged = options.damaged ?? false;
	}
}

const STATE = "outlierscope.training", SUMS = "outlierscope.sha256";
const NAME = /^step-(\d+)\.safetensors$/;
const TEMPORARY = /^step-\d+\.safetensors\.[0-9a-f-]{36}\.tmp$/;

const messageOf = (error: unknown) => error instanceof Error ? error.message : String(error);

/** Twice as fast as the Web's `crypto.subtle`. */
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>) =>
	new Uint8Array(buffer, byteOffset, byteLength);

/** All tensors of a checkpoint by their names in the file. */
function tensorsOf({ parameters, optimizer }: Trained): Record<string, Tensor> {
	return {
		...Object.fromEntries(parameters),
		...Object.fromEntries(
			Array.from(optimizer.state, ([name, tensor]) => [`optimizer.${name}`, tensor]),
		),
	};
}

/** The folder of a run's checkpoints. */
export class CheckpointFolder {
	/** Its path. */
	readonly path: string;
	readonly #keep: number;

	/**
	 * Names a folder, which need not be there yet.
	 *
	 * @param keep how many of the latest checkpoints stay
	 */
	constructor(path: string, keep = 2) {
		if (!(Number.isInteger(keep) && keep >= 1)) {
			throw new RangeError(`Cannot keep ${keep} checkpoints: it must be at least 1`);
		}
		this.path = path;
		this.#keep = keep;
	}

	/**
	 * Makes the folder if need be, makes sure that files can be written into it, and removes what a killed process
	 * left half-written.
	 */
	async prepare(): Promise<void> {
		try {
			await Deno.mkdir(this.path, { recursive: true });
			const probe = `${this.path}/step-0.safetensors.${crypto.randomUUID()}.tmp`;
			await Deno.writeTextFile(probe, "");
			await Deno.remove(probe);
			for await (const { name } of Deno.readDir(this.path)) {
				if (TEMPORARY.test(name)) await Deno.remove(`${this.path}/${name}`);
			}
		} catch (cause) {
			throw new CheckpointError(
				this.path,
				`checkpoints cannot be written there: ${messageOf(cause)}`,
				{
					cause,
				},
			);
		}
	}

	/** The checkpoints in the folder, the latest first. */
	async list(): Promise<CheckpointFile[]> {
		const found: CheckpointFile[] = [];
		try {
			for await (const { name, isFile } of Deno.readDir(this.path)) {
				const step = NAME.exec(name)?.[1];
				if (isFile && step) found.push({ path: `${this.path}/${name}`, step: Number(step) });
			}
		} catch (error) {
			if (!(error instanceof Deno.errors.NotFound)) throw error;
		}
		return found.sort((a, b) => b.step - a.step);
	}

	/**
	 * Writes a checkpoint, which appears whole or not at all, and then removes those that are too many.
	 *
	 * @throws {CheckpointError} if it cannot be written; those that were there are there still
	 */
	async save(trained: Trained, state: TrainingState): Promise<string> {
		const path = `${this.path}/step-${String(state.step).padStart(8, "0")}.safetensors`;
		const tensors = tensorsOf(trained), sums: Record<string, string> = {};
		for (const [name, tensor] of Object.entries(tensors)) {
			sums[name] = sha256(bytesOf(await tensor.data()));
		}
		const text = JSON.stringify(state);
		sums[STATE] = sha256(new TextEncoder().encode(text));
		try {
			await saveSafetensors(path, tensors, { [STATE]: text, [SUMS]: JSON.stringify(sums) });
			using folder = await Deno.open(this.path);
			await folder.sync(); // its entry too must outlive a loss of power
		} catch (cause) {
			const latest = (await this.list().catch(() => [])).find(({ step }) => step < state.step);
			throw new CheckpointError(
				path,
				`the checkpoint cannot be written: ${
					messageOf(cause instanceof Error ? cause.cause ?? cause : cause)
				}` +
					(latest ? `; "${latest.path}" is the latest that is whole` : ""),
				{ cause },
			);
		}
		for (const old of (await this.list()).slice(this.#keep)) {
			await Deno.remove(old.path).catch(() => {}); // one too many does no harm
		}
		return path;
	}

	/**
	 * Reads the latest checkpoint into a model and its optimizer.
	 *
	 * @param data what the data are that the run goes on with
	 * @returns where the run was; null if there is no checkpoint
	 * @throws {CheckpointError} if it is damaged, or is of another model, optimizer or data; nothing is changed then
	 */
	async loadLatest(trained: Trained, data: string): Promise<TrainingState | null> {
		const [latest, before] = await this.list();
		if (!latest) return null;
		try {
			return await loadCheckpoint(latest.path, trained, data);
		} catch (error) {
			if (!(error instanceof CheckpointError) || !error.damaged || !before) throw error;
			const problem = error.message.slice(error.message.indexOf(": ") + 2);
			throw new CheckpointError(
				latest.path,
				`${problem}; remove it to go on from "${before.path}"`,
				{ cause: error },
			);
		}
	}
}

/** Reads and checks what a checkpoint says of its run. */
function stateOf(file: Safetensors, path: string): [TrainingState, Record<string, string>] {
	const text = file.metadata.get(STATE), sums = file.metadata.get(SUMS);
	if (text === undefined || sums === undefined) {
		throw new CheckpointError(path, "it is no checkpoint of a training run of this library");
	}
	try {
		const state = JSON.parse(text) as TrainingState;
		const counts = [state.step, state.sequences, state.generator.seed, state.generator.offset];
		if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0)) throw new Error();
		return [state, JSON.parse(sums)];
	} catch (cause) {
		throw new CheckpointError(path, "it is damaged: where its run was cannot be read", {
			cause,
			damaged: true,
		});
	}
}

/** Throws unless the file holds the tensors of this model and optimizer. */
function checkTensors(
	file: Safetensors,
	path: string,
	tensors: Readonly<Record<string, Tensor>>,
): void {
	const fail = (problem: string) => {
		throw new CheckpointError(path, `it is of another model or optimizer: ${problem}`);
	};
	for (const [name, { shape }] of Object.entries(tensors)) {
		const stored = file.tensors.get(name);
		if (!stored) return fail(`it has no tensor "${name}"`);
		if (stored.type !== "F32" || stored.shape.join() !== shape.join()) {
			return fail(
				`its "${name}" is ${stored.type} [${stored.shape}], and here it is F32 [${shape}]`,
			);
		}
	}
	const foreign = [...file.tensors.keys()].find((name) => !Object.hasOwn(tensors, name));
	if (foreign !== undefined) fail(`its tensor "${foreign}" does not exist here`);
}

/**
 * Reads a checkpoint into a model and its optimizer.
 *
 * @param data what the data are that the run goes on with; without it, any may have been
 * @returns where the run was
 * @throws {CheckpointError} if it is damaged, or is of another model, optimizer or data; nothing is changed then
 */
export async function loadCheckpoint(
	path: string,
	trained: Trained,
	data?: string,
): Promise<TrainingState> {
	let opened: Safetensors;
	try {
		opened = await Safetensors.open(path);
	} catch (cause) {
		const said = messageOf(cause).replace(/^Cannot use ".*?": /, "");
		throw new CheckpointError(path, said, { cause, damaged: true });
	}
	using file = opened;
	const [state, sums] = stateOf(file, path), { optimizer } = trained;
	if (state.optimizer !== optimizer.name) {
		throw new CheckpointError(
			path,
			`it is of a run with the optimizer ${state.optimizer}, and this one has ${optimizer.name}`,
		);
	}
	if (data !== undefined && state.data !== data) {
		throw new CheckpointError(path, `its run has other data: ${state.data}; here it is ${data}`);
	}
	const tensors = tensorsOf(trained);
	checkTensors(file, path, tensors);
	const damaged = (what: string) =>
		new CheckpointError(path, `it is damaged: the checksum of ${what} is another`, {
			damaged: true,
		});
	if (sha256(new TextEncoder().encode(file.metadata.get(STATE)!)) !== sums[STATE]) {
		throw damaged("its state");
	}
	for (const name of Object.keys(tensors)) {
		if (sha256(file.read(name)) !== sums[name]) throw damaged(`"${name}"`);
	}
	// Only now, when all of it is known to be whole.
	for (const [name, tensor] of Object.entries(tensors)) {
		tensor.device.upload(tensor.pointer, file.read(name));
		tensor.changed();
	}
	optimizer.steps = state.step;
	return state;
}
