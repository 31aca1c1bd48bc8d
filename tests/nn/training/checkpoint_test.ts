// Checkpoints: a run that is killed again and again ends with the same bits as one that is not; whatever goes wrong
// is told, and the checkpoint that was good is kept.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { saveSafetensors } from "../../../mod.ts";
import { Sgd } from "../../../src/nn/optim/sgd.ts";
import { CheckpointError, CheckpointFolder } from "../../../src/nn/training/checkpoint.ts";
import { readLog } from "../../../src/nn/training/log.ts";
import { copyTask } from "../../../src/nn/training/tasks.ts";
import { train, type TrainOptions } from "../../../src/nn/training/trainer.ts";
import { configPath, root } from "../../../tools/project.ts";
import { inDirectory } from "../../subprocess.ts";
import { device, deviceTest, random, seed } from "../../tensor/on_device.ts";
import { fingerprint, Toy, toyOptions } from "./toy.ts";

/** Trains a toy in a folder and gives its weights. */
async function trained(folder: string, steps: number, more: Partial<TrainOptions> = {}) {
	using model = new Toy(device);
	const checkpoints = { folder, interval: 10 };
	const result = await train(model, { ...toyOptions(model, steps), checkpoints, ...more });
	return { ...result, weights: await fingerprint(model) };
}

const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

Deno.test("a run that is killed again and again ends with the bits of one that is not", () =>
	inDirectory(async (path) => {
		const STEPS = 300, INTERVAL = 5, KILLS = 8;
		const start = (folder: string) =>
			new Deno.Command(Deno.execPath(), {
				args: [
					"run",
					"-A",
					"--no-check",
					"--config",
					configPath(),
					`${root}/tests/nn/training/toy.ts`,
					`${path}/${folder}`,
					`${STEPS}`,
					`${INTERVAL}`,
				],
				env: { NO_COLOR: "1" },
				stdin: "null",
				stdout: "piped",
				stderr: "piped",
			}).spawn();
		const outcome = async (child: Deno.ChildProcess) => {
			const { success, stdout, stderr } = await child.output();
			return { success, said: new TextDecoder().decode(success ? stdout : stderr).trim() };
		};
		const begun = performance.now();
		const whole = await outcome(start("whole"));
		const most = performance.now() - begun;
		assertMatch(whole.said, /^true [0-9a-f]{64} 2$/);
		const steps: number[] = [];
		for (let kill = 0; kill < KILLS; kill++) {
			const child = start("killed"), before = await stepOf(`${path}/killed`);
			// At any moment of what a 32nd of the run takes, once it has written a checkpoint of its own; every other
			// time, while it writes another.
			for (
				let waited = 0;
				waited < 20_000 && await stepOf(`${path}/killed`) <= before;
				waited += 5
			) {
				await new Promise((done) => setTimeout(done, 5));
			}
			await new Promise((done) => setTimeout(done, random() * most / 32));
			if (kill % 2) waitForFile(`${path}/killed`);
			try {
				child.kill("SIGKILL");
			} catch { /* it has ended, which is told below */ }
			const { signal, stderr } = await child.output();
			assertEquals(signal, "SIGKILL", new TextDecoder().decode(stderr));
			const reached = await lastLogged(path), kept = await stepOf(`${path}/killed`);
			assert(
				reached - kept <= INTERVAL,
				`step ${reached} was reached and ${kept} kept (seed ${seed})`,
			);
			steps.push(kept);
		}
		assertEquals(new Set(steps).size, KILLS, `killed at ${steps}`);
		assert(steps.at(-1)! < STEPS, `killed at ${steps}`);
		assertEquals(await outcome(start("killed")), whole, `killed at ${steps} (seed ${seed})`);
		// The log has each step once, with the losses of the run that went through.
		const [a, b] = await Promise.all(
			["whole", "killed"].map(async (name) =>
				(await readLog(`${path}/${name}.jsonl`)).flatMap((record) =>
					record.event === "step" ? [[record.step, record.loss]] : []
				)
			),
		);
		assertEquals(b, a);
		assertEquals(names(`${path}/killed`), [
			"step-00000295.safetensors",
			"step-00000300.safetensors",
		]);
	}));

