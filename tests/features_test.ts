// Holds FEATURES.md to the code: whatever it names in `code` exists. (Its links are held by docs_test.ts.)

import { assert, assertEquals } from "@std/assert";
import { configPath, root } from "../tools/project.ts";

const read = (path: string) => Deno.readTextFileSync(`${root}/${path}`);

/** Words of Python or of other projects that the page speaks of. */
const OTHERS = ["transformers", "code", "cache", "forward"];

/** Every symbol that users can import, types among them. */
async function symbols(): Promise<Set<string>> {
	const { stdout } = await new Deno.Command(Deno.execPath(), {
		args: ["doc", "--json", "--config", configPath(), "mod.ts"],
		cwd: root,
	}).output();
	const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
	const [{ symbols }] = Object.values<{ symbols: { name: string }[] }>(nodes);
	return new Set(symbols!.map(({ name }) => name));
}

/** What the texts of the code offer beside symbols. */
interface Offered {
	symbols: ReadonlySet<string>;
	commands: ReadonlySet<string>;
	tasks: ReadonlySet<string>;
	/** The commands' sources: options and variables are looked for there. */
	sources: string;
	files: (path: string) => boolean;
}

/** Names of a page that do not exist, and lines of its lists that name nothing and link nowhere. */
function missing(page: string, offered: Offered): string[] {
	const problems: string[] = [];
	const prose = page.replace(/^```[^]*?^```$/gm, "");
	for (const [, name] of prose.matchAll(/`([^`\n]+)`/g)) {
		const [first, second] = name!.split(" ");
		const exists = OTHERS.includes(name!) ||
			(name!.includes("/") && first !== "./dev"
				? offered.files(name!)
				: first === "./dev"
				? offered.tasks.has(second!)
				: first === "outlierscope"
				? offered.commands.has(second!)
				: /^--/.test(name!)
				? new RegExp(`^ +${name}\\b`, "m").test(offered.sources)
				: /^[A-Z]+(_[A-Z]+)+$/.test(name!) && !offered.symbols.has(name!)
				? offered.sources.includes(`"${name}"`)
				: offered.symbols.has(name!));
		if (!exists) problems.push(`\`${name}\` does not exist`);
	}
	for (const [item] of prose.matchAll(/^- [^]*?(?=\n- |\n\n|$(?![^]))/gm)) {
		if (!/`|\]\(/.test(item)) problems.push(`"${item}" points to nothing`);
	}
	return problems;
}

const sourcesBelow = (folder: string): string[] =>
	[...Deno.readDirSync(`${root}/${folder}`)].flatMap(({ name, isDirectory }) =>
		isDirectory
			? sourcesBelow(`${folder}/${name}`)
			: name.endsWith(".ts")
			? [read(`${folder}/${name}`)]
			: []
	);

Deno.test("what FEATURES.md names exists", async () => {
	const commands = /^Commands:\n([^]*?)\n\n/m.exec(read("cli.ts"))![1]!;
	const offered = {
		symbols: await symbols(),
		commands: new Set([...commands.matchAll(/^ +(\w+)/gm)].map(([, name]) => name!)),
		tasks: new Set([...read("dev").matchAll(/^ {2}([a-z]+) .*[A-Z]/gm)].map(([, name]) => name!)),
		sources: sourcesBelow("src").join("\n"),
		files: (path: string) => {
			try {
				return Deno.statSync(`${root}/${path}`).isFile;
			} catch {
				return false;
			}
		},
	};
	assert(offered.symbols.size > 300 && offered.commands.has("doctor") && offered.tasks.has("soak"));
	assertEquals(missing(read("FEATURES.md"), offered), []);
});

Deno.test("names that do not exist are found", () => {
	const offered: Offered = {
		symbols: new Set(["train"]),
		commands: new Set(["doctor"]),
		tasks: new Set(["test"]),
		sources: '  --tau N   the limit\nenv("OUTLIERSCOPE_DEVICE")',
		files: (path) => path === "src/here.ts",
	};
	const page = "- one `train`, `outlierscope doctor`, `./dev test`, `--tau`, `src/here.ts`\n" +
		"- two `OUTLIERSCOPE_DEVICE` \n- three `trian`, `outlierscope docto`,\n  `./dev tets`, `--ta`\n" +
		"- four\n  lines\n\n| `src/gone.ts` | `OUTLIERSCOPE_NO` |\n";
	assertEquals(missing(page, offered), [
		...["trian", "outlierscope docto", "./dev tets", "--ta", "src/gone.ts", "OUTLIERSCOPE_NO"]
			.map((name) => `\`${name}\` does not exist`),
		'"- four\n  lines" points to nothing',
	]);
});
