// The list of kernel sources: each file in src/cuda/kernels, once, with kernel names that nothing shares.

import { assert, assertEquals } from "@std/assert";
import { parseKernels } from "../../src/cuda/kernel_source.ts";
import { kernelSources } from "../../src/cuda/kernels.ts";
import { root } from "../../tools/project.ts";
import { openDevice, withKernels } from "./kernels/bench.ts";

Deno.test("every source in the folder is listed, with its text", () => {
	const folder = `${root}/src/cuda/kernels`;
	const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((n) =>
		n.endsWith(".cu")
	);
	assertEquals(kernelSources.map(({ name }) => name).sort(), files.sort());
	for (const { name, text } of kernelSources) {
		assertEquals(text, Deno.readTextFileSync(`${folder}/${name}`), name);
	}
});

Deno.test("kernels have names of their own, and the device knows each", async () => {
	const names = kernelSources.flatMap(({ text }) => parseKernels(text).map(({ name }) => name));
	assertEquals(new Set(names).size, names.length);
	const device = await openDevice();
	for (const name of names) assertEquals(device.kernel(name).signature.name, name);
});

Deno.test("a mutant can be made of every kernel, with few others", () => {
	const names = (text: string) => parseKernels(text).map(({ name }) => name);
	for (const { name: file, text } of kernelSources) {
		assertEquals(withKernels(text, new Set(names(text))), text, file);
		assertEquals(names(withKernels(text, new Set())), [], file);
		for (const wanted of names(text)) {
			const kept = names(withKernels(text, new Set([wanted])));
			assert(kept.includes(wanted) && kept.length <= 6, `${file}: ${wanted} with ${kept}`);
		}
	}
});
