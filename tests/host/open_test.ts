// The host driver opened as a set of libraries.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { OutParameter } from "../../src/ffi/c_memory.ts";
import { openHost } from "../../src/host/open.ts";

Deno.test("the host driver is all three libraries, under one identity", async () => {
	const { kind, identity, driver, nvrtc, cublas } = await openHost(() => {});
	assertEquals(kind, "host");
	assertMatch(identity, /^[0-9a-f]{32}$/);
	const out = new OutParameter(), minor = new OutParameter();
	assertEquals(driver.cuDriverGetVersion(out.buffer), 0);
	assertEquals(nvrtc.nvrtcVersion(out.buffer, minor.buffer), 0);
	assertEquals(cublas.cublasGetVersion_v2(0, out.buffer), 0);
	assertEquals((await openHost()).identity, identity);
});

Deno.test("a limit of memory that is no number of bytes is refused", async () => {
	for (const limit of ["0", "1GB", "-5", "1e9"]) {
		Deno.env.set("OUTLIERSCOPE_HOST_MEMORY", limit);
		try {
			const error = await assertRejects(() => openHost(), RangeError);
			assertEquals(
				error.message,
				`Cannot use OUTLIERSCOPE_HOST_MEMORY="${limit}": it must be a number of bytes, or not set`,
			);
		} finally {
			Deno.env.delete("OUTLIERSCOPE_HOST_MEMORY");
		}
	}
});
