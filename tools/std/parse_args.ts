// What this project uses of `parseArgs` from `@std/cli/parse-args`, for machines that cannot reach JSR.
// `./dev` maps that name to this file on such machines. It does what the original does for the options
// below and has none of the others (no dotted names), so code that checks against it works with both.
// One difference: `--name=` gives the flag an empty text, where the original sees a flag named `name=`.

/** How to read arguments; each name without its dashes. */
export interface ParseOptions<B extends string, S extends string, C extends string> {
	/** Arguments after `--` go into the result's `--` rather than into `_`. */
	"--"?: boolean;
	/** Flags that take no value: absent is false. */
	boolean?: B | readonly B[];
	/** Flags that take a value and keep it as text: without a value it is `""`. */
	string?: S | readonly S[];
	/** Flags that may be given several times: the result is a list. */
	collect?: C | readonly C[];
	/** Boolean flags that `--no-NAME` sets to false. */
	negatable?: string | readonly string[];
	/** Other names of flags: the result holds the value under every name. */
	alias?: Record<string, string | readonly string[]>;
	/** Values of flags that are not given. */
	default?: Record<string, unknown>;
	/** Whether everything after the first positional argument goes into `_` unread. */
	stopEarly?: boolean;
	/** Called with each flag not named above and each positional argument; `false` leaves it out. */
	unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** What was given: positional arguments in `_`, and each flag under its names. */
export type Args<B extends string, S extends string, C extends string> =
	& { _: (string | number)[]; "--"?: string[] }
	& { [name in Exclude<B, C>]: boolean }
	& { [name in Exclude<S, C | "_">]: string | undefined }
	& { [name in C]: string[] }
	& { [name: string]: unknown };

const NUMBER = /^(?:0x[0-9a-f]+|[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/i;

function list(names: string | readonly string[] | undefined): readonly string[] {
	return names === undefined ? [] : typeof names === "string" ? [names] : names;
}

/** The flags that the options name, each set completed by aliases. */
class Flags {
	readonly #names = new Map<string, Set<string>>(); // each name to all names of its flag
	readonly booleans: Set<string>;
	readonly strings: Set<string>;
	readonly collected: Set<string>;
	readonly negatable: Set<string>;

	constructor(options: ParseOptions<string, string, string>) {
		for (const [name, others] of Object.entries(options.alias ?? {})) {
			const group = new Set([name, ...list(others)]);
			for (const member of group) this.#names.set(member, group);
		}
		const complete = (names: string | readonly string[] | undefined) =>
			new Set(list(names).flatMap((name) => [...this.namesOf(name)]));
		this.booleans = complete(options.boolean);
		this.strings = complete(options.string);
		this.collected = complete(options.collect);
		this.negatable = complete(options.negatable);
	}

	namesOf(name: string): Set<string> {
		return this.#names.get(name) ?? new Set([name]);
	}

	isKnown(name: string): boolean {
		return this.booleans.has(name) || this.strings.has(name) || this.#names.has(name);
	}
}

/**
 * Reads command line arguments: `--name value`, `--name=value`, `-n value`, `-n5`, `-n=value`, `-abc`,
 * `--no-name` for negatable flags, and `--`, after which everything is positional.
 */
export function parseArgs<
	B extends string = never,
	S extends string = never,
	C extends string = never,
>(args: string[], options: ParseOptions<B, S, C> = {}): Args<B, S, C> {
	const flags = new Flags(options);
	const positional: (string | number)[] = [];
	const result: Record<string, unknown> = { _: positional };

	function set(name: string, given: string | boolean, argument: string): void {
		if (!flags.isKnown(name) && options.unknown?.(argument, name, given) === false) return;
		let value: string | number | boolean = given;
		if (typeof given === "string") {
			if (flags.booleans.has(name)) value = given !== "false";
			else if (!flags.strings.has(name) && NUMBER.test(given)) value = Number(given);
		}
		for (const each of flags.namesOf(name)) {
			const before = result[each];
			if (!flags.collected.has(each)) result[each] = value;
			else if (Array.isArray(before)) before.push(value);
			else result[each] = [value];
		}
	}

	const end = args.indexOf("--");
	const read = end < 0 ? args : args.slice(0, end);
	const unread = end < 0 ? [] : args.slice(end + 1);
	let i = 0;

	/** Sets a flag without `=`: the next argument is its value if it takes one and that is not a flag. */
	function setFromNext(name: string, argument: string): void {
		const next = read[i + 1];
		const takesNext = flags.booleans.has(name)
			? next === "true" || next === "false"
			: next !== undefined && next !== "" && !next.startsWith("-");
		if (takesNext) {
			i++;
			set(name, next, argument);
		} else set(name, flags.strings.has(name) ? "" : true, argument);
	}

	/** Sets the flags of `-abc`, `-n5`, `-n=value` or `-o./path`. */
	function setLetters(argument: string): void {
		for (let at = 1; at < argument.length; at++) {
			const [name, rest] = [argument[at], argument.slice(at + 1)];
			if (rest === "") setFromNext(name, argument);
			else if (/^\W/.test(rest) || /\d$/.test(rest)) { // the rest is its value
				set(name, rest.replace(/^=/, ""), argument);
				return;
			} else set(name, flags.strings.has(name) ? "" : true, argument);
		}
	}

	for (; i < read.length; i++) {
		const argument = read[i];
		const [, name, value] = argument.match(/^--([^=]+)(?:=([^]*))?$/) ?? [];
		if (name !== undefined) {
			if (value !== undefined) set(name, value, argument);
			else if (name.startsWith("no-") && flags.negatable.has(name.slice(3))) {
				set(name.slice(3), false, argument);
			} else setFromNext(name, argument);
		} else if (argument.startsWith("-") && argument !== "-") {
			setLetters(argument);
		} else {
			if (options.unknown?.(argument) !== false) {
				const isNumber = !flags.strings.has("_") && NUMBER.test(argument);
				positional.push(isNumber ? Number(argument) : argument);
			}
			if (options.stopEarly) {
				positional.push(...read.slice(i + 1));
				break;
			}
		}
	}
	if (options["--"]) result["--"] = unread;
	else positional.push(...unread);

	for (const [name, value] of Object.entries(options.default ?? {})) {
		for (const each of flags.namesOf(name)) if (!(each in result)) result[each] = value;
	}
	for (const name of [...flags.booleans, ...flags.strings]) {
		if (name in result) continue;
		if (flags.collected.has(name)) result[name] = [];
		else if (flags.booleans.has(name)) result[name] = false;
	}
	return result as Args<B, S, C>;
}
