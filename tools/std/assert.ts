// The few functions of `@std/assert` that this project's tests use, over `node:assert`, for machines
// that cannot reach JSR. `./dev` maps the name `@std/assert` to this file on such machines.

import assertModule from "node:assert/strict";

/** Fails unless `value` is truthy. */
export function assert(value: unknown, message = "Expected a truthy value"): asserts value {
	if (!value) throw new assertModule.AssertionError({ message });
}

/** Fails unless both are deeply and strictly equal. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
	assertModule.deepStrictEqual(actual, expected, message);
}

/** Fails if both are deeply and strictly equal. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
	assertModule.notDeepStrictEqual(actual, expected, message);
}

/** Fails unless |actual - expected| is at most `tolerance`. */
export function assertAlmostEquals(
	actual: number,
	expected: number,
	tolerance = Math.abs(expected) * 1e-7,
	message = `Expected ${actual} to be within ${tolerance} of ${expected}`,
): void {
	assert(Object.is(actual, expected) || Math.abs(actual - expected) <= tolerance, message);
}

/** Fails unless `actual` contains `expected`. */
export function assertStringIncludes(actual: string, expected: string, message?: string): void {
	assert(actual.includes(expected), message ?? `Expected "${actual}" to include "${expected}"`);
}

/** Fails unless `actual` matches `expected`. */
export function assertMatch(actual: string, expected: RegExp, message?: string): void {
	assert(expected.test(actual), message ?? `Expected "${actual}" to match ${expected}`);
}

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = new (...parameters: any[]) => E;

function checkError<E extends Error>(error: unknown, type?: ErrorClass<E>, includes?: string): E {
	assert(error instanceof Error, `Expected an Error to be thrown, got ${error}`);
	if (type) {
		assert(
			error instanceof type,
			`Expected a ${type.name}, got ${error.constructor.name}: ${error.message}`,
		);
	}
	if (includes !== undefined) assertStringIncludes(error.message, includes);
	return error as E;
}

/** Fails unless `run` throws, an instance of `type` whose message includes `includes`; returns the error. */
export function assertThrows<E extends Error = Error>(
	run: () => unknown,
	type?: ErrorClass<E>,
	includes?: string,
): E {
	try {
		run();
	} catch (error) {
		return checkError(error, type, includes);
	}
	throw new assertModule.AssertionError({ message: "Expected the function to throw" });
}

/** Fails unless `run` rejects, with an instance of `type` whose message includes `includes`; returns the error. */
export async function assertRejects<E extends Error = Error>(
	run: () => PromiseLike<unknown>,
	type?: ErrorClass<E>,
	includes?: string,
): Promise<E> {
	try {
		await run();
	} catch (error) {
		return checkError(error, type, includes);
	}
	throw new assertModule.AssertionError({ message: "Expected the promise to be rejected" });
}
