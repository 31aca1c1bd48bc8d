// What the tests of the Hub share: an imitation of it with models, a cache directory of their own, and
// environment variables that name both.

import { inDirectory } from "../subprocess.ts";
import { checksumOf, HubServer } from "./hub_server.ts";

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** Bytes that no two calls share. */
export function randomBytes(count: number): Uint8Array<ArrayBuffer> {
	const bytes = new Uint8Array(count);
	for (let at = 0; at < count; at += 65536) {
		crypto.getRandomValues(bytes.subarray(at, Math.min(count, at + 65536)));
	}
	return bytes;
}

/** A place to download to and from. */
export interface Place {
	hub: HubServer;
	storage: HubServer;
	/** The cache directory. */
	cache: string;
	/** The folder of a model in it. */
	folder: (model: string) => string;
	/** The path of the blob of a model's file. */
	blob: (model: string, path: string) => string;
	/** Environment variables that name them. */
	env: Record<string, string>;
}

const VARIABLES = [
	"HF_ENDPOINT",
	"HF_HOME",
	"HF_HUB_CACHE",
	"HUGGINGFACE_HUB_CACHE",
	"HF_HUB_DOWNLOAD_TIMEOUT",
	"HF_HUB_OFFLINE",
	"HF_TOKEN",
	"HF_TOKEN_PATH",
	"TRANSFORMERS_OFFLINE",
];

/** Runs `body` with an imitation of the Hub that has the model `owner/tiny`, and an empty cache. */
export async function withHub(
	body: (place: Place) => Promise<void>,
	env: Record<string, string> = {},
): Promise<void> {
	await using storage = new HubServer();
	await using hub = new HubServer();
	hub.storage = storage;
	hub.models["owner/tiny"] = {
		revisions: { main: COMMIT },
		files: {
			"README.md": randomBytes(30),
			"config.json": new TextEncoder().encode('{"model_type":"gpt2"}'),
			"model.safetensors": randomBytes(300_001),
			"pytorch_model.bin": randomBytes(1000),
			"tokenizer.json": randomBytes(5000),
			"tokenizer_config.json": randomBytes(0),
		},
	};
	storage.models["owner/tiny"] = hub.models["owner/tiny"]!;
	await inDirectory(async (home) => {
		const cache = `${home}/hub`;
		const folder = (model: string) => `${cache}/models--${model.replaceAll("/", "--")}`;
		const set: Record<string, string> = {
			HF_ENDPOINT: hub.url,
			HF_HOME: home,
			HF_HUB_DOWNLOAD_TIMEOUT: "2",
			...env,
		};
		const before = VARIABLES.map((name) => [name, Deno.env.get(name)] as const);
		for (const name of VARIABLES) Deno.env.delete(name);
		for (const [name, value] of Object.entries(set)) Deno.env.set(name, value);
		try {
			await body({
				hub,
				storage,
				cache,
				folder,
				blob: (model, path) =>
					`${folder(model)}/blobs/${checksumOf(path, hub.models[model]!.files[path]!)}`,
				env: set,
			});
		} finally {
			for (const [name, value] of before) {
				if (value === undefined) Deno.env.delete(name);
				else Deno.env.set(name, value);
			}
		}
	});
}

/** Every path below a folder, with what a link points to, sorted. */
export function tree(folder: string, prefix = ""): string[] {
	const paths: string[] = [];
	for (const { name, isDirectory, isSymlink } of Deno.readDirSync(folder)) {
		const path = `${folder}/${name}`;
		if (isDirectory) paths.push(...tree(path, `${prefix}${name}/`));
		else paths.push(prefix + name + (isSymlink ? ` -> ${Deno.readLinkSync(path)}` : ""));
	}
	return paths.sort();
}
