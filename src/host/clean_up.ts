// Removes temporary files even when the process is told to exit while they exist.

/**
 * Runs `cleanUp` when disposed of, or when the process exits before that (as on Ctrl-C, if the program
 * then calls `Deno.exit`).
 *
 * @param cleanUp must be synchronous; what it throws is ignored
 */
export function onExit(cleanUp: () => void): Disposable {
	const quietly = () => {
		try {
			cleanUp();
		} catch { /* already gone */ }
	};
	globalThis.addEventListener("unload", quietly);
	return {
		[Symbol.dispose]() {
			globalThis.removeEventListener("unload", quietly);
			quietly();
		},
	};
}

/**
 * A temporary name beside `path`, to write a file under before it is renamed, so that it appears whole or not at
 * all. What is still there when disposed of, or when the process exits, is removed.
 */
export function aside(path: string): Disposable & { readonly temporary: string } {
	const temporary = `${path}.${crypto.randomUUID()}.tmp`;
	return { temporary, ...onExit(() => Deno.removeSync(temporary)) }; // it throws once that is renamed
}
