// The cache directory that is shared with Python's tools: what is found in it, what leads out of it, and how
// files get their names.

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { HubError, resolveModel } from "../../mod.ts";
import { HubCache, isRelative } from "../../src/formats/hub_cache.ts";
import { inDirectory, runProgram } from "../subprocess.ts";
import { COMMIT, tree, withHub } from "./hub_setup.ts";

const FILE = { path: "a/b.bin", size: 3, checksum: "c".repeat(64) };

Deno.test("HubCache finds what huggingface_hub left, by branch, commit and name", async () => {
	await inDirectory(async (root) => {
		const folder = `${root}/models--owner--m`, snapshot = `${folder}/snapshots/${COMMIT}`;
		const cache = new HubCache(root, "owner/m");
		assertEquals([cache.commit("main"), cache.names(COMMIT)], [undefined, []]);
		assertEquals([cache.commit(COMMIT), cache.find(COMMIT, "x")], [COMMIT, undefined]);
		for (
			const path of [`${folder}/blobs`, `${snapshot}/sub`, `${folder}/refs`, `${root}/blobs/ab`]
		) {
			await Deno.mkdir(path, { recursive: true });
		}
		await Deno.writeTextFile(`${folder}/refs/main`, COMMIT);
		await Deno.writeTextFile(`${folder}/refs/bad`, "../../../etc");
		await Deno.writeTextFile(`${folder}/blobs/1`, "one");
		await Deno.writeTextFile(`${root}/blobs/ab/abcd`, "two"); // where files are shared between models
		await Deno.symlink("../../blobs/ab/abcd", `${folder}/blobs/2`);
		await Deno.symlink("../../blobs/1", `${snapshot}/config.json`);
		await Deno.symlink("../../../blobs/2", `${snapshot}/sub/b`);
		await Deno.symlink("../../blobs/3", `${snapshot}/broken`);
		await Deno.writeTextFile(`${snapshot}/plain`, "as on Windows");
		assertEquals([cache.commit("main"), cache.commit("bad")], [COMMIT, undefined]);
		for (const path of ["config.json", "sub/b", "plain"]) {
			assertEquals(cache.find(COMMIT, path), `${snapshot}/${path}`);
		}
		assertEquals(cache.find(COMMIT, "broken"), undefined);
		assertEquals(cache.find(COMMIT, "config.json/x"), undefined);
		assertThrows(() => cache.find(COMMIT, "sub"), HubError, "is not a file; remove it");
	});
});

Deno.test("HubCache follows a cache directory that is itself a link", async () => {
	await inDirectory(async (folder) => {
		await Deno.mkdir(`${folder}/disk/models--m/snapshots/${COMMIT}`, { recursive: true });
		await Deno.symlink("disk", `${folder}/hub`);
		const cache = new HubCache(`${folder}/hub`, "m");
		await Deno.writeTextFile(`${cache.snapshot(COMMIT)}/a`, "");
		assertEquals(cache.find(COMMIT, "a"), `${cache.snapshot(COMMIT)}/a`);
		cache.setCommit("main", COMMIT);
		assertEquals(cache.commit("main"), COMMIT);
	});
});

Deno.test("HubCache names a file by a link to its blob, also over an old one", async () => {
	await inDirectory(async (root) => {
		const cache = new HubCache(root, "m");
		await Deno.writeTextFile(cache.blob(FILE), "new");
		for (let round = 0; round < 2; round++) {
			cache.link(COMMIT, FILE);
			const link = `snapshots/${COMMIT}/a/b.bin -> ../../../blobs/${FILE.checksum}`;
			assertEquals(tree(`${root}/models--m`), [`blobs/${FILE.checksum}`, link]);
			assertEquals(await Deno.readTextFile(cache.find(COMMIT, FILE.path)!), "new");
		}
	});
});

