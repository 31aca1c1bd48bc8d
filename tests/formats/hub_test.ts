// Models by name, from an imitation of the Hub on this machine: which files come, where they go, what is taken
// from the cache, and what the user is told when it cannot be had.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type DownloadProgress, HubError, resolveModel } from "../../mod.ts";
import { inDirectory, runProgram } from "../subprocess.ts";
import { checksumOf, HubServer } from "./hub_server.ts";
import { COMMIT, randomBytes, tree, withHub } from "./hub_setup.ts";

/** What resolving a name fails with. */
async function failure(name: string, options = {}): Promise<string> {
	const { message } = await assertRejects(() => resolveModel(name, options), HubError);
	return message;
}

Deno.test("resolveModel() downloads what a model needs, in the layout of huggingface_hub", async () => {
	await withHub(async ({ hub, folder, cache }) => {
		const progress: DownloadProgress[] = [];
		const path = await resolveModel("owner/tiny", { onProgress: (now) => progress.push(now) });
		assertEquals(path, `${folder("owner/tiny")}/snapshots/${COMMIT}`);
		const { files } = hub.models["owner/tiny"]!;
		const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
		const blobs = names.map((name) => checksumOf(name, files[name]!));
		assertEquals(
			tree(folder("owner/tiny")),
			[
				...blobs.map((blob) => `blobs/${blob}`),
				"refs/main",
				...names.map((name, i) => `snapshots/${COMMIT}/${name} -> ../../blobs/${blobs[i]}`),
			].sort(),
		);
		const got = names.map((name) => checksumOf(name, Deno.readFileSync(`${path}/${name}`)));
		assertEquals(got, blobs);
		assertEquals(await Deno.readTextFile(`${folder("owner/tiny")}/refs/main`), COMMIT);
		assertEquals([...Deno.readDirSync(cache)].map(({ name }) => name).sort(), [
			".locks",
			"models--owner--tiny",
		]);

		const total = names.reduce((sum, name) => sum + files[name]!.length, 0);
		assertEquals(progress.at(-1)!.done, total);
		for (const [i, now] of progress.entries()) {
			assertEquals(now.total, total);
			assertEquals(now.done >= (progress[i - 1]?.done ?? 0), true);
		}
	});
});

Deno.test("resolveModel() asks one question when all is cached, and none offline", async () => {
	await withHub(async ({ hub, storage, blob }) => {
		const path = await resolveModel("owner/tiny");
		hub.log(), storage.log();
		assertEquals(await resolveModel("owner/tiny"), path);
		assertEquals(hub.log().map((line) => line.split("?")[0]), [
			"GET /api/models/owner/tiny/revision/main",
		]);
		Deno.env.set("HF_HUB_OFFLINE", "1");
		assertEquals(await resolveModel("owner/tiny"), path);
		assertEquals(await resolveModel(`owner/tiny@${COMMIT}`), path);
		assertEquals([...hub.log(), ...storage.log()], []);

		await Deno.remove(blob("owner/tiny", "tokenizer.json")); // as other tools may; its link stays
		assertMatch(await failure("owner/tiny"), /does not have all its files/);
		Deno.env.delete("HF_HUB_OFFLINE");
		assertEquals(await resolveModel("owner/tiny"), path);
		assertEquals(hub.log().at(-1), `GET /owner/tiny/resolve/${COMMIT}/tokenizer.json`);
		await Deno.stat(`${path}/tokenizer.json`);
	});
});

Deno.test("resolveModel() follows a branch, and downloads only what has changed", async () => {
	await withHub(async ({ hub, storage, folder }) => {
		const first = await resolveModel("owner/tiny"), next = COMMIT.replaceAll("0", "f");
		const model = hub.models["owner/tiny"]!;
		model.revisions = { main: next, "v1/old": COMMIT };
		model.files["tokenizer.json"] = randomBytes(77);
		hub.log(), storage.log();
		const second = await resolveModel("owner/tiny");
		assertEquals(second, first.replace(COMMIT, next));
		assertEquals(hub.log().slice(2), [`GET /owner/tiny/resolve/${next}/tokenizer.json`]);
		assertEquals(storage.log(), []);
		assertEquals(await resolveModel("owner/tiny", { revision: "v1/old" }), first);
		assertEquals(await resolveModel("owner/tiny@v1/old"), first);
		assertEquals(await Deno.readTextFile(`${folder("owner/tiny")}/refs/v1/old`), COMMIT);
		assertEquals(await Deno.readTextFile(`${folder("owner/tiny")}/refs/main`), next);
	});
});

