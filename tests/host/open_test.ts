// The host driver opened as a set of libraries.

import { assertEquals, assertMatch } from "@std/assert";
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
