// Tests the stand-in for `@std/cli/parse-args`: the same lines hold for the original, which is what
// runs where JSR can be reached.

import { assertEquals } from "@std/assert";
import { parseArgs } from "@std/cli/parse-args";

function isTrue(value: boolean): boolean {
	return value;
}

Deno.test("parseArgs() reads text flags as text, whatever they look like", () => {
	const options = { string: ["model", "tau", "out"] as const };
	const args = parseArgs(["--model", "a.gguf", "--tau=1e3", "--out", "7", "rest"], options);
	assertEquals({ ...args }, { _: ["rest"], model: "a.gguf", tau: "1e3", out: "7" });
	const model: string | undefined = args.model; // the type says so, too
	assertEquals(model, "a.gguf");
});

Deno.test("parseArgs() sets absent boolean flags to false", () => {
	const args = parseArgs(["--json"], { boolean: ["json", "help"] });
	assertEquals({ ...args }, { _: [], json: true, help: false });
	assertEquals(isTrue(args.json), true);
});

Deno.test("parseArgs() takes no value for a boolean flag but true and false", () => {
	const options = { boolean: ["json"] as const };
	assertEquals(parseArgs(["--json", "a"], options), { _: ["a"], json: true });
	assertEquals(parseArgs(["--json", "false", "a"], options), { _: ["a"], json: false });
	assertEquals(parseArgs(["--json=false"], options), { _: [], json: false });
	assertEquals(parseArgs(["--json=yes"], options), { _: [], json: true });
});

Deno.test("parseArgs() gives a text flag without a value the empty text", () => {
	const options = { string: ["text"] as const, boolean: ["json"] as const };
	assertEquals(parseArgs(["--text"], options), { _: [], text: "", json: false });
	assertEquals(parseArgs(["--text", "--json"], options), { _: [], text: "", json: true });
	assertEquals(parseArgs(["--text", "-5"], { string: ["text"] }).text, "");
	assertEquals(parseArgs(["--text=-5"], { string: ["text"] }).text, "-5");
});

Deno.test("parseArgs() keeps values with equal signs, spaces and lines whole", () => {
	const args = parseArgs(["--text=a = b\nc", "--name", "x=y"], { string: ["text", "name"] });
	assertEquals({ ...args }, { _: [], text: "a = b\nc", name: "x=y" });
});

Deno.test("parseArgs() keeps the last of a repeated flag, or all of a collected one", () => {
	assertEquals(parseArgs(["--a", "1", "--a", "2"], { string: ["a"] }).a, "2");
	const options = { string: ["text"], collect: ["text"] } as const;
	assertEquals(parseArgs(["--text", "a", "--text=b"], options).text, ["a", "b"]);
	assertEquals(parseArgs([], options).text, []);
});

Deno.test("parseArgs() sets every alias", () => {
	const options = {
		boolean: ["help"] as const,
		string: ["out"] as const,
		alias: { help: "h", out: ["o"] },
	};
	const args = parseArgs(["-h", "-o", "dir"], options);
	assertEquals({ ...args }, { _: [], help: true, h: true, out: "dir", o: "dir" });
});

Deno.test("parseArgs() uses defaults for flags and aliases that are not given", () => {
	const options = { string: ["tau"] as const, alias: { tau: "t" }, default: { tau: "1000" } };
	assertEquals({ ...parseArgs([], options) }, { _: [], tau: "1000", t: "1000" });
	assertEquals({ ...parseArgs(["-t", "5"], options) }, { _: [], tau: "5", t: "5" });
});

Deno.test("parseArgs() reads letters together, numbers and paths after a letter", () => {
	assertEquals({ ...parseArgs(["-abc"]) }, { _: [], a: true, b: true, c: true });
	assertEquals({ ...parseArgs(["-n5", "-o./x"]) }, { _: [], n: 5, o: "./x" });
	assertEquals({ ...parseArgs(["-n=5"], { string: ["n"] }) }, { _: [], n: "5" });
});

Deno.test("parseArgs() turns numbers of unnamed flags and positions into numbers", () => {
	assertEquals({ ...parseArgs(["--n", "3", "4", "0x1f", "1.5e3", "v2"]) }, {
		_: [4, 31, 1500, "v2"],
		n: 3,
	});
	assertEquals(parseArgs(["4"], { string: ["_"] })._, ["4"]);
});

Deno.test("parseArgs() negates only negatable flags", () => {
	const options = {
		boolean: ["color"] as const,
		negatable: ["color"] as const,
		default: { color: true },
	};
	assertEquals(parseArgs(["--no-color"], options).color, false);
	assertEquals(parseArgs([], options).color, true);
	assertEquals({ ...parseArgs(["--no-other"]) }, { _: [], "no-other": true });
});

Deno.test("parseArgs() leaves what follows -- alone", () => {
	assertEquals({ ...parseArgs(["a", "--", "--b", "5"]) }, { _: ["a", "--b", "5"] });
	const args = parseArgs(["a", "--", "--b"], { "--": true });
	assertEquals({ ...args }, { _: ["a"], "--": ["--b"] });
});

Deno.test("parseArgs() stops at the first position when asked to", () => {
	const args = parseArgs(["--x", "analyze", "--y"], { boolean: ["x"], stopEarly: true });
	assertEquals({ ...args }, { _: ["analyze", "--y"], x: true });
});

Deno.test("parseArgs() reports what is not named, and leaves it out on false", () => {
	const seen: unknown[][] = [];
	const args = parseArgs(["--tua", "5", "extra", "--tau", "7", "-", "-q"], {
		string: ["tau"],
		unknown: (argument: string, key?: string, value?: unknown) => {
			seen.push([argument, key, value]);
			return false;
		},
	});
	assertEquals(seen, [
		["--tua", "tua", "5"],
		["extra", undefined, undefined],
		["-", undefined, undefined],
		["-q", "q", true],
	]);
	assertEquals({ ...args }, { _: [], tau: "7" });
});
