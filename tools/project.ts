// Where this checkout is, which files it holds, and which configuration to run Deno with: for the tools
// and tests that look at the project itself or start Deno.

import { fileURLToPath, pathToFileURL } from "node:url";

/** The repository's root directory, without a slash at its end. */
export const root: string = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/**
 * The configuration for a Deno that a tool or test starts: the one of this process where `./dev` named
 * it, else the one that works without JSR.
 */
export function configPath(): string {
	return Deno.env.get("OUTLIERSCOPE_CONFIG") ?? `${root}/.offline.deno.json`;
}

/** The modules that users import, relative to the root: what `deno.json` exports. */
export function entryPoints(): string[] {
	const { exports } = JSON.parse(Deno.readTextFileSync(`${root}/deno.json`));
	return Object.values<string>(exports);
}

/** The `file:` URL of an absolute path. */
export function toFileUrl(path: string): string {
	return pathToFileURL(path).href;
}

/** Every file below `directory`, as sorted paths relative to `base`. */
export function listFiles(base: string, directory: string): string[] {
	const files: string[] = [];
	for (const entry of Deno.readDirSync(`${base}/${directory}`)) {
		const path = directory === "." ? entry.name : `${directory}/${entry.name}`;
		if (entry.isDirectory) files.push(...listFiles(base, path));
		else files.push(path);
	}
	return files.sort();
}

/** Every file that git tracks or would add, as sorted paths relative to the root. */
export async function projectFiles(): Promise<string[]> {
	const { success, stdout, stderr } = await new Deno.Command("git", {
		args: [
			"-c",
			"safe.directory=*",
			"ls-files",
			"-z",
			"--cached",
			"--others",
			"--exclude-standard",
		],
		cwd: root,
	}).output();
	if (!success) throw new Error(`git ls-files failed: ${new TextDecoder().decode(stderr)}`);
	const paths = new TextDecoder().decode(stdout).split("\0").filter((path) => path !== "");
	const present = await Promise.all(
		paths.map((path) => Deno.lstat(`${root}/${path}`).then((info) => info.isFile, () => false)),
	);
	return paths.filter((_, i) => present[i]).sort();
}
