// What a command shows on the terminal while it works.

/** Shows what is going on, and how long it will take, on a terminal's last line. */
export class Progress {
	readonly #terminal = Deno.stderr.isTerminal();
	readonly #encoder = new TextEncoder();
	#begun = 0;
	#shown = "";
	#next = 0;
	readonly #quiet: boolean;

	/** @param quiet whether another process shows it */
	constructor(quiet = false) {
		this.#quiet = quiet;
	}

	/** Says what begins now. */
	say(text: string): void {
		this.#begun = performance.now();
		this.#show(text);
	}

	/** Shows a share of the work and the time left; without a terminal, a line every ten seconds. */
	update(text: string, done: number, total: number): void {
		const now = performance.now();
		if (now < this.#next && done < total) return;
		this.#next = now + (this.#terminal ? 100 : 10_000);
		if (!this.#terminal && now - this.#begun < 5_000) return;
		const left = (now - this.#begun) / done * (total - done) / 1000;
		const width = 24;
		const filled = Math.round(width * done / total);
		const bar = this.#terminal ? ` ${"█".repeat(filled)}${"░".repeat(width - filled)}` : "";
		// Work may be counted in parts of a piece.
		this.#show(
			`${text}${bar} ${Math.floor(done)}/${Math.ceil(total)}, ${formatSeconds(left)} left`,
		);
	}

	/** Empties the line. */
	end(): void {
		if (this.#terminal && this.#shown) this.#write("\r\x1b[K");
		this.#shown = "";
	}

	#show(text: string): void {
		if (text === this.#shown || this.#quiet) return;
		this.#shown = text;
		this.#write(this.#terminal ? `\r\x1b[K${text}` : `${text}\n`);
	}

	#write(text: string): void {
		Deno.stderr.writeSync(this.#encoder.encode(text));
	}
}

function formatSeconds(seconds: number): string {
	const whole = Math.ceil(seconds);
	return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
