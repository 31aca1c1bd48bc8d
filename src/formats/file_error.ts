// The error of a file that cannot be used, whatever its format.

/** What is wrong with a file, or why it cannot be read or written. */
export class FileError extends Error {
	/** The class's name, for printing. */
	override name = "FileError";
	/** The file in question. */
	readonly path: string;

	/** Makes an error about the file at `path`; `problem` reads on from "Cannot use <path>: ". */
	constructor(path: string, problem: string, options?: ErrorOptions) {
		super(`Cannot use "${path}": ${problem}`, options);
		this.path = path;
	}
}
