// Which libraries serve a process: OUTLIERSCOPE_DEVICE, and one clear error for each missing permission.

import { assertEquals, assertMatch } from "@std/assert";
import { inDirectory, runProgram } from "../subprocess.ts";

const PROGRAM = `
import { openLibraries } from "src/cuda/libraries.ts";
import "src/cuda/device.ts"; // importing must need no permission
try {
  console.log((await openLibraries()).kind);
} catch (error) {
  console.log(error.name + ": " + error.message);
}`;

Deno.test("OUTLIERSCOPE_DEVICE=host uses the host driver", async () => {
	const { stdout } = await runProgram(PROGRAM, { env: { OUTLIERSCOPE_DEVICE: "host" } });
	assertEquals(stdout, "host");
});

Deno.test("OUTLIERSCOPE_DEVICE=cuda is served, or told what was tried", async () => {
	const { stdout } = await runProgram(PROGRAM, { env: { OUTLIERSCOPE_DEVICE: "cuda" } });
	if (stdout === "cuda") return; // this machine has a device
	assertMatch(
		stdout,
		/^LibraryError: Cannot use an NVIDIA device, which OUTLIERSCOPE_DEVICE=cuda asks for: Cannot /,
	);
	assertMatch(stdout, /libcuda\.so/);
});

Deno.test("another value of OUTLIERSCOPE_DEVICE is refused", async () => {
	const { stdout } = await runProgram(PROGRAM, { env: { OUTLIERSCOPE_DEVICE: "gpu" } });
	assertEquals(
		stdout,
		'RangeError: Cannot use OUTLIERSCOPE_DEVICE="gpu": it must be "cuda" or "host", or not set',
	);
});

Deno.test("a missing permission is one error that names it", async () => {
	const all = ["ffi", "env", "read", "write", "run"].map((name) => `--allow-${name}`);
	await inDirectory(async (directory) => {
		for (const missing of all) {
			const { stdout, stderr } = await runProgram(PROGRAM, {
				flags: all.filter((flag) => flag !== missing),
				env: { OUTLIERSCOPE_CACHE: `${directory}/cache`, OUTLIERSCOPE_DEVICE: "" },
			});
			assertEquals(stderr, "", missing);
			if (stdout === "cuda") continue; // NVIDIA's libraries need no build
			assertEquals(stdout.split("\n").length, 1, stdout);
			assertMatch(stdout, new RegExp(`^(LibraryError|NotCapable): .*${missing}`));
		}
		const left = [...Deno.readDirSync(directory)].flatMap((
			{ name },
		) => [...Deno.readDirSync(`${directory}/${name}`)]);
		assertEquals(left, []);
	});
});
