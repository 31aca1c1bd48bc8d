// Models by name: a path of this machine, or a model of the Hub, whose files are downloaded into the cache that
// Python's tools use as well.

import { HubCache, HubError, isRelative } from "./hub_cache.ts";
import { HubClient, type HubSettings, hubSettings } from "./hub_client.ts";
import { downloadFile } from "./hub_download.ts";
import { readIndex } from "./safetensors.ts";

export { HubError };

/** How far a download is. */
export interface DownloadProgress {
	/** The file that is being downloaded. */
	file: string;
	/** Bytes that are there, of all files that were missing. */
	done: number;
	/** Bytes that all these files have. */
	total: number;
}

/** Options of {@linkcode resolveModel}. */
export interface ResolveModelOptions {
	/**
	 * A branch, a tag or a commit of the Hub's model; the same as `@revision` after the name.
	 *
	 * @default {"main"}
	 */
	revision?: string;
	/** Is told of the download as it goes on. */
	onProgress?: (progress: DownloadProgress) => void;
	/** Ends the download; what has arrived is kept, and the next call goes on from there. */
	signal?: AbortSignal;
}

/** What a name of the Hub says. */
interface HubName {
	model: string;
	file: string | undefined;
	revision: string;
}

/**
 * Finds a model's files on this machine, and downloads from the Hub what is missing.
 *
 * A path that exists is returned as it is. Else `name` is a model of the Hub: `gpt2`, `owner/name`, a GGUF file
 * of one, `owner/name/file.gguf`; each may end with `@revision`. The files go to the cache directory of Hugging
 * Face's own tools, which share them. The environment variables `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN`,
 * `HF_ENDPOINT`, `HF_HUB_OFFLINE` and `HF_HUB_DOWNLOAD_TIMEOUT` mean what they mean there. When the Hub cannot
 * be reached, a model that is whole in the cache is taken from it.
 *
 * @returns the path of the folder with the model's files, or of the GGUF file
 * @throws {HubError} if the model cannot be had; the message says what would help
 *
 * @example Download GPT-2, or find it in the cache
 * ```ts ignore
 * const folder = await resolveModel("gpt2", {
 *   onProgress: ({ done, total }) => console.log(`${(100 * done / total).toFixed()} %`),
 * });
 * ```
 */
export async function resolveModel(
	name: string,
	options: ResolveModelOptions = {},
): Promise<string> {
	if (await exists(name)) return name;
	const hubName = parseName(name, options.revision), settings = hubSettings();
	try {
		return await resolve(hubName, settings, options);
	} catch (error) {
		if (options.signal?.aborted) throw options.signal.reason;
		if (!(error instanceof Error && ("code" in error || error instanceof Deno.errors.NotCapable))) {
			throw error; // not the system's
		}
		const advice = error instanceof Deno.errors.NotCapable
			? "run with --allow-read and --allow-write"
			: "set HF_HUB_CACHE to a directory that can be written and has space";
		throw new HubError(
			hubName.model,
			`the cache directory "${settings.cache}" cannot be used: ${error.message}; ${advice}`,
			{ cause: error },
		);
	}
}

async function exists(path: string): Promise<boolean> {
	try {
		await Deno.stat(path);
		return true;
	} catch (error) { // What reads the file tells of the permission that is missing.
		return error instanceof Deno.errors.NotCapable && /^[./]/.test(path);
	}
}

/** Splits `owner/name/file.gguf@revision`, or says why that is no name of the Hub. */
function parseName(name: string, option: string | undefined): HubName {
	const [path, ...after] = name.split("@"), written = after.join("@");
	const parts = path.split("/"), isGguf = /\.gguf$/i.test(path);
	const model = parts.slice(0, 2).join("/"), file = parts.slice(2).join("/") || undefined;
	const isModel = /^(?!.*(--|\.\.))\w[\w.-]*(\/\w[\w.-]*)?$/.test(model);
	if (!isModel || (file ? !isGguf || !isRelative(file) : isGguf) || (after.length && !written)) {
		throw new HubError(
			name,
			"there is no such file or folder, and it is no name of the Hub, which looks like gpt2, " +
				"owner/name, owner/name@revision or owner/name/file.gguf",
		);
	}
	const revision = option ?? (written || "main");
	if (written && revision !== written) {
		throw new HubError(
			name,
			`its name asks for the revision "${written}", and the options for "${option}"`,
		);
	}
	if (!isRelative(revision)) {
		throw new HubError(name, `"${revision}" is no branch, tag or commit`);
	}
	return { model, file, revision };
}

