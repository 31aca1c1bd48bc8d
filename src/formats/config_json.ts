// config.json and its like: checked reading of JSON settings.

import { FileError } from "./file_error.ts";
import { readJsonFile } from "./local_file.ts";

const MAX_BYTES = 16 * 2 ** 20;

/** A JSON file of settings that is missing, damaged, or says something else than it must. */
export class ConfigError extends FileError {
	/** The class's name, for printing. */
	override name = "ConfigError";
}

/** Settings by key. */
export class ConfigJson {
	/** The file. */
	readonly path: string;
	/** The settings as the file has them, unchecked. */
	readonly values: Readonly<Record<string, unknown>>;
	readonly #within: string;

	/**
	 * Wraps settings that were read.
	 *
	 * @param within where in the file the settings are, such as `rope_scaling.`
	 */
	constructor(path: string, values: Readonly<Record<string, unknown>>, within = "") {
		this.path = path;
		this.values = values;
		this.#within = within;
	}

	/**
	 * Reads a file.
	 *
	 * @throws {ConfigError} if it cannot be read or holds no JSON object
	 */
	static async open(path: string): Promise<ConfigJson> {
		const fail = (problem: string, cause?: unknown) => new ConfigError(path, problem, { cause });
		const value = await readJsonFile(path, MAX_BYTES, fail);
		if (typeof value !== "object" || value === null || Array.isArray(value)) {
			throw new ConfigError(path, "it must hold a JSON object");
		}
		return new ConfigJson(path, value as Record<string, unknown>);
	}

	/** The error of a problem with these settings. */
	error(problem: string): ConfigError {
		return new ConfigError(this.path, problem);
	}

	/** Whether a key is there and not null. */
	has(key: string): boolean {
		return this.values[key] !== undefined && this.values[key] !== null;
	}

	/** A key as errors name it, with where in the file it is. */
	nameOf(key: string): string {
		return `"${this.#within}${key}"`;
	}

	/** A number; `otherwise` if the key is missing or null, unless that is left out. */
	number(key: string, otherwise?: number): number {
		const value = this.#get(key, otherwise, "a number");
		if (typeof value === "number" && Number.isFinite(value)) return value;
		throw this.#wrong(key, value, "a number");
	}

	/** A whole number from 0 on. */
	whole(key: string, otherwise?: number): number {
		const value = this.#get(key, otherwise, "a whole number");
		if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
		throw this.#wrong(key, value, "a whole number");
	}

	/** A boolean. */
	boolean(key: string, otherwise?: boolean): boolean {
		const value = this.#get(key, otherwise, "true or false");
		if (typeof value === "boolean") return value;
		throw this.#wrong(key, value, "true or false");
	}

	/** A string. */
	string(key: string, otherwise?: string): string {
		const value = this.#get(key, otherwise, "a string");
		if (typeof value === "string") return value;
		throw this.#wrong(key, value, "a string");
	}

	/** A list of numbers. */
	numbers(key: string): number[] {
		const value = this.#get(key, undefined, "a list of numbers");
		if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value;
		throw this.#wrong(key, value, "a list of numbers");
	}

	/** Whole numbers from 0 on, one or a list of them, as `eos_token_id` is; none if the key is missing or null. */
	wholes(key: string): number[] {
		const value = this.has(key) ? this.values[key] : [];
		const list: unknown[] = Array.isArray(value) ? value : [value];
		const isWhole = (item: unknown): item is number =>
			Number.isSafeInteger(item) && item as number >= 0;
		if (list.every(isWhole)) return list;
		throw this.#wrong(key, value, "a whole number, or a list of them,");
	}

	/** Settings within settings; none if the key is missing or null. */
	object(key: string): ConfigJson {
		const value = this.has(key) ? this.values[key] : {};
		if (typeof value === "object" && value !== null && !Array.isArray(value)) {
			return new ConfigJson(this.path, value as Record<string, unknown>, `${this.#within}${key}.`);
		}
		throw this.#wrong(key, value, "an object");
	}

	#get(key: string, otherwise: unknown, wanted: string): unknown {
		if (this.has(key)) return this.values[key];
		if (otherwise !== undefined) return otherwise;
		throw this.error(`its ${this.nameOf(key)} is missing: ${wanted} is needed`);
	}

	#wrong(key: string, value: unknown, wanted: string): ConfigError {
		const found = JSON.stringify(value).slice(0, 60);
		return this.error(`its ${this.nameOf(key)} is ${found}: ${wanted} is needed`);
	}
}
