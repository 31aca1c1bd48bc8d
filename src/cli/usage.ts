// What the commands share: the error of a mistake in how one was called.

/** A mistake in how the command was called. */
export class UsageError extends Error {}

/** What went wrong, in a line. */
export function reason(error: unknown): string {
	return error instanceof Error ? error.message.split("\n")[0]! : String(error);
}

/**
 * What `parseArgs` calls for what it does not know, of commands that take options alone.
 *
 * @param hint by which option an argument without one may have been meant, in words
 */
export function refuseUnknown(hint: string): (argument: string) => false {
	return (argument) => {
		if (argument === "") return false; // the empty value of the option before it
		throw new UsageError(
			argument.startsWith("-")
				? `Unknown option ${argument}; --help lists the options`
				: `Unexpected argument "${argument}"; ${hint}`,
		);
	};
}

/** The value of an option that is one of some words. */
export function parseChoice<T extends string>(name: string, text: string, among: readonly T[]): T {
	if ((among as readonly string[]).includes(text)) return text as T;
	throw new UsageError(`Cannot use "${text}" as --${name}: it must be ${among.join(" or ")}`);
}

/** The value of an option that is a whole number. */
export function parseWhole(name: string, text: string): number {
	if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
	throw new UsageError(`Cannot use "${text}" as --${name}: it must be a whole number, 1 or more`);
}