/** Waits, at full speed, until a file appears in a folder: a checkpoint that is being written. */
function waitForFile(folder: string): void {
	const before = new Set(names(folder)), end = performance.now() + 2000; // the run may have ended
	while (performance.now() < end && names(folder).every((name) => before.has(name)));
}

/** The step of the latest checkpoint. */
async function stepOf(folder: string): Promise<number> {
	return (await new CheckpointFolder(folder).list())[0]?.step ?? 0;
}

async function lastLogged(path: string): Promise<number> {
	const records = await readLog(`${path}/killed.jsonl`).catch(() => []);
	return records.findLast(({ event }) => event === "step")?.step ?? 0;
}

deviceTest(
	"a run that is stopped by a signal goes on where it was",
	() =>
		inDirectory(async (path) => {
			const { weights } = await trained(`${path}/a`, 40);
			const controller = new AbortController();
			const stopped = await trained(`${path}/b`, 40, {
				signal: controller.signal,
				onProgress: ({ step }) => step === 17 && controller.abort(),
			});
			assertEquals(stopped.finished, false);
			assertEquals(await stepOf(`${path}/b`), stopped.step);
			const resumed = await trained(`${path}/b`, 40, { resume: true });
			assertEquals([resumed.finished, resumed.weights], [true, weights]);
			// It is finished, so there is nothing left to do.
			assertEquals((await trained(`${path}/b`, 40, { resume: true })).weights, weights);
		}),
);

/** Changes bytes of a file. */
async function change(path: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
	await Deno.writeFile(path, change(await Deno.readFile(path)));
}

deviceTest(
	"damaged checkpoints are told from good ones, and the one before is named",
	() =>
		inDirectory(async (path) => {
			const folder = `${path}/run`;
			await trained(folder, 20);
			const good = `${folder}/step-00000010.safetensors`,
				last = `${folder}/step-00000020.safetensors`;
			const whole = await Deno.readFile(last);
			const damages: [RegExp, (bytes: Uint8Array) => Uint8Array][] = [
				[
					/damaged: the checksum of "optimizer\.exp_avg_sq\./,
					(bytes) => bytes.with(-5, bytes.at(-5)! ^ 1),
				],
				[/was cut off/, (bytes) => bytes.slice(0, -100)],
				[/too few for a safetensors file/, () => new Uint8Array(3)],
				[/no safetensors file, or was cut off/, (bytes) => bytes.with(5, 77)],
				[
					/the checksum of its state/,
					(bytes) => replaced(bytes, '\\"sequences\\":160', '\\"sequences\\":168'),
				],
				[
					/where its run was cannot be read/,
					(bytes) => replaced(bytes, '\\"step\\":20', '\\"step\\":-2'),
				],
			];
			for (const [said, damage] of damages) {
				await change(last, damage);
				const error = await assertRejects(
					() => trained(folder, 40, { resume: true }),
					CheckpointError,
					`remove it to go on from "${good}"`,
				);
				assertEquals(error.path, last);
				assertMatch(error.message, said);
				await Deno.writeFile(last, whole);
			}
			await Deno.remove(last);
			assertEquals((await trained(folder, 20, { resume: true })).step, 20);
		}),
);

function replaced(bytes: Uint8Array, from: string, to: string): Uint8Array {
	const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
	assert(text.includes(from), `nothing of ${from}`);
	return Uint8Array.from(text.replace(from, to), (c) => c.charCodeAt(0));
}

deviceTest(
	"checkpoints of other runs are refused, and change nothing",
	() =>
		inDirectory(async (path) => {
			const folder = `${path}/run`;
			await trained(folder, 10);
			const refused = async (more: Partial<TrainOptions>, said: string) => {
				using model = new Toy(device);
				const before = await fingerprint(model);
				const checkpoints = { folder, interval: 10 };
				await assertRejects(
					() => train(model, { ...toyOptions(model, 20), checkpoints, ...more }),
					CheckpointError,
					said,
				);
				assertEquals(await fingerprint(model), before);
			};
			await refused({}, "it has checkpoints of another run");
			await refused({ resume: true, data: copyTask({ seed: 2 }) }, "its run has other data");
			await refused(
				{ resume: true, optimizer: ({ parameters }) => new Sgd(parameters) },
				"of a run with the optimizer adamw, and this one has sgd",
			);
			using model = new Toy(device);
			const [latest] = await new CheckpointFolder(folder).list();
			await saveSafetensors(latest!.path, Object.fromEntries(model.parameters));
			await refused({ resume: true }, "no checkpoint of a training run of this library");
		}),
);

