// A process may exit while products and kernels are queued: it ends at once, with its own status.

import { assert, assertEquals } from "@std/assert";
import { runProgram } from "../subprocess.ts";
import { configPath, root, toFileUrl } from "../../tools/project.ts";

Deno.test("a process ends where one stream waits for another that is cut off", async () => {
	const { code, stdout, stderr } = await runProgram(`
    import { Device } from "src/cuda/device.ts";
    import { Stream } from "src/cuda/stream.ts";
    const device = await Device.open(), side = new Stream(device);
    const pointer = device.allocate(2 ** 26);
    for (let i = 0; i < 1000; i++) device.fill(pointer, i % 256, 2 ** 26); // seconds of work
    side.wait(device.mark());
    device.withStream(side, () => device.fill(pointer, 1, 1));
    const begun = performance.now();
    addEventListener("unload", () => console.log(performance.now() - begun < 5000));
    Deno.exit(3);`);
	assertEquals([code, stdout, stderr], [3, "true", ""]);
});

Deno.test("a process that exits with work queued ends at once, with its own status", async () => {
	// Each product has a shape of its own, so that oneDNN is at work on new primitives when exit comes.
	const code = `
    import { Device, Tensor } from "${toFileUrl(`${root}/mod.ts`)}";
    import { linear } from "${toFileUrl(`${root}/src/tensor/linear.ts`)}";
    const device = await Device.open();
    const x = Tensor.zeros(device, "float32", [512, 512]);
    for (let i = 0; i < 400; i++) {
      using w = Tensor.zeros(device, "float32", [256 + i, 512]);
      linear(x, w).dispose();
    }
    console.log("queued");
    setTimeout(() => Deno.exit(7), DELAY);`;
	for (const delay of [0, 3, 40]) {
		const child = new Deno.Command(Deno.execPath(), {
			args: [
				"run",
				"-A",
				"--no-check",
				"--config",
				configPath(),
				`data:application/typescript,${encodeURIComponent(code.replace("DELAY", String(delay)))}`,
			],
			stdin: "null",
			stdout: "piped",
			stderr: "inherit",
		}).spawn();
		const reader = child.stdout.getReader();
		await reader.read(); // "queued"
		const begun = performance.now();
		const hung = setTimeout(() => child.kill("SIGKILL"), 15_000);
		const { code: status } = await child.status;
		clearTimeout(hung);
		await reader.cancel();
		assertEquals(status, 7);
		assert(performance.now() - begun < 10_000, "Exit took too long");
	}
});
