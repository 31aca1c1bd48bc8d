// Asks the Hub about a model and for its files. What is asked of the Hub's API goes through @huggingface/hub,
// which is loaded when it is first needed; settings are the environment variables of Hugging Face's own tools.

import { setTimeout as delay } from "node:timers/promises";
import { environment } from "../host/cache_directory.ts";
import { HubError, type HubFile, isCommit, isRelative } from "./hub_cache.ts";

/** Where models come from and where they are kept. */
export interface HubSettings {
	/** The cache directory: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, which is `~/.cache/huggingface`. */
	cache: string;
	/** Address of the Hub or of a mirror: `HF_ENDPOINT`; left out, the Hub's own. */
	endpoint: string | undefined;
	/** What the Hub knows the user by: `HF_TOKEN`, or the file that `hf auth login` writes. */
	token: string | undefined;
	/** Whether only the cache may be used: `HF_HUB_OFFLINE`. */
	offline: boolean;
	/** Milliseconds to wait for the next byte: `HF_HUB_DOWNLOAD_TIMEOUT` (seconds). */
	patience: number;
}

/** The settings of this process's environment. */
export function hubSettings(): HubSettings {
	const home = environment("HOME");
	const expand = (path: string) => home ? path.replace(/^~(?=\/|$)/, home) : path;
	const base = environment("XDG_CACHE_HOME") ?? (home && `${home}/.cache`);
	const own = environment("HF_HOME") ?? (base && `${base}/huggingface`);
	const cache = environment("HF_HUB_CACHE") ?? environment("HUGGINGFACE_HUB_CACHE") ??
		(own && `${own}/hub`);
	if (!cache) {
		throw new Error("Cannot tell where models from the Hub are kept: set HF_HOME or HOME");
	}
	const endpoint = environment("HF_ENDPOINT")?.replace(/\/+$/, "");
	if (endpoint && !/^https?:\/\//.test(endpoint)) {
		throw new Error(`HF_ENDPOINT is "${endpoint}", which is no address that begins with https://`);
	}
	const tokenFile = environment("HF_TOKEN_PATH") ?? (own && `${own}/token`);
	const token = (environment("HF_TOKEN") ?? readToken(tokenFile && expand(tokenFile)))?.trim();
	if (token && !/^[!-~]+$/.test(token)) { // not shown: it is a secret
		throw new Error("The token in HF_TOKEN or of `hf auth login` has characters that no token has");
	}
	return {
		cache: expand(cache).replace(/(?<=.)\/+$/, ""),
		endpoint,
		token,
		offline: /^(1|on|yes|true)$/i.test(
			environment("HF_HUB_OFFLINE") ?? environment("TRANSFORMERS_OFFLINE") ?? "",
		),
		patience: (Number(environment("HF_HUB_DOWNLOAD_TIMEOUT")) || 10) * 1000,
	};
}

function readToken(path: string | undefined): string | undefined {
	try {
		return path && Deno.readTextFileSync(path).trim() || undefined;
	} catch {
		return undefined; // Most people have none. Where one is needed, the error says so.
	}
}

/** A failure that may be gone on the next try. */
class Transient extends Error {}

const ATTEMPTS = 4;

/** Waits before the next attempt, longer each time. */
export function backOff(attempt: number, patience: number, signal?: AbortSignal): Promise<void> {
	return delay(patience / 40 * 3 ** attempt, undefined, signal && { signal });
}

/** Asks the Hub about one model. */
export class HubClient {
	readonly #settings: HubSettings;
	readonly #model: string;
	readonly #signal: AbortSignal | undefined;

	/** Asks nothing yet. */
	constructor(settings: HubSettings, model: string, signal?: AbortSignal) {
		this.#settings = settings;
		this.#model = model;
		this.#signal = signal;
	}

