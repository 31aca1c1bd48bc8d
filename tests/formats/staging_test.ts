// Staging: pieces in turn, none of which is handed out twice before its turn comes again.

import { assertEquals, assertThrows } from "@std/assert";
import { Device } from "../../mod.ts";
import { Staging } from "../../src/formats/staging.ts";

const device = await Device.open();

Deno.test("bytes taken are apart from each other and from the other piece, and reach the device", async () => {
  using staging = new Staging(device, 100);
  const pointer = device.allocate(400);
  const sizes = [60, 40, 100, 1, 99];
  let at = 0, value = 1;
  for (const turn of [sizes.slice(0, 2), sizes.slice(2, 3), sizes.slice(3)]) {
    if (at > 100) await device.synchronize(); // before a piece's second turn
    staging.turn();
    for (const bytes of turn) {
      const memory = staging.take(bytes).fill(value);
      device.upload(pointer + at, memory);
      at += bytes;
      value++;
    }
  }
  const got = new Uint8Array(at);
  await device.download(got, pointer);
  assertEquals([...got], sizes.flatMap((bytes, i) => Array(bytes).fill(i + 1)));
  device.free(pointer);
});

Deno.test("more than fits is refused", () => {
  using staging = new Staging(device, 10);
  staging.take(6);
  assertThrows(() => staging.take(5), RangeError, "Cannot stage 5 bytes: 4 of 10 are left");
  staging.turn();
  assertEquals(staging.take(10).length, 10);
});
