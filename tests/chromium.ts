// A headless Chromium for tests, driven through its DevTools protocol: pages that say what they loaded and what went
// wrong, and that are pointed at and typed into as people do.

import { rm } from "node:fs/promises";

/** Longest wait for anything, far above what it takes. */
const PATIENCE = 120_000;

const FLAGS = [
	"--headless",
	// Root in a container has neither the rights for the sandbox nor much of /dev/shm.
	"--no-sandbox",
	"--disable-dev-shm-usage",
	"--disable-gpu",
	"--disable-gpu-watchdog", // which would end its process on a machine that is busy
	"--disable-background-networking",
	"--disable-component-update",
	"--disable-extensions",
	"--disable-sync",
	"--no-first-run",
	"--no-default-browser-check",
	"--hide-scrollbars",
	"--force-device-scale-factor=1",
	"--remote-debugging-port=0",
];

type Message = Record<string, unknown>;

/**
 * The browser that is installed: the shell without windows is the smaller package. Debian's commands of these names are
 * scripts, which would stand between us and the browser when it is to be ended.
 */
function executable(): string {
	const folders = ["/usr/lib/chromium", ...(Deno.env.get("PATH") ?? "").split(":")];
	for (const name of ["chromium-headless-shell", "chromium"]) {
		for (const folder of folders) {
			try {
				if (Deno.statSync(`${folder}/${name}`).isFile) return `${folder}/${name}`;
			} catch { /* not there */ }
		}
	}
	throw new Error("There is no Chromium here; ./dev test installs chromium-headless-shell");
}

/** Fails with `what` if `promise` takes too long. */
async function inTime<T>(promise: Promise<T>, what: () => string): Promise<T> {
	let timer: ReturnType<typeof setTimeout> | undefined;
	const late = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(new Error(what())), PATIENCE);
	});
	try {
		return await Promise.race([promise, late]);
	} finally {
		clearTimeout(timer);
	}
}

/** A running browser, closed by `await using`. */
export class Chromium implements AsyncDisposable {
	readonly #child: Deno.ChildProcess;
	readonly #profile: string;
	readonly #errors: Promise<void>;
	readonly #socket: WebSocket;
	readonly #waiting = new Map<number, PromiseWithResolvers<Message>>();
	readonly #listeners = new Map<string, (method: string, params: Message) => void>();
	#last = 0;

	private constructor(
		child: Deno.ChildProcess,
		profile: string,
		errors: Promise<void>,
		socket: WebSocket,
	) {
		this.#child = child;
		this.#profile = profile;
		this.#errors = errors;
		this.#socket = socket;
		socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
		socket.onclose = () => {
			for (const { reject } of this.#waiting.values()) reject(new Error("Chromium has gone"));
		};
	}

	/** Starts one with a profile of its own. */
	static async start(): Promise<Chromium> {
		const profile = await Deno.makeTempDir({ prefix: "outlierscope_chromium_" });
		const child = new Deno.Command(executable(), {
			args: [...FLAGS, `--user-data-dir=${profile}`, "about:blank"],
			env: { HOME: profile }, // so that it neither finds nor leaves anything at home
			stdin: "null",
			stdout: "null",
			stderr: "piped",
		}).spawn();
		const found = Promise.withResolvers<string>();
		let said = "";
		const errors = (async () => {
			for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
				said = (said + text).slice(-20_000);
				const url = said.match(/DevTools listening on (ws:\S+)\s/)?.[1];
				if (url) found.resolve(url);
			}
			found.reject(new Error(`Chromium does not start:\n${said}`));
		})();
		try {
			const url = await inTime(found.promise, () => `Chromium does not start:\n${said}`);
			const socket = new WebSocket(url), open = Promise.withResolvers<void>();
			socket.onopen = () => open.resolve();
			socket.onerror = () => open.reject(new Error(`Chromium does not answer at ${url}`));
			await inTime(open.promise, () => `Chromium does not answer at ${url}`);
			socket.onerror = null;
			return new Chromium(child, profile, errors, socket);
		} catch (error) {
			kill(child);
			await child.status;
			await errors;
			await rm(profile, { recursive: true, force: true, maxRetries: 10 });
			throw error;
		}
	}

