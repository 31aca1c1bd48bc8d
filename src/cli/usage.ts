// What the commands share: the error of a mistake in how one was called.

/** A mistake in how the command was called. */
export class UsageError extends Error {}

/** What went wrong, in a line. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message.split("\n")[0]! : String(error);
}
