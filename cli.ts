/**
 * The command: finds the outliers of a model and writes a report, trains a model, or says what this machine computes
 * with.
 *
 * ```sh
 * deno run -A jsr:@outlierscope/outlierscope/cli analyze --model model.gguf --out report
 * deno run -A jsr:@outlierscope/outlierscope/cli doctor
 * ```
 *
 * @module
 */

import { analyze } from "./src/cli/analyze.ts";
import { compare } from "./src/cli/compare.ts";
import { doctor } from "./src/cli/doctor.ts";
import { tokenize } from "./src/cli/tokenize.ts";
import { train } from "./src/cli/train.ts";
import { UsageError } from "./src/cli/usage.ts";

const HELP = `Outlierscope finds systematic outliers in Transformers.

Usage: outlierscope COMMAND [OPTIONS]

Commands:
  analyze   Find the outliers of a model in text, and write a report
  train     Train a Transformer and watch its outliers being born
  tokenize  Turn text into token ids, and learn a tokenizer
  compare   Train it with one attention after another, and see which causes outliers
  doctor    Say what this machine has to compute with, and whether it computes right

outlierscope COMMAND --help lists the options of a command.
`;

/** Runs a command with its arguments; returns the exit status. */
const COMMANDS: Record<string, (args: string[]) => Promise<number>> = {
	analyze,
	train,
	tokenize,
	compare,
	doctor,
};

/** Runs the command; returns the exit status. */
async function main(args: string[]): Promise<number> {
	const [name, ...rest] = args;
	try {
		if (name === undefined || name === "--help" || name === "-h" || name === "help") {
			console.log(HELP);
			return name === undefined ? 2 : 0;
		}
		const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
		if (!command) {
			const names = Object.keys(COMMANDS).join(", ");
			throw new UsageError(`Unknown command "${name}"; there are ${names} (see --help)`);
		}
		return await command(rest);
	} catch (error) {
		// A TypeError or ReferenceError is a mistake of ours: its stack is worth having.
		const ours = error instanceof TypeError || error instanceof ReferenceError;
		const text = error instanceof Error ? (ours ? error.stack : error.message) : String(error);
		console.error(`error: ${text}`);
		return error instanceof UsageError ? 2 : 1;
	}
}

if (import.meta.main) {
	for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
		// `Deno.exit` runs what removes temporary files.
		Deno.addSignalListener(signal, () => Deno.exit(status));
	}
	Deno.exit(await main(Deno.args));
}
