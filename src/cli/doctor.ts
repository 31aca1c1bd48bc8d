// The command `doctor`: says what this machine has, what is missing, and whether it computes right.

import { parseArgs } from "@std/cli/parse-args";
import { isHealthy } from "../doctor/examination.ts";
import { examine } from "../doctor/examine.ts";
import { formatExamination } from "../doctor/page.ts";
import { Progress } from "./progress.ts";
import { UsageError } from "./usage.ts";

const HELP = `Says what this machine has to compute with, and whether it computes right.

Usage: outlierscope doctor [OPTIONS]

Lists the libraries and the device that were found, the cache, and what is missing with the command
that mends it. Then runs every kernel on the device and compares it with a reference in float64.
The exit status is 0 if there is a device and all its results are right.

Options:
  --json       Print the findings as JSON
  -h, --help   Show this help

OUTLIERSCOPE_DEVICE=cuda or host chooses the device; by default a GPU if there is one.
`;

/** Runs the command `doctor`; returns the exit status. */
export async function doctor(args: string[]): Promise<number> {
	const flags = parseArgs(args, {
		boolean: ["json", "help"],
		alias: { h: "help" },
		unknown: (argument) => {
			throw new UsageError(`Unknown argument ${argument}; --help lists the options`);
		},
	});
	if (flags.help) {
		console.log(HELP);
		return 0;
	}
	const progress = new Progress();
	try {
		const examination = await examine({
			onPrepare: (what) => progress.say(`First use on this machine: ${what} (some seconds)`),
		});
		progress.end();
		console.log(flags.json ? JSON.stringify(examination) : formatExamination(examination));
		return isHealthy(examination) ? 0 : 1;
	} finally {
		progress.end();
	}
}