Deno.test("HubCache makes hard links where symbolic ones are not permitted", async () => {
	await inDirectory(async (root) => {
		const program = `import { HubCache } from "src/formats/hub_cache.ts";
      const cache = new HubCache(${JSON.stringify(root)}, "m"), file = ${JSON.stringify(FILE)};
      Deno.writeTextFileSync(cache.blob(file), "abc");
      for (let round = 0; round < 2; round++) cache.link("${COMMIT}", file);
      console.log(Deno.readTextFileSync(cache.find("${COMMIT}", file.path)));`;
		const flags = [`--allow-read=${root}`, `--allow-write=${root}`];
		const { stdout, stderr } = await runProgram(program, { flags });
		assertEquals(stdout, "abc", stderr);
		const paths = [`blobs/${FILE.checksum}`, `snapshots/${COMMIT}/a/b.bin`];
		assertEquals(tree(`${root}/models--m`), paths);
		const [blob, named] = paths.map((path) => Deno.statSync(`${root}/models--m/${path}`).ino);
		assertEquals(named, blob);
	});
});

Deno.test("HubCache.lock() lets one in at a time", async () => {
	await inDirectory(async (root) => {
		const cache = new HubCache(root, "m"), order: string[] = [];
		const hold = async (name: string) => {
			using _lock = await cache.lock(FILE);
			order.push(`${name} in`);
			await new Promise((resolve) => setTimeout(resolve, 150));
			order.push(`${name} out`);
		};
		await Promise.all(["a", "b", "c"].map(hold));
		for (let i = 0; i < 6; i += 2) {
			assertEquals(order[i]!.replace("in", "out"), order[i + 1], `${order}`);
		}
		using _held = await cache.lock(FILE);
		const reason = AbortSignal.timeout(150);
		await assertRejects(() => cache.lock(FILE, reason));
		using _other = await cache.lock({ ...FILE, checksum: "d".repeat(64) });
		assertEquals(tree(`${root}/.locks`).length, 2);
	});
});

Deno.test("links that lead out of the cache are refused, to read and to write", async () => {
	const links: [link: string, problem: RegExp][] = [
		[
			"models--owner--tiny",
			/outside of the cache directory .*; remove the link, or set HF_HUB_CACHE/,
		],
		["models--owner--tiny/blobs", /outside of the cache/],
		["models--owner--tiny/snapshots", /outside of the cache/],
		[`models--owner--tiny/snapshots/${COMMIT}`, /outside of the cache/],
		["models--owner--tiny/refs", /outside of the cache/],
		[".locks", /outside of the cache/],
	];
	for (const [link, problem] of links) {
		await withHub(async ({ cache }) => {
			await inDirectory(async (outside) => {
				await Deno.mkdir(`${cache}/${link}/..`.replace(/[^/]+\/\.\.$/, ""), { recursive: true });
				await Deno.symlink(outside, `${cache}/${link}`);
				const { message } = await assertRejects(() => resolveModel("owner/tiny"), HubError);
				assertMatch(message, problem, link);
				assertEquals([...Deno.readDirSync(outside)], [], link);
			});
		});
	}
});

Deno.test("files that are links out of the cache are refused, to read and to write", async () => {
	for (const kind of ["snapshot", "incomplete", "lock", "blob"]) {
		await withHub(async ({ cache, folder, blob }) => {
			await inDirectory(async (outside) => {
				const victim = `${outside}/victim`, weights = blob("owner/tiny", "model.safetensors");
				await Deno.writeTextFile(victim, "precious");
				const link = {
					snapshot: `${folder("owner/tiny")}/snapshots/${COMMIT}/model.safetensors`,
					incomplete: `${weights}.incomplete`,
					lock: `${cache}/.locks/models--owner--tiny/${weights.split("/").at(-1)}.lock`,
					blob: weights,
				}[kind]!;
				await Deno.mkdir(link.slice(0, link.lastIndexOf("/")), { recursive: true });
				await Deno.symlink(victim, link);
				if (kind === "blob") {
					await resolveModel("owner/tiny"); // The file takes the place of the link.
					assert((await Deno.lstat(weights)).isFile);
				} else {
					const { message } = await assertRejects(() => resolveModel("owner/tiny"), HubError);
					assertMatch(message, /outside of the cache|is a link where a file is to be written/);
				}
				assertEquals(await Deno.readTextFile(victim), "precious");
			});
		});
	}
});

Deno.test("isRelative() holds for paths that stay in their folder", () => {
	for (const path of ["a", "a/b.c", "..a", "a..b/.c", "a b"]) assert(isRelative(path), path);
	for (const path of ["", "/a", "a/", "a//b", "..", "a/..", "./a", "../a", "a\\b", "c:a", "a\0"]) {
		assert(!isRelative(path), path);
	}
});
