// Downloads that are interrupted, answered wrongly or damaged, and several at once: the file is right in the
// end, or there is an error and at most something to go on from.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { HubError, resolveModel } from "../../mod.ts";
import { runProgram } from "../subprocess.ts";
import { configPath, root, toFileUrl } from "../../tools/project.ts";
import { type Asked, checksumOf, type Fault } from "./hub_server.ts";
import { COMMIT, type Place, tree, withHub } from "./hub_setup.ts";

const SIZE = 300_001; // of model.safetensors
const random = (below: number) => Math.floor(Math.random() * below);
const rangeOf = ({ headers }: Asked) =>
	Number(/^bytes=(\d+)-$/.exec(headers.get("range") ?? "")?.[1] ?? 0);

/** Downloads the model, and checks its files and that nothing else is left. */
async function download({ hub, folder }: Place): Promise<void> {
	const path = await resolveModel("owner/tiny"), { files } = hub.models["owner/tiny"]!;
	for (const name of ["config.json", "tokenizer.json", "model.safetensors"]) {
		const got = await Deno.readFile(`${path}/${name}`);
		assertEquals(checksumOf(name, got), checksumOf(name, files[name]!), name);
	}
	assertEquals(tree(folder("owner/tiny")).filter((path) => /tmp|incomplete/.test(path)), []);
}

/** The first answers of a server go wrong in these ways, one each. */
function plant(faults: Fault[]): (asked: Asked) => Fault | undefined {
	return () => faults.shift();
}

Deno.test("a download that is cut at random bytes goes on where it stopped", async () => {
	await withHub(async (place) => {
		const lengths: number[] = [];
		let sent = 0;
		place.storage.fault = (asked) => {
			assertEquals(rangeOf(asked), sent, "asks for what it does not have");
			const cut = lengths.length < 9 ? 1 + random(30_000) : SIZE; // more cuts than attempts
			lengths.push(cut);
			sent = Math.min(SIZE, sent + cut);
			return { cut };
		};
		await download(place);
		assertEquals(lengths.length, 10);
	});
});

Deno.test("answers of the Hub that are cut, late or refused for now are asked for again", async () => {
	for (
		const fault of [
			{ cut: random(20) },
			{ stall: random(20) },
			{ status: 500 },
			{ status: 503 },
			{ status: 429 },
			{ status: 408 },
		]
	) {
		for (const api of [true, false]) {
			await withHub(async (place) => {
				const seen = new Set<string>();
				place.hub.fault = ({ path }) => {
					if (path.startsWith("/api") !== api || seen.has(path)) return undefined;
					seen.add(path);
					return fault;
				};
				await download(place);
				assert(seen.size > 1);
			}, { HF_HUB_DOWNLOAD_TIMEOUT: "0.4" });
		}
	}
});

Deno.test("a wrong Content-Length, or a page of a proxy, is asked for again", async () => {
	for (
		const fault of [
			{ length: SIZE + 1000 },
			{ length: SIZE - 1000 },
			{ length: 0 },
			{ body: "<html>Log in</html>" },
			{ body: "x".repeat(SIZE + 1) },
		]
	) {
		await withHub(async (place) => {
			place.storage.fault = plant([fault]);
			await download(place);
			assertEquals(place.storage.asked.length, 2);
		});
	}
});

Deno.test("what has arrived is kept when a proxy answers in between", async () => {
	await withHub(async (place) => {
		place.storage.fault = plant([
			{ cut: 200_000 },
			{ body: "<html>Log in</html>", ignoreRange: true },
			{ status: 416 },
		]);
		await download(place);
		assertEquals(place.storage.asked.map(rangeOf), [0, 200_000, 200_000, 200_000]);
	});
});

Deno.test("an answer of unknown length may be too short or too long", async () => {
	await withHub(async (place) => {
		place.storage.fault = plant([{ length: null, cut: 100_000 }]);
		await download(place);
		assertEquals(place.storage.asked.map(rangeOf), [0, 100_000]);
	});
	await withHub(async (place) => {
		place.storage.fault = plant([{ length: null, body: "x".repeat(SIZE + 100_000) }]);
		await download(place);
		assertEquals(rangeOf(place.storage.asked.at(-1)!), 0, "from the start in the end");
	});
});

