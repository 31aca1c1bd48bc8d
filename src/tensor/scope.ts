// Scopes free the tensors made in them. Device memory is not the garbage collector's business, so it is
// freed at a known place: by `using`, by a scope, and only as a safety net by a finalizer.

/** What a scope can free. */
export interface Owned extends Disposable {
	/** Whether it was freed already. */
	readonly disposed: boolean;
	/** Frees it; `by` says what did, for the error that a later use gives. */
	dispose(by?: string): void;
}

const scopes: Set<Owned>[] = [];

/** Registers an object with the innermost scope, if there is one. */
export function own(object: Owned): void {
	scopes.at(-1)?.add(object);
}

/**
 * Takes an object out of the scopes that would free it: it then lives until it is disposed of, as a parameter
 * or a running average does. Returns it.
 */
export function keep<T extends Owned>(object: T): T {
	for (const owned of scopes) owned.delete(object);
	return object;
}

/** Runs `body`, someone else's code, as if it were outside of all scopes: what it makes is its own. */
export function outsideScopes<T>(body: () => T): T {
	const enclosing = scopes.splice(0);
	try {
		return body();
	} finally {
		scopes.push(...enclosing);
	}
}

function collect(value: unknown, into: Set<unknown>): void {
	if (typeof value !== "object" || value === null || into.has(value)) return;
	into.add(value);
	if (ArrayBuffer.isView(value)) return;
	for (const item of Array.isArray(value) ? value : Object.values(value)) collect(item, into);
}

/**
 * Runs `body` and frees every tensor made in it, except those it returns (alone, or in arrays and plain
 * objects), which the enclosing scope, if any, then owns. `body` must not be asynchronous: work of
 * others would run inside the scope.
 *
 * @example Keep only the result
 * ```ts
 * import { Device, scope, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using kept = scope(() => {
 *   Tensor.from(device, "float32", [2], [1, 2]); // freed at the end of the scope
 *   return Tensor.from(device, "float32", [2], [3, 4]);
 * });
 * console.log(await kept.data()); // Float32Array [3, 4]
 * ```
 */
export function scope<T>(body: () => T): T;
/** The same with a name, which the error that a use of a freed tensor gives then tells. */
export function scope<T>(name: string, body: () => T): T;
export function scope<T>(...args: [() => T] | [string, () => T]): T {
	const [name, body] = args.length === 1 ? [undefined, args[0]] : args;
	return keepReturned(body, name === undefined ? "its scope" : `the scope "${name}"`, collect);
}

/**
 * The same with a `kept` of one's own, which adds what the result keeps to a set, for the files of this folder.
 */
export function keepReturned<T>(
	body: () => T,
	by: string,
	kept: (result: T, into: Set<unknown>) => void,
): T {
	const owned = new Set<Owned>(), keeps = new Set<unknown>();
	scopes.push(owned);
	try {
		const result = body();
		if (result instanceof Promise) {
			result.catch(() => {}); // it may well fail without its tensors; the error below says why
			throw new TypeError(
				"Cannot run an asynchronous function in a scope: tensors of other tasks would be freed; " +
					"use `using` in asynchronous code",
			);
		}
		kept(result, keeps);
		return result;
	} finally {
		scopes.pop();
		endScope(owned, keeps, by);
	}
}

/** Frees what a scope owns but does not keep: all of it, also where one of them fails. */
function endScope(owned: Iterable<Owned>, keeps: Set<unknown>, by: string): void {
	let failure: { error: unknown } | undefined;
	for (const object of owned) {
		if (keeps.has(object)) {
			own(object);
			continue;
		}
		try {
			object.dispose(by);
		} catch (error) {
			failure ??= { error };
		}
	}
	if (failure) throw failure.error;
}
