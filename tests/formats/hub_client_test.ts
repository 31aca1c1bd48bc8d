// The settings of the Hub, by the environment variables of Hugging Face's own tools. What is asked of the Hub
// is tested with the downloads.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { HUB_URL } from "@huggingface/hub";
import { hubSettings } from "../../src/formats/hub_client.ts";
import { inDirectory, runProgram } from "../subprocess.ts";

/** The settings of a process with just these environment variables. */
function settings(env: Record<string, string>) {
	const before = Deno.env.toObject(), names = /^(HF_|HUGGINGFACE_|TRANSFORMERS_|XDG_|HOME$)/;
	const clear = () => {
		for (const name of Object.keys(Deno.env.toObject())) {
			if (names.test(name)) Deno.env.delete(name);
		}
	};
	try {
		clear();
		for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
		return hubSettings();
	} finally {
		clear();
		for (const [name, value] of Object.entries(before)) Deno.env.set(name, value);
	}
}

Deno.test("hubSettings() finds the cache directory as huggingface_hub does", () => {
	const HOME = "/h";
	for (
		const [env, cache] of [
			[{ HOME }, "/h/.cache/huggingface/hub"],
			[{ HOME, XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
			[{ HOME, XDG_CACHE_HOME: "/x", HF_HOME: "/y" }, "/y/hub"],
			[{ HOME, HF_HOME: "~/y" }, "/h/y/hub"],
			[{ HOME, HF_HOME: "/y", HUGGINGFACE_HUB_CACHE: "/z" }, "/z"],
			[{ HOME, HUGGINGFACE_HUB_CACHE: "/z", HF_HUB_CACHE: "~/w/" }, "/h/w"],
			[{ HF_HUB_CACHE: "/w" }, "/w"],
		] as [Record<string, string>, string][]
	) {
		assertEquals(settings(env).cache, cache);
	}
	assertThrows(() => settings({}), Error, "set HF_HOME or HOME");
});

Deno.test("hubSettings() reads token, endpoint, patience and whether to stay offline", async () => {
	await inDirectory(async (home) => {
		const base = { HF_HOME: home };
		const { token, endpoint, offline, patience } = settings(base);
		assertEquals([token, endpoint, offline, patience], [undefined, undefined, false, 10_000]);
		assertEquals(settings({ ...base, HF_ENDPOINT: "http://a/b//" }).endpoint, "http://a/b");
		assertEquals(settings({ ...base, HF_HUB_DOWNLOAD_TIMEOUT: "2.5" }).patience, 2500);
		for (const value of ["1", "ON", "Yes", "true"]) {
			assertEquals(settings({ ...base, HF_HUB_OFFLINE: value }).offline, true, value);
			assertEquals(settings({ ...base, TRANSFORMERS_OFFLINE: value }).offline, true, value);
		}
		assertEquals(settings({ ...base, HF_HUB_OFFLINE: "0" }).offline, false);
		await Deno.writeTextFile(`${home}/token`, "  in-file\n");
		await Deno.writeTextFile(`${home}/other`, "in-other");
		assertEquals(settings(base).token, "in-file");
		assertEquals(settings({ ...base, HF_TOKEN_PATH: `${home}/other` }).token, "in-other");
		assertEquals(settings({ ...base, HF_TOKEN: " own " }).token, "own");
		const wrong = assertThrows(() => settings({ ...base, HF_TOKEN: "sec\nret" }), Error);
		assertMatch(wrong.message, /^The token in HF_TOKEN .* has characters that no token has$/);
		assertThrows(() => settings({ ...base, HF_ENDPOINT: "hub" }), Error, 'HF_ENDPOINT is "hub"');
	});
});

Deno.test("without HF_ENDPOINT the Hub's own address is asked", async () => {
	await inDirectory(async (home) => {
		const program = `import { resolveModel } from "src/formats/hub.ts";
      try { await resolveModel("owner/tiny"); } catch (error) { console.log(error.message); }`;
		const flags = ["--allow-env", "--allow-read"];
		const { stdout } = await runProgram(program, {
			env: { HF_HOME: home, HF_ENDPOINT: "" },
			flags,
		});
		const { host } = new URL(HUB_URL);
		assertEquals(stdout.includes(`no permission to reach ${host}`), true, stdout);
	});
});
