// Where things made on the user's machine are kept: the built host driver, compiled kernels, models.

/** The permission error's advice, worded once. */
function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch (error) {
    throw new Error(
      `Cannot read the environment variable ${name}: Deno needs the permission --allow-env ` +
        `(run with --allow-env, or -A)`,
      { cause: error },
    );
  }
}

/**
 * The cache directory: `OUTLIERSCOPE_CACHE`, or `outlierscope` under `XDG_CACHE_HOME` or `~/.cache`.
 *
 * @returns its absolute path; it may not exist yet
 */
export function cacheDirectory(): string {
  const chosen = environment("OUTLIERSCOPE_CACHE");
  if (chosen) return chosen;
  const base = environment("XDG_CACHE_HOME");
  if (base) return `${base}/outlierscope`;
  const home = environment("HOME");
  if (!home) {
    throw new Error("Cannot tell where to keep compiled kernels: set HOME or OUTLIERSCOPE_CACHE");
  }
  return `${home}/.cache/outlierscope`;
}

/**
 * Writes a file so that others see all of it or nothing: to a temporary name beside it, then renamed.
 *
 * @param path where the file shall be; its directory is made if missing
 * @param bytes its content
 */
export function writeFileAtomically(path: string, bytes: Uint8Array): void {
  const directory = path.slice(0, path.lastIndexOf("/"));
  Deno.mkdirSync(directory, { recursive: true });
  const temporary = `${path}.${Deno.pid}.${crypto.randomUUID()}`;
  try {
    Deno.writeFileSync(temporary, bytes);
    Deno.renameSync(temporary, path);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch { /* it was never made */ }
    throw error;
  }
}
