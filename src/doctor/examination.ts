// What the doctor finds, as plain data: what answers, what is missing and what mends it, and whether the
// device computes right.

import type { SelfTestResult } from "./self_test.ts";

/** A library or program that was looked for. */
export interface Part {
	/** Its name. */
	name: string;
	/** Where it is; null if it was not found. */
	path: string | null;
	/** What it says of itself. */
	version: string | null;
	/** Why it cannot be used. */
	problem: string | null;
}

/** The device that computes. */
export interface ExaminedDevice {
	/** Its name. */
	name: string;
	/** NVIDIA's libraries, or the host driver. */
	kind: "cuda" | "host";
	/** Such as `"9.0"`. */
	computeCapability: string;
	/** Highest CUDA version that the driver serves. */
	driverVersion: string;
	/** Lanes of a warp. */
	warpSize: number;
	/** Largest number of threads in a block. */
	maxThreadsPerBlock: number;
	/** Streaming multiprocessors, or cores. */
	multiprocessors: number;
	/** Bytes. */
	memory: { free: number; total: number };
}

/** The directory where compiled code and models are kept. */
export interface ExaminedCache {
	/** Its path. */
	directory: string;
	/** Bytes of all files. */
	bytes: number;
	/** Built host drivers, of this and earlier versions. */
	hostDrivers: number;
	/** Compiled kernel sources. */
	modules: number;
	/** Models. */
	models: { name: string; bytes: number }[];
}

/** Something that is missing or wrong. */
export interface Lack {
	/** What. */
	what: string;
	/** The command, or what else to do. */
	remedy: string;
}

/** Everything the doctor finds. */
export interface Examination {
	/** Names this format. */
	format: "outlierscope-doctor";
	/** Version of the library. */
	version: string;
	/** Deno, operating system and processor architecture. */
	system: string;
	/** Environment variables that matter and are set. */
	environment: Record<string, string>;
	/** Null if none can be used. */
	device: ExaminedDevice | null;
	/** NVIDIA's libraries, and what the host driver is made of. */
	parts: Part[];
	/** Null if it cannot be read. */
	cache: ExaminedCache | null;
	/** What is missing. */
	lacks: Lack[];
	/** Null without a device. */
	selfTest: { seed: number; results: SelfTestResult[] } | null;
}

/** Whether the device is there and computes right. */
export function isHealthy({ selfTest }: Examination): boolean {
	return selfTest !== null && selfTest.results.every(({ ok }) => ok);
}