Deno.test("a connection that goes silent is given up and resumed", async () => {
	await withHub(async (place) => {
		place.storage.fault = plant([{ stall: 100_000 }, { stall: 0 }]);
		await download(place);
		assertEquals(place.storage.asked.map(rangeOf), [0, 100_000, 100_000]);
	}, { HF_HUB_DOWNLOAD_TIMEOUT: "1" });
});

Deno.test("a server that sends all instead of a part is taken at its word", async () => {
	await withHub(async (place) => {
		let before = 0, counts = 0;
		place.storage.fault = plant([{ cut: 70_000 }, { ignoreRange: true }]);
		await resolveModel("owner/tiny", {
			onProgress: ({ done }) => {
				if (done < before) counts++;
				before = done;
			},
		});
		await download(place);
		assertEquals(counts, 1, "the count went back once");
		assertEquals(place.storage.asked.map(rangeOf), [0, 70_000]);
	});
});

Deno.test("a part that was not asked for is not taken for the one that was", async () => {
	for (const partFrom of [0, 100]) {
		await withHub(async (place) => {
			place.storage.fault = plant([{ cut: 70_000 }, { partFrom }]);
			await download(place);
			assertEquals(place.storage.asked.map(rangeOf), partFrom ? [0, 70_000, 70_000] : [0, 70_000]);
		});
	}
});

Deno.test("a download that never comes ends with an error and what has arrived", async () => {
	await withHub(async (place) => {
		const partial = `${place.blob("owner/tiny", "model.safetensors")}.incomplete`;
		place.storage.fault = () => ({ status: 503 });
		const { message } = await assertRejects(() => resolveModel("owner/tiny"), HubError);
		assertMatch(message, /the Hub answers with status 503; try again later/);
		assertEquals(place.storage.asked.length, 5);
		await assertRejects(() => Deno.stat(partial), Deno.errors.NotFound);

		place.storage.log();
		place.storage.fault = (asked) => rangeOf(asked) ? { cut: 0 } : { cut: 1234 };
		await assertRejects(() => resolveModel("owner/tiny"), HubError, "connection to the Hub failed");
		assertEquals((await Deno.stat(partial)).size, 1234);
		await assertRejects(() => Deno.stat(`${place.folder("owner/tiny")}/refs/main`));

		place.storage.fault = () => undefined;
		place.storage.log();
		await download(place);
		assertEquals(place.storage.asked.map(rangeOf), [1234]);
	});
});

Deno.test("what was left of an earlier download is checked", async () => {
	const right = (place: Place) => place.hub.models["owner/tiny"]!.files["model.safetensors"]!;
	const cases: [name: string, (place: Place) => Uint8Array, ranges: number[]][] = [
		["a right part", (place) => right(place).subarray(0, 9000), [9000]],
		["all of it", (place) => right(place), []],
		["a wrong part", () => new Uint8Array(9000), [9000, 0]],
		["the wrong bytes", () => new Uint8Array(SIZE), [0]],
		["too much", () => new Uint8Array(SIZE + 1), [0]],
		["nothing", () => new Uint8Array(0), [0]],
	];
	for (const [name, content, ranges] of cases) {
		await withHub(async (place) => {
			const blob = place.blob("owner/tiny", "model.safetensors");
			await Deno.mkdir(`${place.folder("owner/tiny")}/blobs`, { recursive: true });
			await Deno.writeFile(`${blob}.incomplete`, content(place));
			await download(place);
			assertEquals(place.storage.asked.map(rangeOf), ranges, name);
		});
	}
});

