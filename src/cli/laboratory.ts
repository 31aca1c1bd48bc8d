// The part of the command `analyze` that runs the laboratory: chosen analyses of the paper, each kept when it is done.

import {
	type Beside,
	type DefinitionName,
	DEFINITIONS,
	type DetectOutliersOptions,
	type Laboratory,
	LABORATORY_ANALYSES,
	type LaboratoryAnalysis,
	type LaboratoryRecord,
	loadModel,
	readLaboratory,
	runLaboratory,
	type Transformer,
	writeLaboratory,
	writeRecord,
} from "../../mod.ts";
import type { AnalyzedSequence } from "../outliers/analysis.ts";
import type { Progress } from "./progress.ts";
import { UsageError } from "./usage.ts";

/** What a run does: the quick report, and analyses of the laboratory. */
export interface Choice {
	report: boolean;
	analyses: LaboratoryAnalysis[];
}

/** Reads `--only`: names with commas between them, or `all`. */
export function parseOnly(text: string | undefined, compare: boolean): Choice {
	const comparison: LaboratoryAnalysis[] = compare ? ["comparison"] : [];
	if (text === undefined) return { report: true, analyses: comparison };
	const names = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
	const known = ["report", ...LABORATORY_ANALYSES, "all"];
	const wrong = names.find((name) => !known.includes(name));
	if (wrong !== undefined || names.length === 0) {
		throw new UsageError(
			`Cannot use "${wrong ?? text}" as --only: it takes names of ${known.join(", ")}, ` +
				"with commas between them",
		);
	}
	if (names.includes("comparison") && !compare) {
		throw new UsageError("The analysis comparison needs a second model: give --compare MODEL");
	}
	const all = names.includes("all");
	return {
		report: all || names.includes("report"),
		analyses: LABORATORY_ANALYSES.filter((name) =>
			name === "comparison" ? compare : all || names.includes(name)
		),
	};
}

/** Reads `--definition`. */
export function parseDefinition(text: string): DefinitionName {
	if (text in DEFINITIONS) return text as DefinitionName;
	throw new UsageError(
		`Cannot use "${text}" as --definition: it must be one of ${
			Object.keys(DEFINITIONS).join(", ")
		}`,
	);
}

/** What the laboratory is told. */
export interface LaboratoryArguments {
	analyses: readonly LaboratoryAnalysis[];
	definition: DefinitionName | undefined;
	compare: string | undefined;
	out: string | null;
	options: DetectOutliersOptions;
	/** What makes the report, if it is wanted too. */
	beside?: Beside;
}

/** Sizes and dates of a model's files: a model that was trained on since is another one. */
function datesOf({ checkpoint }: Transformer): string {
	const path = checkpoint?.path;
	if (path === undefined) return "";
	const stamp = (file: string) => {
		const { size, mtime } = Deno.statSync(file);
		return `${file} ${size} ${mtime?.getTime()}`;
	};
	if (!Deno.statSync(path).isDirectory) return stamp(path);
	return [...Deno.readDirSync(path)].filter(({ isFile }) => isFile)
		.map(({ name }) => stamp(`${path}/${name}`)).sort().join("\n");
}

/** Runs the laboratory and keeps each result as it comes; those there already of the same are taken up. */
export async function laboratory(
	model: Transformer,
	sequences: readonly AnalyzedSequence[],
	{ analyses, definition, compare, out, options, beside }: LaboratoryArguments,
	progress: Progress,
): Promise<Laboratory> {
	using other = analyses.includes("comparison") && compare !== undefined
		? await loadModel(compare, {
			onProgress: ({ file, done, total }) => progress.update(`Downloading ${file}`, done, total),
		})
		: null;
	const previous = out === null ? {} : await readLaboratory(out);
	progress.say("Running the laboratory");
	const done = await runLaboratory(model, sequences, {
		only: analyses,
		...definition && { definition },
		...options.tau !== undefined && {
			definition: {
				...DEFINITIONS[definition ?? "default"],
				tau: options.tau,
				weightTau: options.tau,
			},
		},
		...options.dtype && { dtype: options.dtype },
		...other && { compareWith: other },
		weights: [model, ...other ? [other] : []].map(datesOf).join("\n"),
		previous,
		...beside && { beside },
		onProgress: (done, total, name) =>
			progress.update(`Laboratory: ${name === "beside" ? "report" : name}`, done, total),
		onResult: async (record: LaboratoryRecord, reused) => {
			if (out !== null && !reused) await writeRecord(record, out);
		},
	});
	if (out !== null) {
		progress.say("Drawing the laboratory");
		// Analyses that an earlier run left are drawn too, if they are of the same model.
		const kept = Object.entries(await readLaboratory(out)).filter(([, record]) =>
			record.model.name === model.name
		);
		await writeLaboratory({ ...Object.fromEntries(kept), ...done }, out);
	}
	return done;
}