	#receive(message: Message): void {
		const { id, method, params, result, error, sessionId } = message;
		if (typeof id !== "number") {
			this.#listeners.get(String(sessionId))?.(String(method), params as Message);
			return;
		}
		const { resolve, reject } = this.#waiting.get(id)!;
		this.#waiting.delete(id);
		if (error) reject(new Error((error as { message: string }).message));
		else resolve(result as Message);
	}

	/** Calls a method of the protocol. */
	async send(method: string, params: Message = {}, sessionId?: string): Promise<Message> {
		const id = ++this.#last, answer = Promise.withResolvers<Message>();
		this.#waiting.set(id, answer);
		this.#socket.send(JSON.stringify({ id, method, params, ...sessionId && { sessionId } }));
		const asked = () => `${method} ${JSON.stringify(params).slice(0, 300)}`;
		return await inTime(answer.promise, () => `Chromium does not answer ${asked()}`);
	}

	/** Opens a page of the size of a laptop's, and waits until it is loaded. */
	async open(url: string): Promise<Page> {
		const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
		const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
		const page = new Page(this, String(sessionId), String(targetId));
		this.#listeners.set(String(sessionId), (method, params) => page.receive(method, params));
		await page.send("Emulation.setFocusEmulationEnabled", { enabled: true });
		await page.resize(1280);
		await page.load(url);
		return page;
	}

	/** Ends it. */
	async [Symbol.asyncDispose](): Promise<void> {
		const closed = Promise.withResolvers<void>();
		this.#socket.addEventListener("close", () => closed.resolve());
		// It may be gone before it answers.
		await this.send("Browser.close").catch(() => {});
		const timer = setTimeout(() => kill(this.#child), 10_000);
		await this.#child.status;
		clearTimeout(timer);
		await this.#errors;
		this.#socket.close();
		await closed.promise;
		await rm(this.#profile, { recursive: true, force: true, maxRetries: 10 });
	}
}

function kill(child: Deno.ChildProcess): void {
	try {
		child.kill("SIGKILL");
	} catch { /* it has ended */ }
}

const KEYS: Record<string, { code: number; text?: string }> = {
	Tab: { code: 9 },
	Enter: { code: 13, text: "\r" },
	" ": { code: 32, text: " " },
	ArrowLeft: { code: 37 },
	ArrowRight: { code: 39 },
};

/** An open page. */
export class Page {
	/** Addresses that it asked for. */
	readonly requests: string[] = [];
	/** Errors and warnings of its console, uncaught errors, and dialogs. */
	readonly problems: string[] = [];
	#loaded = Promise.withResolvers<void>();
	#heard = Promise.withResolvers<void>();

	/** Made by {@linkcode Chromium.open}. */
	constructor(
		readonly browser: Chromium,
		readonly session: string,
		readonly target: string,
	) {}

	/** Calls a method of the protocol. */
	send(method: string, params: Message = {}): Promise<Message> {
		return this.browser.send(method, params, this.session);
	}

	/** Takes an event. */
	// deno-lint-ignore no-explicit-any
	receive(method: string, params: any): void {
		if (method === "Page.loadEventFired") this.#loaded.resolve();
		else if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
		else if (method === "Runtime.exceptionThrown") {
			const { text, exception } = params.exceptionDetails;
			this.problems.push(exception?.description ?? text);
		} else if (method === "Runtime.consoleAPICalled" && /error|warning|assert/.test(params.type)) {
			this.problems.push(params.args.map((each: Message) => each.value).join(" "));
		} else if (method === "Log.entryAdded" && /error|warning/.test(params.entry.level)) {
			this.problems.push(`${params.entry.text} ${params.entry.url ?? ""}`);
		} else if (method === "Page.javascriptDialogOpening") {
			this.problems.push(`A dialog: ${params.message}`);
			this.send("Page.handleJavaScriptDialog", { accept: true }).catch(() => {});
		}
		this.#heard.resolve();
		this.#heard = Promise.withResolvers<void>();
	}

	/** Waits until what the page has said fulfils a condition. */
	async hears(condition: (page: Page) => boolean): Promise<void> {
		while (!condition(this)) {
			const said = () => `Not all was heard: ${[...this.problems, ...this.requests].join("; ")}`;
			await inTime(this.#heard.promise, said);
		}
	}

	/** Goes to an address. */
	async load(url: string): Promise<void> {
		for (const domain of ["Page", "Network", "Runtime", "Log"]) await this.send(`${domain}.enable`);
		this.#loaded = Promise.withResolvers<void>();
		const { errorText } = await this.send("Page.navigate", { url });
		if (errorText) throw new Error(`Cannot open ${url}: ${errorText}`);
		await inTime(this.#loaded.promise, () => `${url} does not load`);
	}

	/** The value of an expression in the page; of a promise, what it resolves to. */
	async evaluate<T>(expression: string): Promise<T> {
		const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
			expression,
			awaitPromise: true,
			returnByValue: true,
		}) as { result: { value: T }; exceptionDetails?: { exception: { description: string } } };
		if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
		return result.value;
	}

	/** Waits until an expression in the page is true. */
	async until(expression: string): Promise<void> {
		const end = performance.now() + PATIENCE;
		while (!await this.evaluate<boolean>(expression)) {
			if (performance.now() > end) {
				throw new Error(
					`The page never has ${expression}; its problems: ${this.problems.join("; ")}`,
				);
			}
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
	}

	/** Moves the mouse to the middle of the first element that a selector finds. */
	async hover(selector: string): Promise<void> {
		const [x, y] = await this.evaluate<[number, number]>(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)});
      element.scrollIntoView({ block: "center", behavior: "instant" });
      const { x, y, width, height } = element.getBoundingClientRect();
      return [x + width / 2, y + height / 2];
    })()`);
		await this.send("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
	}

	/** Presses a key. */
	async press(key: string): Promise<void> {
		const { code, text } = KEYS[key]!;
		const event = { key, code: key === " " ? "Space" : key, windowsVirtualKeyCode: code };
		await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...event, ...text && { text } });
		await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
	}

	/** Has the user prefer light or dark, on a screen or on paper. */
	async prefer(scheme: "light" | "dark", media: "screen" | "print" = "screen"): Promise<void> {
		await this.send("Emulation.setEmulatedMedia", {
			media,
			features: [{ name: "prefers-color-scheme", value: scheme }],
		});
	}

	/** Lets the window be so wide. */
	async resize(width: number): Promise<void> {
		const metrics = { width, height: 800, deviceScaleFactor: 1, mobile: false };
		await this.send("Emulation.setDeviceMetricsOverride", metrics);
	}

	/** How light what the window shows is on average, 0 to 1. */
	async lightness(): Promise<number> {
		const { data } = await this.send("Page.captureScreenshot");
		return await meanOfPng(
			Uint8Array.from(atob(String(data)), (character) => character.charCodeAt(0)),
		);
	}

	/** The page as it is printed: a PDF. */
	async print(): Promise<string> {
		return atob(String((await this.send("Page.printToPDF", { printBackground: false })).data));
	}

	/** Closes it. */
	async close(): Promise<void> {
		await this.browser.send("Target.closeTarget", { targetId: this.target });
	}
}

/** The mean of the samples of a PNG of 8 bits in RGB or RGBA, without alpha, 0 to 1. */
async function meanOfPng(png: Uint8Array): Promise<number> {
	const view = new DataView(png.buffer), packed: Uint8Array<ArrayBuffer>[] = [];
	for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
		const type = new TextDecoder().decode(png.subarray(at + 4, at + 8));
		if (type === "IDAT") packed.push(png.slice(at + 8, at + 8 + view.getUint32(at)));
	}
	const [width, height, samples] = [view.getUint32(16), view.getUint32(20), png[25] === 6 ? 4 : 3];
	const stream = new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate"));
	const rows = new Uint8Array(await new Response(stream).arrayBuffer()), length = width * samples;
	let before = new Uint8Array(length), sum = 0;
	for (let y = 0; y < height; y++) {
		const filter = rows[y * (length + 1)]!,
			row = rows.subarray(y * (length + 1) + 1).subarray(0, length);
		for (let i = 0; i < length; i++) {
			const left = i < samples ? 0 : row[i - samples]!,
				corner = i < samples ? 0 : before[i - samples]!;
			const up = before[i]!, guess = left + up - corner;
			const [a, b, c] = [left, up, corner].map((each) => Math.abs(guess - each)) as [
				number,
				number,
				number,
			];
			const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
			row[i]! += [0, left, up, (left + up) >> 1, paeth][filter]!;
			if (samples === 3 || i % 4 < 3) sum += row[i]!;
		}
		before = row;
	}
	return sum / (width * height * 3 * 255);
}
