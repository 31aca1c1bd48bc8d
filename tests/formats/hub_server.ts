// An imitation of the Hub on this machine: models with their API, small files served at once and large ones by
// a redirect to another server, and faults that are planted into its answers. It speaks HTTP/1.1 by hand, since
// a server that means well cannot cut an answer short or lie about its length.

import { createHash } from "node:crypto";

/** A request as it came. */
export interface Asked {
	method: string;
	path: string;
	headers: Headers;
}

/** What goes wrong with an answer. */
export interface Fault {
	/** Bytes of the body after which the connection is closed. */
	cut?: number;
	/** Bytes of the body after which nothing more comes. */
	stall?: number;
	/** What Content-Length says; null to leave it out. */
	length?: number | null;
	/** Answer with this status and nothing else. */
	status?: number;
	/** Answer with this body. */
	body?: string;
	/** Send all of the file although a part was asked for. */
	ignoreRange?: boolean;
	/** Send the part that begins here, whichever was asked for. */
	partFrom?: number;
}

interface Answer {
	status: number;
	headers: Record<string, string>;
	body: Uint8Array<ArrayBuffer>;
}

/** A model of the imitation. */
export interface ServedModel {
	/** Its commits by branch and tag. */
	revisions: Record<string, string>;
	files: Record<string, Uint8Array<ArrayBuffer>>;
	/** The token that opens its files. */
	gated?: string;
}

