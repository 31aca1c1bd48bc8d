// A process that answers each line it is sent with one number: how two sides are measured in turn.

/** A worker process; the number is that of the last line. */
export class Worker {
	readonly #name: string;
	readonly #process: Deno.ChildProcess;
	readonly #input: WritableStreamDefaultWriter<Uint8Array>;
	readonly #output: ReadableStreamDefaultReader<Uint8Array>;

	/** Starts `command` with `args`; its errors go to this process's. */
	constructor(name: string, command: string, args: string[]) {
		this.#name = name;
		this.#process = new Deno.Command(command, { args, stdin: "piped", stdout: "piped" }).spawn();
		this.#input = this.#process.stdin.getWriter();
		this.#output = this.#process.stdout.getReader();
	}

	/** Sends a line and waits for the number. */
	async ask(line: string): Promise<number> {
		await this.#input.write(new TextEncoder().encode(line + "\n"));
		let text = "";
		while (!text.endsWith("\n")) {
			const { value, done } = await this.#output.read();
			if (done) throw new Error(`${this.#name} ended while it ran ${line}`);
			text += new TextDecoder().decode(value);
		}
		return Number(text);
	}

	/** Ends the process. */
	async end(): Promise<void> {
		await this.#input.close();
		await this.#process.status;
	}
}
