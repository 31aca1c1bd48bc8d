// The host driver's oneDNN tells its version and the instructions that it uses.

import { assertEquals, assertMatch } from "@std/assert";
import { OutParameter } from "../../src/ffi/c_memory.ts";
import { describeOneDnn } from "../../src/host/onednn.ts";
import { openHost } from "../../src/host/open.ts";

Deno.test("oneDNN is described as the host driver's cuBLAS counts its version", async () => {
	const { paths, cublas } = await openHost();
	const { version, instructions } = describeOneDnn(paths.driver);
	const out = new OutParameter();
	assertEquals(cublas.cublasGetVersion_v2(0, out.buffer), 0);
	const [major, minor, patch] = version.split(".").map(Number);
	assertEquals(major * 10_000 + minor * 100 + patch, out.int);
	const avx512 = Deno.readTextFileSync("/proc/cpuinfo").includes("avx512bw");
	if (avx512) assertMatch(instructions, /^AVX-512/);
});