deviceTest(
	"a checkpoint of another model is refused by the tensor that differs",
	() =>
		inDirectory(async (path) => {
			await trained(`${path}/run`, 10);
			const resume = async (parameters: Toy["parameters"], model: Toy) => {
				const checkpoints = { folder: `${path}/run`, interval: 10 };
				const other = { parameters, loss: model.loss.bind(model) };
				await train(other, { ...toyOptions(model, 20), checkpoints, resume: true });
			};
			using model = new Toy(device);
			const all = [...model.parameters];
			await assertRejects(
				() => resume(new Map(all.slice(1)), model),
				CheckpointError,
				'another model or optimizer: its tensor "embed.weight" does not exist here',
			);
			const renamed = new Map([...all, ["other", model.parameters.get("embed.weight")!]]);
			await assertRejects(
				() => resume(renamed as Toy["parameters"], model),
				CheckpointError,
				'it has no tensor "other"',
			);
			const swapped = new Map(all.map(([name], i) => [name, all[(i + 1) % 4]![1]]));
			await assertRejects(
				() => resume(swapped, model),
				CheckpointError,
				'its "embed.weight" is F32 [64,32], and here it is F32 [48,32]',
			);
		}),
);

deviceTest(
	"a folder that cannot be written to is told before training",
	() =>
		inDirectory(async (path) => {
			await Deno.writeTextFile(`${path}/file`, "");
			await assertRejects(
				() => trained(`${path}/file/run`, 10),
				CheckpointError,
				"checkpoints cannot be written there",
			);
			if (Deno.uid() === 0) return; // who may write everywhere
			await Deno.mkdir(`${path}/read-only`, { mode: 0o500 });
			await assertRejects(
				() => trained(`${path}/read-only`, 10),
				CheckpointError,
				"Permission denied",
			);
		}),
);

Deno.test("when the disk is full, it is told and the checkpoint before is kept", () =>
	inDirectory(async (path) => {
		// Files may grow to 16 KiB, so a checkpoint of 6 MB has no room.
		const run = async (steps: number, limit = "") => {
			const command =
				`trap '' XFSZ; exec "$0" run -A --no-check --config "$1" "$2" "$3" ${steps} 10 ${limit}`;
			const toy = `${root}/tests/nn/training/toy.ts`;
			const { code, stderr } = await new Deno.Command("bash", {
				args: ["-c", command, Deno.execPath(), configPath(), toy, `${path}/run`],
				env: { NO_COLOR: "1" },
				stdout: "null",
			}).output();
			return { code, stderr: new TextDecoder().decode(stderr) };
		};
		assertEquals((await run(10)).code, 0);
		const { code, stderr } = await run(20, "16384");
		assertEquals(code, 1);
		assertMatch(
			stderr,
			/CheckpointError: Cannot use ".*step-00000020\.safetensors": the checkpoint cannot be written: File too large.*; ".*step-00000010\.safetensors" is the latest that is whole/,
		);
		assertEquals(names(`${path}/run`), ["step-00000010.safetensors"]);
	}));

deviceTest(
	"what a killed process left half-written is removed, and nothing else",
	() =>
		inDirectory(async (path) => {
			const left = `step-00000010.safetensors.${crypto.randomUUID()}.tmp`;
			for (const name of [left, "notes.tmp", "step-1.txt"]) {
				await Deno.writeTextFile(`${path}/${name}`, "");
			}
			await trained(path, 30, { checkpoints: { folder: path, interval: 10, keep: 1 } });
			assertEquals(names(path), ["notes.tmp", "step-00000030.safetensors", "step-1.txt"]);
		}),
);