/** The checksum by which the Hub names a file: SHA-256 if it is large, else git's. */
export function checksumOf(path: string, bytes: Uint8Array): string {
	return isLarge(path)
		? createHash("sha256").update(bytes).digest("hex")
		: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

const isLarge = (path: string) => /\.(safetensors|bin|gguf)$/.test(path);
const text = (body: string) => new TextEncoder().encode(body);
const json = (status: number, value: unknown): Answer => ({
	status,
	headers: { "content-type": "application/json" },
	body: text(JSON.stringify(value)),
});

/** The Hub, or the storage that it redirects to. */
export class HubServer implements AsyncDisposable {
	/** The models that it has. */
	readonly models: Record<string, ServedModel> = {};
	/** Models by the names that they had before, from which the Hub redirects. */
	readonly renamed: Record<string, string> = {};
	/** What was asked, in order. */
	readonly asked: Asked[] = [];
	/** Says what shall go wrong with a request. */
	fault: (asked: Asked) => Fault | undefined = () => undefined;
	/** Where large files are; nowhere else if left out. */
	storage: HubServer | undefined;
	readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
	readonly #connections = new Set<Deno.TcpConn>();
	readonly #served: Promise<void>;

	constructor() {
		this.#served = this.#serve();
	}

	/** Its address. */
	get url(): string {
		return `http://127.0.0.1:${this.#listener.addr.port}`;
	}

	/** Paths asked for since the last call, with the byte that a range began at. */
	log(): string[] {
		return this.asked.splice(0).map(({ method, path, headers }) =>
			[method, path, headers.get("range") ?? ""].join(" ").trim()
		);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#listener.close();
		for (const connection of this.#connections) close(connection);
		await this.#served;
	}

	async #serve(): Promise<void> {
		const handled: Promise<void>[] = [];
		for await (const connection of this.#listener) {
			this.#connections.add(connection);
			handled.push(
				this.#handle(connection).catch(() => {}).finally(() => {
					this.#connections.delete(connection);
					close(connection);
				}),
			);
		}
		await Promise.all(handled);
	}

	async #handle(connection: Deno.TcpConn): Promise<void> {
		const request = await readRequest(connection);
		if (!request) return;
		const asked = { method: request.method, path: request.path, headers: request.headers };
		this.asked.push(asked);
		const fault = this.fault(asked) ?? {};
		let { status, headers, body } = fault.status === undefined
			? this.#answer(request)
			: { status: fault.status, headers: {}, body: text("") };
		if (fault.body !== undefined) body = text(fault.body);
		const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
		if (range && status === 200 && !fault.ignoreRange) {
			const from = fault.partFrom ?? Number(range[1]), last = Number(range[2] || body.length - 1);
			status = from < body.length ? 206 : 416;
			headers["content-range"] = `bytes ${from}-${last}/${body.length}`;
			body = body.subarray(from, last + 1);
		}
		const head: Record<string, string> = { ...headers, connection: "close" };
		if (fault.length !== null) head["content-length"] = `${fault.length ?? body.length}`;
		const lines = Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`).join("");
		await write(connection, text(`HTTP/1.1 ${status} Said\r\n${lines}\r\n`));
		if (request.method === "HEAD") return;
		await write(connection, body.subarray(0, fault.cut ?? fault.stall));
		if (fault.stall !== undefined) await connection.read(new Uint8Array(1)); // until the other side gives up
	}

	#answer({ method, path, headers, body }: Asked & { body: string }): Answer {
		const [route] = path.split("?"), parts = route!.slice(1).split("/").map(decodeURIComponent);
		const stored = parts[0] === "storage" && this.#stored(parts[1]!);
		if (stored) return { status: 200, headers: { etag: `"${parts[1]}"` }, body: stored };
		const isApi = parts[0] === "api", rest = isApi ? parts.slice(2) : parts;
		const before = Object.keys(this.renamed).find((name) => rest.join("/").startsWith(`${name}/`));
		if (before) {
			const prefix = isApi ? "/api/models/" : "/";
			const location = path.replace(prefix + before, prefix + this.renamed[before]);
			return { status: 307, headers: { location }, body: text("") };
		}
		const name = Object.keys(this.models).find((name) => rest.join("/").startsWith(`${name}/`));
		const token = headers.get("authorization");
		if (!name) {
			return json(token ? 404 : 401, { error: "Repository not found" });
		}
		const model = this.models[name]!;
		const [action, revision, ...file] = rest.slice(name.split("/").length);
		const commit = model.revisions[revision!] ??
			Object.values(model.revisions).find((commit) => commit === revision);
		if (!commit) return json(404, { error: `Invalid rev id: ${revision}` });
		if (action === "revision") {
			const siblings = Object.keys(model.files).map((rfilename) => ({ rfilename }));
			return json(200, { _id: "1", id: name, sha: commit, siblings, lastModified: "2026-01-01" });
		}
		if (action === "paths-info" && method === "POST") {
			const { paths } = JSON.parse(body) as { paths: string[] };
			return json(
				200,
				paths.filter((path) => model.files[path]).map((path) => describe(path, model)),
			);
		}
		if (model.gated && token !== `Bearer ${model.gated}`) {
			const message = `Access to model ${name} is restricted.`;
			return {
				status: token ? 403 : 401,
				headers: { "x-error-code": "GatedRepo", "x-error-message": message },
				body: text(message),
			};
		}
		const wanted = file.join("/"), bytes = model.files[wanted];
		if (action !== "resolve" || !bytes) {
			return { status: 404, headers: { "x-error-code": "EntryNotFound" }, body: text("none") };
		}
		const checksum = checksumOf(wanted, bytes), common = { "x-repo-commit": commit };
		if (!isLarge(wanted) || !this.storage) {
			return { status: 200, headers: { ...common, etag: `"${checksum}"` }, body: bytes };
		}
		return {
			status: 302,
			headers: {
				...common,
				location: `${this.storage.url}/storage/${checksum}`,
				"x-linked-etag": `"${checksum}"`,
				"x-linked-size": `${bytes.length}`,
			},
			body: text("elsewhere"),
		};
	}

	#stored(checksum: string): Uint8Array<ArrayBuffer> | undefined {
		for (const { files } of Object.values(this.models)) {
			for (const [path, bytes] of Object.entries(files)) {
				if (checksumOf(path, bytes) === checksum) return bytes;
			}
		}
	}
}

function describe(path: string, { files }: ServedModel): unknown {
	const bytes = files[path]!, size = bytes.length, checksum = checksumOf(path, bytes);
	if (!isLarge(path)) return { type: "file", path, size, oid: checksum };
	const lfs = { oid: checksum, size, pointerSize: 134 };
	return { type: "file", path, size, oid: "0".repeat(40), lfs };
}

async function readRequest(
	connection: Deno.TcpConn,
): Promise<Asked & { body: string } | undefined> {
	let got = "";
	const decoder = new TextDecoder(), buffer = new Uint8Array(16384);
	const more = async () => {
		const count = await connection.read(buffer);
		got += decoder.decode(buffer.subarray(0, count ?? 0), { stream: true });
		return count !== null;
	};
	while (!got.includes("\r\n\r\n")) if (!await more()) return undefined;
	const end = got.indexOf("\r\n\r\n"), [first, ...lines] = got.slice(0, end).split("\r\n");
	const headers = new Headers(
		lines.map((
			line,
		) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
	);
	const length = Number(headers.get("content-length") ?? 0);
	while (got.length < end + 4 + length) if (!await more()) return undefined;
	const [method, path] = first!.split(" ");
	return { method: method!, path: path!, headers, body: got.slice(end + 4) };
}

async function write(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
	for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

function close(connection: Deno.TcpConn): void {
	try {
		connection.close();
	} catch { /* closed already */ }
}