async function resolve(
	{ model, file, revision }: HubName,
	settings: HubSettings,
	{ onProgress, signal }: ResolveModelOptions,
): Promise<string> {
	signal?.throwIfAborted();
	const cache = new HubCache(settings.cache, model);
	const before = cache.commit(revision);
	const cached = before && await findCached(cache, before, file);
	if (settings.offline) {
		if (cached) return cached;
		const found = before ? ggufs(cache.names(before)) : [];
		throw new HubError(
			model,
			`HF_HUB_OFFLINE is set, and the cache directory "${settings.cache}" does not have ` +
				`${file ?? "all its files"}, revision "${revision}"; unset HF_HUB_OFFLINE to download it` +
				(found.length ? `. Of GGUF files it has ${listGguf(found)}` : ""),
		);
	}
	const client = new HubClient(settings, model, signal);
	let listing;
	try {
		listing = await client.describe(revision, cached ? 1 : undefined);
	} catch (error) {
		if (cached && error instanceof HubError && error.unreachable) return cached;
		throw error;
	}
	const { commit, paths } = listing;
	const get = async (wanted: string[], report?: (progress: DownloadProgress) => void) => {
		const missing = wanted.filter((path) => !cache.find(commit, path));
		if (missing.length === 0) return;
		const files = await client.files(commit, missing);
		const total = files.reduce((sum, { size }) => sum + size, 0);
		let before = 0;
		for (const file of files) {
			const onBytes = (bytes: number) => report?.({ file: file.path, done: before + bytes, total });
			const { patience } = settings;
			await downloadFile({ client, cache, commit, file, onBytes, patience, signal });
			cache.link(commit, file);
			before += file.size;
		}
	};
	const chosen = file ?? onlyGguf(paths);
	if (chosen) {
		if (!paths.includes(chosen)) {
			lacking(model, paths, chosen);
		}
		await get([chosen], onProgress);
	} else {
		const { wanted, index } = choose(paths) ?? lacking(model, paths);
		if (index) await get([index]);
		const shards = index ? await readShards(cache, commit, index) : [];
		for (const shard of shards) {
			if (paths.includes(shard)) continue;
			throw new HubError(model, `its ${index} names ${shard}, which it does not have`);
		}
		await get([...wanted, ...shards], onProgress);
	}
	cache.setCommit(revision, commit);
	return chosen ? cache.find(commit, chosen)! : cache.snapshot(commit);
}

const SMALL = [
	"config.json",
	"generation_config.json",
	"tokenizer.json",
	"tokenizer_config.json",
	"special_tokens_map.json",
];
const WEIGHTS = [
	"model.safetensors",
	"model.safetensors.index.json",
	"pytorch_model.bin",
	"pytorch_model.bin.index.json",
];

/** Which of a model's files are needed, and the index that names further ones; undefined if there is no model. */
function choose(paths: string[]): { wanted: string[]; index: string | undefined } | undefined {
	const weights = WEIGHTS.find((name) => paths.includes(name));
	if (!weights || !paths.includes("config.json")) return undefined;
	return {
		wanted: [...SMALL.filter((name) => paths.includes(name)), weights],
		index: weights.endsWith(".index.json") ? weights : undefined,
	};
}

const ggufs = (paths: string[]) => paths.filter((path) => /^[ -~]+\.gguf$/i.test(path));

/** The GGUF file of a model that has one and no other weights. */
function onlyGguf(paths: string[]): string | undefined {
	const found = ggufs(paths);
	return found.length === 1 && !WEIGHTS.some((name) => paths.includes(name)) ? found[0] : undefined;
}

function listGguf(found: string[]): string {
	const some = found.slice(0, 20).join(", ") + (found.length > 20 ? ", …" : "");
	return `${some}: write one of them after the model's name and a slash`;
}

/** Says what is missing of a model, and which GGUF files it has. */
function lacking(
	model: string,
	paths: string[],
	file: string = paths.includes("config.json") ? `any of ${WEIGHTS.join(", ")}` : "config.json",
): never {
	const found = ggufs(paths);
	throw new HubError(
		model,
		`it does not have ${file}, ` +
			(found.length ? `but has the GGUF files ${listGguf(found)}` : "nor a GGUF file"),
	);
}

/** The files that an index in the cache distributes tensors over. */
async function readShards(cache: HubCache, commit: string, index: string): Promise<string[]> {
	return [...new Set((await readIndex(cache.find(commit, index)!)).values())];
}

/** The path to return if all that a commit needs is in the cache. */
async function findCached(
	cache: HubCache,
	commit: string,
	file: string | undefined,
): Promise<string | undefined> {
	if (file) return cache.find(commit, file);
	const chosen = choose(cache.names(commit));
	if (!chosen) return undefined;
	const { wanted, index } = chosen;
	const has = (path: string) => cache.find(commit, path) !== undefined;
	if (!wanted.every(has)) return undefined;
	if (index && !(await readShards(cache, commit, index)).every(has)) return undefined;
	return cache.snapshot(commit);
}
