// Where this checkout is and which configuration to run Deno with, for the tools and tests that start
// Deno themselves.

/** The repository's root directory, without a slash at its end. */
export const root: string = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/**
 * The configuration for a Deno that a tool or test starts: the one of this process where `./dev` named
 * it, else the one that works without JSR.
 */
export function configPath(): string {
  return Deno.env.get("OUTLIERSCOPE_CONFIG") ?? `${root}/.offline.deno.json`;
}
