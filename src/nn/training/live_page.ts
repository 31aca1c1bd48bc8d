// A page with the curves of a training run, which grow as its log does. It needs nothing from the network.

import page from "./live_page.html" with { type: "text" };
import { readAt } from "../../formats/local_file.ts";

/** A page that is served. */
export interface LivePage extends AsyncDisposable {
	/** Where it is. */
	readonly url: string;
}

/** Options of {@linkcode serveLog}. */
export interface ServeLogOptions {
	/** Port; by default any that is free. */
	port?: number;
}

/** The whole lines of a log from a byte on. */
interface LogPart {
	/** The byte to ask from next. */
	size: number;
	/** The lines. */
	text: string;
	/** Whether the log was cut back since, so that this is all of it. */
	reset: boolean;
}

function readPart(path: string, from: number): LogPart {
	let file: Deno.FsFile;
	try {
		file = Deno.openSync(path);
	} catch (error) {
		if (error instanceof Deno.errors.NotFound) return { size: 0, text: "", reset: from > 0 };
		throw error;
	}
	try {
		const { size } = file.statSync(), reset = size < from, begin = reset ? 0 : from;
		const bytes = new Uint8Array(size - begin), got = readAt(file, begin, bytes);
		const end = bytes.subarray(0, got).lastIndexOf(10) + 1; // the last line may be cut off
		return { size: begin + end, text: new TextDecoder().decode(bytes.subarray(0, end)), reset };
	} finally {
		file.close();
	}
}

/**
 * Serves a page, to this machine alone, that shows the curves of a log while it is written: losses, gradients, speed,
 * and the outliers that a watch measured, layer by layer.
 *
 * @param path the log that `train` writes; it need not be there yet
 *
 * @example
 * ```ts ignore
 * await using page = serveLog("log.jsonl");
 * console.log(`Curves: ${page.url}`);
 * await train(model, { ...options, log: "log.jsonl" });
 * ```
 */
export function serveLog(path: string, { port = 0 }: ServeLogOptions = {}): LivePage {
	const server = Deno.serve({ port, hostname: "127.0.0.1", onListen() {} }, (request) => {
		const url = new URL(request.url);
		if (url.pathname === "/") {
			return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
		}
		// Browsers ask for it by themselves, and would note down that it is missing.
		if (url.pathname === "/favicon.ico") return new Response(null, { status: 204 });
		if (url.pathname !== "/log") return new Response("There is no such page", { status: 404 });
		const from = Number(url.searchParams.get("from") ?? 0);
		if (!(Number.isSafeInteger(from) && from >= 0)) {
			return new Response("from must be a number of bytes", { status: 400 });
		}
		return Response.json(readPart(path, from));
	});
	return {
		url: `http://127.0.0.1:${server.addr.port}/`,
		async [Symbol.asyncDispose]() {
			await server.shutdown();
		},
	};
}