Deno.test("resolveModel() downloads the files that an index names", async () => {
	for (const [kind, prefix] of [["safetensors", "model"], ["bin", "pytorch_model"]] as const) {
		await withHub(async ({ hub, storage }) => {
			const shards = [1, 2].map((i) => `${prefix}-0000${i}-of-00002.${kind}`);
			const weights = Object.fromEntries(shards.map((name, i) => [`layer.${i}`, name]));
			const index = new TextEncoder().encode(JSON.stringify({ weight_map: weights }));
			const model = {
				revisions: { main: COMMIT },
				files: {} as Record<string, Uint8Array<ArrayBuffer>>,
			};
			Object.assign(model.files, {
				"config.json": randomBytes(9),
				[`${prefix}.${kind}.index.json`]: index,
				[shards[0]!]: randomBytes(1001),
				[shards[1]!]: randomBytes(2002),
				[`${prefix}-00003-of-00003.${kind}`]: randomBytes(3),
			});
			hub.models.sharded = storage.models.sharded = model;
			const path = await resolveModel("sharded");
			assertEquals(
				tree(path).map((line) => line.split(" ")[0]),
				[
					"config.json",
					...shards,
					`${prefix}.${kind}.index.json`,
				].sort(),
			);

			delete model.files[shards[1]!];
			model.revisions.main = COMMIT.replaceAll("1", "e");
			assertMatch(
				await failure("sharded"),
				/its .*index\.json names .*00002-of-00002.*does not have/,
			);
			hub.fault = () => ({ status: 503 }); // what is cached of the new commit is not whole
			Deno.env.set("HF_HUB_OFFLINE", "1");
			assertEquals(await resolveModel("sharded"), path);
			await Deno.remove(`${path}/${shards[1]}`);
			assertMatch(await failure("sharded"), /does not have all its files/);
		});
	}
});

Deno.test("resolveModel() refuses an index that names files elsewhere", async () => {
	await withHub(async ({ hub, storage }) => {
		const index = { weight_map: { a: "../../../../stolen.safetensors" } };
		hub.models.evil = storage.models.evil = {
			revisions: { main: COMMIT },
			files: {
				"config.json": randomBytes(9),
				"model.safetensors.index.json": new TextEncoder().encode(JSON.stringify(index)),
			},
		};
		await assertRejects(() => resolveModel("evil"), Error, "no file beside it");
	});
});

Deno.test("resolveModel() downloads one GGUF file by its name, or the only one", async () => {
	await withHub(async ({ hub, storage, folder }) => {
		const files: Record<string, Uint8Array<ArrayBuffer>> = {
			"README.md": randomBytes(4),
			"q4/tiny.Q4_1.gguf": randomBytes(4000),
		};
		hub.models["owner/g"] = storage.models["owner/g"] = { revisions: { main: COMMIT }, files };
		const snapshot = `${folder("owner/g")}/snapshots/${COMMIT}`;
		const expected = `${snapshot}/q4/tiny.Q4_1.gguf`;
		assertEquals(await resolveModel("owner/g/q4/tiny.Q4_1.gguf"), expected);
		assertEquals(await Deno.readFile(expected), files["q4/tiny.Q4_1.gguf"]);
		assertEquals(await resolveModel("owner/g"), expected);
		files["other.gguf"] = randomBytes(5);
		assertMatch(
			await failure("owner/g"),
			/does not have config.json, but has the GGUF files q4\/tiny.Q4_1.gguf, other.gguf: write one/,
		);
		assertMatch(
			await failure("owner/g/q5.gguf"),
			/does not have q5.gguf, but has the GGUF files q4/,
		);
		assertEquals((await resolveModel("owner/g/other.gguf@main")).split("/").at(-1), "other.gguf");
		Deno.env.set("HF_HUB_OFFLINE", "1");
		assertEquals(await resolveModel("owner/g/q4/tiny.Q4_1.gguf"), expected);
		assertMatch(await failure("owner/g"), /not have all its files.* GGUF files it has other.gguf/);
		assertMatch(
			await failure("owner/g/q5.gguf"),
			/HF_HUB_OFFLINE is set, .* not have q5.gguf.* GGUF files it has other.gguf: write/,
		);
	});
});

