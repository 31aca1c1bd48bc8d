// PyTorch's checkpoints against what PyTorch says is in them (tests/fixtures/record_pytorch.py); code and damage.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { PyTorchCheckpoint, PyTorchError } from "../../src/formats/pytorch_checkpoint.ts";
import { root } from "../../tools/project.ts";
import { device, deviceTest } from "../tensor/on_device.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import recorded from "../fixtures/pytorch/values.json" with { type: "json" };

const folder = `${root}/tests/fixtures/pytorch`;
const values: Record<string, number[]> = recorded.values;
const shapes: Record<string, number[]> = recorded.shapes;

deviceTest("tensors of every type and of shared storages are what PyTorch saved", async () => {
	using checkpoint = await PyTorchCheckpoint.open(`${folder}/pytorch_model.bin`);
	assertEquals([...checkpoint.tensors.keys()], Object.keys(shapes));
	for (const [name, shape] of Object.entries(shapes)) {
		assertEquals(checkpoint.tensor(name).shape, shape, name);
		using tensor = checkpoint.load(device, name);
		assertEquals([...tensor.shape], shape);
		assertEquals(await tensor.data(), Float32Array.from(values[name]!), name);
	}
	using rows = Tensor.empty<"float32", 2>(device, "float32", [3, 5]);
	checkpoint.loadRows(rows, "f32", [5, 0, 5]);
	const row = (i: number) => values.f32!.slice(5 * i, 5 * i + 5);
	assertEquals([...await rows.data()], [...row(5), ...row(0), ...row(5)].map(Math.fround));
});

deviceTest("a training program's checkpoint gives weights and settings", async () => {
	using checkpoint = await PyTorchCheckpoint.open(`${folder}/ckpt.pt`);
	assertEquals([...checkpoint.tensors.keys()], ["weight", "bias"]);
	for (const name of ["weight", "bias"]) {
		using tensor = checkpoint.load(device, name);
		assertEquals(await tensor.data(), Float32Array.from(values[`ckpt ${name}`]!));
	}
	const settings = checkpoint.values.get("model_args");
	assert(settings instanceof Map);
	assertEquals(Object.fromEntries(settings), {
		n_layer: 2,
		bias: false,
		vocab_size: 50304,
		dropout: 0.1,
		block_size: 2 ** 40,
	});
	assertEquals(checkpoint.values.get("iter_num"), 2000);
	const config = checkpoint.values.get("config");
	assert(config instanceof Map);
	assertEquals([...config], [["out_dir", "out é"], ["none", null], ["pair", [1, -2]]]);
	assert(checkpoint.values.get("optimizer") instanceof Map && !checkpoint.values.has("model"));
});

const problem = async (path: string) => {
	const error = await assertRejects(() => PyTorchCheckpoint.open(path), PyTorchError);
	return error.message.replace(`Cannot use "${path}": `, "");
};

Deno.test("code in a checkpoint is never run: its name is told, and how to convert", async () => {
	const message = await problem(`${folder}/code.pt`);
	assert(
		message.startsWith('it asks for the Python object "posix.system", which may run code; '),
		message,
	);
	assert(message.includes("weights_only=True") && message.includes(`"${folder}/code.pt"`));
});

Deno.test("views, old files and others are refused with what helps", async () => {
	const view = await problem(`${folder}/view.pt`);
	assert(view.startsWith('its tensor "w" is a view with gaps or in another order; this'), view);
	const old = await problem(`${folder}/legacy.pt`);
	assert(old.startsWith("it is not of the kind that PyTorch writes since version 1.6; this"), old);
	await assertRejects(() => PyTorchCheckpoint.open("/nowhere"), PyTorchError, "no such file");
	using checkpoint = await PyTorchCheckpoint.open(`${folder}/ckpt.pt`);
	assertThrows(() => checkpoint.tensor("x"), PyTorchError, 'it has no tensor "x" among its 2');
	assertThrows(() => checkpoint.read("bias", new Uint8Array(9)), RangeError);
	checkpoint[Symbol.dispose]();
	assertThrows(() => checkpoint.read("bias"), PyTorchError, "it was closed");
});

async function withBytes(bytes: Uint8Array, use: (path: string) => Promise<void>): Promise<void> {
	const path = await Deno.makeTempFile({ suffix: ".pt" });
	try {
		await Deno.writeFile(path, bytes);
		await use(path);
	} finally {
		await Deno.remove(path);
	}
}

Deno.test("a checkpoint cut off anywhere is refused", async () => {
	const bytes = await Deno.readFile(`${folder}/ckpt.pt`);
	for (let length = 0; length < bytes.length; length += 1 + length % 7) {
		await withBytes(bytes.subarray(0, length), async (path) => void await problem(path));
	}
});

Deno.test("tensors that reach beyond their data are refused", async () => {
	const bytes = await Deno.readFile(`${folder}/pytorch_model.bin`);
	const find = (...wanted: number[]) =>
		bytes.findIndex((_, i) => wanted.every((byte, j) => bytes[i + j] === byte));
	// Shape (6, 5) as BININT1 6, BININT1 5, TUPLE2, right before the strides (5, 1).
	const at = find(0x4b, 6, 0x4b, 5, 0x86);
	assert(at > 0);
	const larger = bytes.slice();
	larger[at + 1] = 7;
	await withBytes(larger, async (path) => {
		assertEquals(await problem(path), 'its tensor "f32" reaches beyond its data');
	});
});

Deno.test("a pickle of many containers is refused before memory runs out", async () => {
	const pickle = new Uint8Array(3 << 20).fill(0x7d); // empty dictionaries
	pickle.set([0x80, 2]);
	await withBytes(zip("x/data.pkl", pickle), async (path) => {
		const start = performance.now();
		assert((await problem(path)).startsWith("its pickle has more than 1048576 containers"));
		assert(performance.now() - start < 5000);
	});
});

/** An archive of one entry. */
function zip(name: string, data: Uint8Array): Uint8Array {
	const text = new TextEncoder().encode(name), local = 30 + text.length + data.length;
	const bytes = new Uint8Array(local + 46 + text.length + 22), view = new DataView(bytes.buffer);
	view.setUint32(0, 0x04034b50, true);
	view.setUint16(26, text.length, true);
	bytes.set(text, 30);
	bytes.set(data, 30 + text.length);
	view.setUint32(local, 0x02014b50, true);
	view.setUint32(local + 20, data.length, true);
	view.setUint32(local + 24, data.length, true);
	view.setUint16(local + 28, text.length, true);
	bytes.set(text, local + 46);
	const end = local + 46 + text.length;
	view.setUint32(end, 0x06054b50, true);
	view.setUint32(end + 12, 46 + text.length, true);
	view.setUint32(end + 16, local, true);
	return bytes;
}
