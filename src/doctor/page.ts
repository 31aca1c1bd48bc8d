// What the doctor found, as one page of text.

import { formatBytes } from "../cuda/errors.ts";
import { type Examination, isHealthy, type Part } from "./examination.ts";
import type { SelfTestResult } from "./self_test.ts";

function partLine({ name, path, version, problem }: Part): string {
	const found = [path, version].filter((text) => text !== null).join(", ");
	return `${name.padEnd(14)}${problem === null ? found : "not found"}`;
}

function resultLine({ name, ok, largestError, problem }: SelfTestResult): string {
	const outcome = ok ? "ok     " : "FAILED ";
	const detail = largestError === null
		? problem!.split("\n")[0]!
		: largestError === 0
		? "exact"
		: `largest error ${largestError.toExponential(1)}`;
	return `${name.padEnd(36)}${outcome}${detail}`;
}

/** A page for people, and to send to those who can help. */
export function formatExamination(examination: Examination): string {
	const { version, system, environment, device, parts, cache, lacks, selfTest } = examination;
	const sections: [string, string[]][] = [
		[
			"Device",
			device === null ? ["none that can compute"] : [
				device.name,
				`${device.kind}, compute capability ${device.computeCapability}, ` +
				`driver for CUDA ${device.driverVersion}`,
				`${device.multiprocessors} multiprocessors, warps of ${device.warpSize}, ` +
				`blocks of up to ${device.maxThreadsPerBlock} threads`,
				`${formatBytes(device.memory.free)} of ${formatBytes(device.memory.total)} memory are free`,
			],
		],
		["Libraries and programs", parts.map(partLine)],
		["Environment", Object.entries(environment).map(([name, value]) => `${name}=${value}`)],
		[
			"Cache",
			cache === null ? ["cannot be read"] : [
				`${cache.directory}, ${formatBytes(cache.bytes)}`,
				`${cache.hostDrivers} host drivers, ${cache.modules} compiled kernel sources`,
				...cache.models.map(({ name, bytes }) => `model ${name}, ${formatBytes(bytes)}`),
			],
		],
		["Missing", lacks.flatMap(({ what, remedy }) => [...what.split("\n"), `  → ${remedy}`])],
	];
	if (selfTest !== null) {
		const failed = selfTest.results.filter(({ ok }) => !ok).length;
		sections.push([`Self-test, repeated by OUTLIERSCOPE_SEED=${selfTest.seed}`, [
			...selfTest.results.map(resultLine),
			`${selfTest.results.length - failed} ok, ${failed} failed`,
		]]);
	}
	const verdict = isHealthy(examination)
		? "Everything works."
		: selfTest === null
		? "Nothing can be computed here yet: see what is missing."
		: "The device computes wrong results: please report this page.";
	return [
		`Outlierscope ${version}, ${system}`,
		...sections.filter(([, lines]) => lines.length > 0)
			.map(([title, lines]) => `\n${title}\n${lines.map((line) => `  ${line}`).join("\n")}`),
		`\n${verdict}\n`,
	].join("\n");
}