Deno.test("resolveModel() takes a path that exists before the Hub's model", async () => {
	await withHub(async ({ hub }) => {
		assertEquals(await resolveModel("tests/formats"), "tests/formats");
		assertEquals(await resolveModel("deno.json"), "deno.json");
		for (
			const name of [
				"./gpt2",
				"/nowhere/model.gguf",
				"model.gguf",
				"models/model.gguf",
				"a/b/c",
				"a/b/../c.gguf",
				"a--b/c",
				"../a",
				"",
				"a@",
				"a b",
				"https://127.0.0.1/a",
			]
		) {
			assertMatch(await failure(name), /there is no such file or folder, and it is no name/, name);
		}
		for (const revision of ["../../x", "/x", "a//b", "a\\b", "a/..", ""]) {
			assertMatch(
				await failure("owner/tiny", { revision }),
				/is no branch, tag or commit/,
				revision,
			);
		}
		assertMatch(await failure("owner/tiny@a", { revision: "b" }), /revision "a", and .* for "b"/);
		assertEquals(hub.log(), []);
	});
});

Deno.test("resolveModel() says what a missing or closed model needs", async () => {
	await withHub(async ({ hub, folder }) => {
		assertMatch(
			await failure("owner/none"),
			/does not exist, or is private or gated and needs HF_TOKEN/,
		);
		assertMatch(
			await failure("owner/tiny@v9"),
			/no such model, or it has no revision "v9" .*Invalid rev id/,
		);
		hub.models["owner/tiny"]!.gated = "hf_right";
		assertMatch(
			await failure("owner/tiny"),
			/needs HF_TOKEN \(the Hub says: "Access to model owner/,
		);
		Deno.env.set("HF_TOKEN", "hf_wrong");
		assertMatch(
			await failure("owner/tiny"),
			/access to it must be asked for .* account of the token/,
		);
		assertMatch(await failure("owner/none"), /the Hub has no such model/);
		Deno.env.delete("HF_TOKEN");
		assertEquals(tree(folder("owner/tiny")), [], "nothing is left of a download that was refused");

		const { files } = hub.models["owner/tiny"]!;
		delete files["model.safetensors"], delete files["pytorch_model.bin"];
		assertMatch(
			await failure("owner/tiny"),
			/does not have any of model.safetensors, .*, nor a GGUF/,
		);
		delete files["config.json"];
		assertMatch(await failure("owner/tiny"), /does not have config.json, nor a GGUF file/);
	});
});

Deno.test("resolveModel() sends the token to the Hub and not to the host of its files", async () => {
	for (const inFile of [false, true]) {
		await withHub(async ({ hub, storage, env }) => {
			hub.models["owner/tiny"]!.gated = "right";
			if (inFile) await Deno.writeTextFile(`${env.HF_HOME}/token`, "right\n");
			else Deno.env.set("HF_TOKEN", "right");
			await resolveModel("owner/tiny");
			assertEquals(storage.asked.length, 1);
			const tokens = (server: typeof hub) =>
				new Set(server.asked.map(({ headers }) => headers.get("authorization")));
			assertEquals(tokens(hub), new Set(["Bearer right"]));
			assertEquals(tokens(storage), new Set([null]));
		});
	}
});

Deno.test("resolveModel() follows a model to its new name, token and all", async () => {
	await withHub(async ({ hub, folder }) => {
		hub.renamed["tiny"] = "owner/tiny";
		hub.models["owner/tiny"]!.gated = "right";
		Deno.env.set("HF_TOKEN", "right");
		assertEquals(await resolveModel("tiny"), `${folder("tiny")}/snapshots/${COMMIT}`);
	});
});

Deno.test("resolveModel() takes the cached model when the Hub does not answer", async () => {
	await withHub(async ({ hub }) => {
		hub.fault = () => ({ status: 502 });
		assertMatch(await failure("owner/tiny"), /status 502; try again later/);
		hub.fault = () => undefined;
		const path = await resolveModel("owner/tiny");
		hub.fault = () => ({ status: 502 });
		assertEquals(await resolveModel("owner/tiny"), path);
		hub.fault = () => ({ body: "<html>Log in to the network</html>" });
		assertEquals(await resolveModel("owner/tiny"), path);
		const closed = new HubServer(), { url } = closed;
		await closed[Symbol.asyncDispose](); // no one listens there
		Deno.env.set("HF_ENDPOINT", url);
		assertEquals(await resolveModel("owner/tiny"), path);
		await Deno.remove(`${path}/tokenizer.json`); // not known to belong to it
		assertEquals(await resolveModel("owner/tiny"), path);
		await Deno.remove(`${path}/model.safetensors`);
		assertMatch(
			await failure("owner/tiny"),
			/connection to the Hub failed: .*127\.0\.0\.1:\d+\/api\/models\/owner\/tiny\/revision\/main[^?]* check the/,
		);
	});
});

Deno.test("resolveModel() says when something else than the Hub answers", async () => {
	await withHub(async ({ hub }) => {
		hub.fault = () => ({ body: "<html>Log in to the network</html>" });
		assertMatch(await failure("owner/tiny"), /what answers at http:.* is not the Hub/);
		hub.fault = () => ({ body: '{"id":"owner/tiny","siblings":[]}' });
		assertMatch(await failure("owner/tiny"), /names no commit/);
		hub.fault = ({ method }) => method === "POST" ? { body: "[]" } : undefined;
		assertMatch(
			await failure("owner/tiny"),
			/lists no size and checksum of its file "config.json"/,
		);
		hub.fault = ({ method }) =>
			method === "POST"
				? { body: JSON.stringify([{ path: "config.json", size: 3, oid: "../../../x" }]) }
				: undefined;
		assertMatch(
			await failure("owner/tiny"),
			/lists no size and checksum of its file "config.json"/,
		);
	});
});

Deno.test("resolveModel() names the permission that is missing", async () => {
	await withHub(async ({ env, cache }) => {
		const program = `import { resolveModel } from "src/formats/hub.ts";
      try { console.log(await resolveModel("owner/tiny")); } catch (error) { console.log(error.message); }`;
		const run = async (...flags: string[]) => (await runProgram(program, { env, flags })).stdout;
		assertMatch(await run("--allow-read", "--allow-write"), /needs the permission --allow-env/);
		const net = `--allow-net=${env.HF_ENDPOINT!.slice("http://".length)}`;
		const rest = ["--allow-env", "--allow-read"];
		assertMatch(
			await run(...rest),
			/no permission to reach 127\.0\.0\.1:\d+; run with --allow-net/,
		);
		assertMatch(
			await run(...rest, "--allow-net"),
			/cannot be used: .*--allow-read and --allow-write/,
		);
		const write = `--allow-write=${cache}`;
		await Deno.mkdir(cache);
		// The second host, of large files, is not among those allowed.
		assertMatch(await run(...rest, write, net), /no permission to reach 127\.0\.0\.1:\d+/);
		const path = await run(...rest, write, "--allow-net");
		assertEquals(path, `${cache}/models--owner--tiny/snapshots/${COMMIT}`);
		assertEquals(
			await run("--allow-env", "--allow-read"),
			path,
			"without the network, from the cache",
		);
	});
});

Deno.test("resolveModel() says that the cache directory cannot be used", async () => {
	await inDirectory(async (folder) => {
		await Deno.writeTextFile(`${folder}/file`, "");
		await withHub(async () => {
			assertMatch(
				await failure("owner/tiny"),
				/cache directory ".*\/file\/hub" cannot be used: .*HF_HUB_CACHE/,
			);
		}, { HF_HUB_CACHE: `${folder}/file/hub` });
	});
});

Deno.test("resolveModel() ends when its signal says so", async () => {
	await withHub(async ({ hub, storage, folder, blob }) => {
		const reason = new Error("enough");
		const ends = async (
			when: (abort: () => void) => void,
			onProgress = (_: DownloadProgress) => {},
		) => {
			const controller = new AbortController();
			when(() => controller.abort(reason));
			const { signal } = controller;
			const error = await resolveModel("owner/tiny", { signal, onProgress }).catch((error) =>
				error
			);
			assertEquals(error, reason);
		};
		await ends((abort) => abort());
		assertEquals(hub.log(), []);
		const mistake = new TypeError("a mistake in the user's function");
		let calls = 0;
		const onProgress = ({ done }: DownloadProgress) => {
			if (done > 0 && calls++ === 0) throw mistake;
		};
		const thrown = await resolveModel("owner/tiny", { onProgress }).catch((error) => error);
		assertEquals([thrown, calls], [mistake, 1], "not taken for a failure of the network");
		await ends((abort) => hub.fault = () => (abort(), { stall: 0 }));
		hub.fault = () => undefined;
		let abort = () => {};
		storage.fault = () => ({ stall: 200_000 });
		await ends((it) => abort = it, ({ file, done }) => {
			if (file === "model.safetensors" && done > 100_000) abort();
		});
		const partial = `${blob("owner/tiny", "model.safetensors")}.incomplete`;
		const left = tree(folder("owner/tiny")).filter((path) => path.startsWith("blobs/"));
		assertEquals(left.filter((path) => !/^blobs\/\w{40}$/.test(path)), [
			partial.replace(`${folder("owner/tiny")}/`, ""),
		]);
		assertEquals((await Deno.stat(partial)).size >= 100_000 - 5021, true);
		storage.fault = () => undefined;
		await resolveModel("owner/tiny");
		assertMatch(storage.log().at(-1)!, /bytes=\d{5,}-/);
	});
});