Deno.test("what was left of an earlier download is not blamed twice", async () => {
	await withHub(async (place) => {
		const { storage, blob } = place,
			partial = `${blob("owner/tiny", "model.safetensors")}.incomplete`;
		await Deno.mkdir(`${place.folder("owner/tiny")}/blobs`, { recursive: true });
		await Deno.writeFile(partial, new Uint8Array(9000));
		storage.fault = () => storage.asked.length > 4 ? { status: 404 } : { body: "x".repeat(SIZE) };
		await assertRejects(() => resolveModel("owner/tiny"), HubError, "has the checksum");
		assertEquals(storage.asked.map(rangeOf), [9000, 0]);
		await assertRejects(() => Deno.stat(partial), Deno.errors.NotFound);
	});
});

Deno.test("a blob of another length is replaced", async () => {
	await withHub(async (place) => {
		const blob = place.blob("owner/tiny", "model.safetensors");
		await Deno.mkdir(`${place.folder("owner/tiny")}/blobs`, { recursive: true });
		await Deno.writeFile(blob, new Uint8Array(17));
		await download(place);
	});
});

Deno.test("a file that arrives damaged is refused, whatever its size and kind", async () => {
	for (const name of ["model.safetensors", "tokenizer.json"]) {
		await withHub(async (place) => {
			const { length } = place.hub.models["owner/tiny"]!.files[name]!;
			const fault: Fault = { body: "x".repeat(length) };
			place.storage.fault = () => name === "model.safetensors" ? fault : undefined;
			place.hub.fault = ({ path }) =>
				path.endsWith("tokenizer.json") && name in { "tokenizer.json": 1 } ? fault : undefined;
			const { message } = await assertRejects(() => resolveModel("owner/tiny"), HubError);
			assertMatch(message, /has the checksum \w+, but the Hub lists \w+; a proxy may have/);
			const left = tree(place.folder("owner/tiny"));
			assertEquals(left.filter((path) => /incomplete|tmp|refs/.test(path)), []);
			assertEquals(left.filter((path) => path.includes(name)), []);
			place.storage.fault = place.hub.fault = () => undefined;
			await download(place);
		});
	}
});

const PROGRAM = `import { resolveModel } from "src/formats/hub.ts";
  console.log(await resolveModel("owner/tiny", { onProgress: ({ done }) => console.error(done) }));`;

Deno.test("processes that start at once download each file once", async () => {
	await withHub(async (place) => {
		const { hub, storage, env, folder } = place;
		const runs = await Promise.all([1, 2, 3].map(() => runProgram(PROGRAM, { env })));
		for (const { stdout, code, stderr } of runs) {
			assertEquals(code, 0, stderr);
			assertEquals(stdout, `${folder("owner/tiny")}/snapshots/${COMMIT}`);
		}
		const resolved = hub.log().filter((line) => line.includes("/resolve/"));
		assertEquals([resolved.length, storage.asked.length], [3, 1]); // none for the empty file
		await download(place);
	});
});

for (const signal of ["SIGINT", "SIGKILL"] as const) {
	Deno.test(`a process ended by ${signal} leaves a part that the next one goes on from`, async () => {
		await withHub(async (place) => {
			const { storage, env, folder, blob } = place;
			storage.fault = () => ({ stall: 123_456 });
			const program = PROGRAM.replace("src/", `${toFileUrl(root)}/src/`);
			const child = new Deno.Command(Deno.execPath(), {
				args: ["run", "-A", "--quiet", "--config", configPath(), "-"],
				env,
				stdin: "piped",
				stdout: "null",
				stderr: "piped",
			}).spawn();
			const input = child.stdin.getWriter();
			await input.write(new TextEncoder().encode(program));
			await input.close();
			let said = "";
			for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
				said += text;
				if (said.includes(`${123_456 + 5021}\n`)) child.kill(signal);
			}
			const { signal: endedBy } = await child.status;
			assertEquals(endedBy, signal, said);
			const partial = `${blob("owner/tiny", "model.safetensors")}.incomplete`;
			const left = tree(folder("owner/tiny")).filter((path) => !path.startsWith("snapshots/"));
			assertEquals(left.length, 4, `${left}`); // three small blobs and
			assertEquals((await Deno.stat(partial)).size, 123_456);
			storage.fault = () => undefined;
			storage.log();
			await download(place);
			assertEquals(storage.asked.map(rangeOf), [123_456]);
		});
	});
}