	/**
	 * The commit that a revision is at now, and the names of its files.
	 *
	 * @param attempts how often to try while the Hub does not answer
	 */
	async describe(
		revision: string,
		attempts: number = ATTEMPTS,
	): Promise<{ commit: string; paths: string[] }> {
		const { sha, filePaths } = await this.#ask(attempts, ({ modelInfo }, common) =>
			modelInfo({
				...common,
				name: this.#model,
				revision,
				additionalFields: ["sha", "filePaths"],
			}), `revision "${revision}"`);
		if (typeof sha !== "string" || !isCommit(sha)) {
			throw this.#fail(`the Hub names no commit for the revision "${revision}"`);
		}
		return { commit: sha, paths: filePaths.filter((path) => typeof path === "string") };
	}

	/** Sizes and checksums of a commit's files. */
	async files(commit: string, paths: string[]): Promise<HubFile[]> {
		const listed = await this.#ask(ATTEMPTS, ({ pathsInfo }, common) =>
			pathsInfo({
				...common,
				repo: { type: "model", name: this.#model },
				revision: commit,
				paths,
			}), `commit ${commit}`);
		return paths.map((path) => {
			const entry = listed.find((entry) => entry.path === path);
			const { oid: checksum, size } = entry?.lfs ?? entry ?? {};
			if (!isRelative(path) || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(checksum ?? "")) {
				throw this.#fail(`the Hub lists no size and checksum of its file ${JSON.stringify(path)}`);
			}
			if (!Number.isSafeInteger(size) || size! < 0) {
				throw this.#fail(`the Hub lists ${path} with the size ${size}`);
			}
			return { path, size: size!, checksum: checksum! };
		});
	}

	/**
	 * A commit's file, or what it has from a byte on.
	 *
	 * @param signal ends the transfer
	 */
	async open(commit: string, path: string, from: number, signal: AbortSignal): Promise<Response> {
		const name = path.split("/").map(encodeURIComponent).join("/");
		const url = `${await this.#endpoint()}/${this.#model}/resolve/${commit}/${name}`;
		const headers = new Headers({ "accept-encoding": "identity" }); // a range is of plain bytes
		if (from > 0) headers.set("range", `bytes=${from}-`);
		try {
			const response = await this.#fetch(url, { headers, signal });
			if (response.ok) return response;
			await response.body?.cancel();
			const said = response.headers.get("x-error-message") ?? undefined;
			throw this.#refused(response.status, said, `file "${path}"`);
		} catch (error) {
			throw this.explain(error);
		}
	}

	/** What a file's answer brings, with failures explained. */
	async *arrivals(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
		try {
			yield* body;
		} catch (error) {
			throw this.explain(error);
		}
	}

	/** Whether another try may help. */
	isTransient(error: unknown): boolean {
		return error instanceof HubError && error.cause instanceof Transient;
	}

	/** What a failed request means to the user. */
	explain(error: unknown): unknown {
		if (this.#signal?.aborted) return this.#signal.reason;
		if (error instanceof HubError) return error;
		const message = innermost(error).message.replace(/(:\/\/[^\s?]+)\?[^\s)]*/g, "$1");
		if (error instanceof Deno.errors.NotCapable) {
			const host = /net access to "([^"]+)"/.exec(message)?.[1] ?? "the network";
			return this.#fail(
				`Deno has no permission to reach ${host}; run with --allow-net ` +
					"(the Hub sends large files from further hosts)",
				{ cause: error, unreachable: true },
			);
		}
		const cause = new Transient(message, { cause: error });
		if (error instanceof DOMException && /^(Timeout|Abort)Error$/.test(error.name)) {
			const seconds = this.#settings.patience / 1000;
			return this.#fail(
				`the Hub sent nothing for ${seconds} s; try again, or set HF_HUB_DOWNLOAD_TIMEOUT ` +
					"to more seconds",
				{ cause, unreachable: true },
			);
		}
		if (error instanceof SyntaxError) {
			return this.#fail(
				`what answers at ${this.#settings.endpoint ?? "the Hub's address"} is not the Hub: ` +
					`${message}; check HF_ENDPOINT and proxies`,
				{ cause, unreachable: true },
			);
		}
		return this.#fail(
			`the connection to the Hub failed: ${message}; check the network, HF_ENDPOINT and proxies, ` +
				"and try again: a download goes on where it stopped",
			{ cause, unreachable: true },
		);
	}

	/** What a status other than success means. */
	#refused(status: number, said: string | undefined, what: string): HubError {
		const hub = said ? ` (the Hub says: ${JSON.stringify(said.slice(0, 300))})` : "";
		if (status === 401) {
			return this.#fail(
				(this.#settings.token
					? "the Hub does not accept the token of HF_TOKEN or of `hf auth login`"
					: "it does not exist, or is private or gated and needs HF_TOKEN") + hub,
			);
		}
		if (status === 403) {
			return this.#fail(
				"access to it must be asked for on its page of the Hub" +
					(this.#settings.token
						? ", by the account of the token in use"
						: "; then set HF_TOKEN to a token of that account") +
					hub,
			);
		}
		if (status === 404) {
			return this.#fail(`the Hub has no such model, or it has no ${what}${hub}`);
		}
		const transient = [408, 416, 429].includes(status) || status >= 500;
		return this.#fail(
			`the Hub answers with status ${status}${transient ? "; try again later" : ""}${hub}`,
			transient ? { cause: new Transient(`status ${status}`), unreachable: true } : {},
		);
	}

	/** Asks a function of the library, again if that may help. */
	async #ask<T>(
		attempts: number,
		question: (hub: Hub, common: { hubUrl: string; fetch: typeof fetch }) => Promise<T>,
		what: string,
	): Promise<T> {
		for (let attempt = 0;; attempt++) {
			try {
				const common = {
					hubUrl: await this.#endpoint(),
					fetch: (url: URL | RequestInfo, init?: RequestInit) =>
						this.#fetch(String(url), {
							...init,
							signal: AbortSignal.any([
								AbortSignal.timeout(this.#settings.patience),
								...(this.#signal ? [this.#signal] : []),
							]),
						}),
				};
				return await question(await library(), common);
			} catch (error) {
				const { HubApiError } = await library();
				const problem = error instanceof HubApiError
					? this.#refused(error.statusCode, said(error.data), what)
					: this.explain(error);
				if (attempt + 1 >= attempts || !this.isTransient(problem)) throw problem;
				await backOff(attempt, this.#settings.patience, this.#signal);
			}
		}
	}

	/** The token goes with the request itself; `fetch` drops it when another host is redirected to. */
	#fetch(url: string, init: RequestInit): Promise<Response> {
		const headers = new Headers(init.headers), { token } = this.#settings;
		if (token) headers.set("authorization", `Bearer ${token}`);
		return fetch(url, { ...init, headers });
	}

	async #endpoint(): Promise<string> {
		return this.#settings.endpoint ?? (await library()).HUB_URL;
	}

	#fail(problem: string, options?: ErrorOptions & { unreachable?: boolean }): HubError {
		return new HubError(this.#model, problem, options);
	}
}

/** What an error comes from: `fetch` says only that it failed, and its cause says why. */
function innermost(error: unknown): Error {
	if (!(error instanceof Error)) return new Error(String(error));
	return error.cause instanceof Error ? innermost(error.cause) : error;
}

type Hub = typeof import("@huggingface/hub");

function library(): Promise<Hub> {
	return import("@huggingface/hub");
}

/** What the body of an answer says of an error. */
function said(data: unknown): string | undefined {
	const error = (data as { error?: unknown } | undefined)?.error;
	return typeof error === "string" ? error : undefined;
}
