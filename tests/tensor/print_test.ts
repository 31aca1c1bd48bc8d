// Tensors as text: what is shown, aligned, and that nothing else is read.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { arange, ones, scope, type Tensor, tensor, zeros } from "../../mod.ts";
import { device, deviceTest, random } from "./on_device.ts";

const on = `on ${device.kind}`;
/** The text of a tensor, which is freed. */
function text(x: Tensor): string {
	using freed = x;
	return String(freed);
}

deviceTest("text has dtype, shape, device and all of a few elements, aligned", () => {
	assertEquals(
		text(tensor([[1, 2], [-30, 4]])),
		`Tensor float32 [2, 2] ${on}\n[[  1.,   2.],\n [-30.,   4.]]`,
	);
	assertEquals(text(tensor([1.5, 0.25, -1])), `Tensor float32 [3] ${on}\n[ 1.50,  0.25, -1.00]`);
	assertEquals(text(tensor(2.5)), `Tensor float32 [] ${on}\n2.5`);
	assertEquals(text(tensor([7, -8], { dtype: "int32" })), `Tensor int32 [2] ${on}\n[ 7, -8]`);
	assertEquals(text(tensor([0.1], { dtype: "float64" })), `Tensor float64 [1] ${on}\n[0.1]`);
	assertEquals(
		text(tensor([[[1], [2]], [[3], [4]]])),
		`Tensor float32 [2, 2, 1] ${on}\n[[[1.],\n  [2.]],\n\n [[3.],\n  [4.]]]`,
	);
});

deviceTest("bfloat16 is shown as numbers, and who wants a gradient says so", () => {
	assertEquals(
		text(tensor([1.5, 3], { dtype: "bfloat16", requiresGrad: true })),
		`Tensor bfloat16 [2] ${on}, requires grad\n[1.5, 3.0]`,
	);
});

deviceTest("NaN and infinity are named, very large and small numbers have exponents", () => {
	assertEquals(
		text(tensor([1, NaN, -Infinity])),
		`Tensor float32 [3] ${on}\n[       1.,       NaN, -Infinity]`,
	);
	assertEquals(text(tensor([1e-5, 1])).split("\n")[1], "[1.0e-05, 1.0e+00]");
	assertEquals(text(tensor([3e9, -2.5])).split("\n")[1], "[ 3.0e+09, -2.5e+00]");
	assertEquals(text(tensor([2 ** 40], { dtype: "float64" })).split("\n")[1], "[1.0995e+12]");
	assertEquals(text(tensor([1 / 3, 0])).split("\n")[1], "[0.3333, 0.0000]");
});

deviceTest("of many elements the ends are shown, of long rows several lines", () => {
	assertEquals(
		text(arange(2000)),
		`Tensor float32 [2000] ${on}\n[   0.,    1.,    2., ..., 1997., 1998., 1999.]`,
	);
	using flat = arange(4000, { dtype: "int32" });
	assertEquals(
		text(flat.reshape([100, 40])),
		`Tensor int32 [100, 40] ${on}\n` + [
			"[[   0,    1,    2, ...,   37,   38,   39],",
			" [  40,   41,   42, ...,   77,   78,   79],",
			" [  80,   81,   82, ...,  117,  118,  119],",
			" ...,",
			" [3880, 3881, 3882, ..., 3917, 3918, 3919],",
			" [3920, 3921, 3922, ..., 3957, 3958, 3959],",
			" [3960, 3961, 3962, ..., 3997, 3998, 3999]]",
		].join("\n"),
	);
	using tall = flat.reshape([2, 500, 4]);
	assertEquals(text(tall.slice(0, 1)).split("\n").length, 8);
	const lines = text(arange(50)).split("\n");
	assertEquals(lines.length, 4);
	assert(lines.every((line) => line.length <= 100));
	using four = flat.reshape([5, 8, 10, 10]);
	assert(text(four.transpose()).split("\n").length < 50);
});

deviceTest("views are shown as they are strided", () => {
	using x = tensor([[1, 2, 3], [4, 5, 6]]);
	assertEquals(text(x.transpose()).split("\n").slice(1), [
		"[[1., 4.],",
		" [2., 5.],",
		" [3., 6.]]",
	]);
	using row = tensor([1, 2]);
	assertEquals(text(row.expand([2, 2])).split("\n").slice(1), ["[[1., 2.],", " [1., 2.]]"]);
});

deviceTest("the ends that are shown are those of any shape", () => {
	for (let round = 0; round < 8; round++) {
		const rank = 1 + round % 4,
			shape = Array.from({ length: rank }, () => 5 + Math.floor(random() * 9));
		shape[0] = Math.ceil(1001 / shape.slice(1).reduce((a, b) => a * b, 1));
		const size = shape.reduce((a, b) => a * b, 1);
		using flat = arange(size, { dtype: "int32" });
		const numbers = text(flat.reshape(shape)).split("\n").slice(1).join().match(/\d+/g)!.map(
			Number,
		);
		const shown = Array.from({ length: size }, (_, i) => i).filter((i) => {
			let rest = i;
			return shape.toReversed().every((extent, fromLast) => {
				const at = rest % extent, edge = fromLast < 2 ? 3 : 1;
				rest = Math.floor(rest / extent);
				return extent <= 2 * edge || at < edge || at >= extent - edge;
			});
		});
		assertEquals(numbers, shown, `[${shape}]`);
	}
});

deviceTest("freed and empty tensors, and a capture, are said and not thrown", () => {
	const x = ones([2]);
	x.dispose();
	assertEquals(String(x), `Tensor float32 [2] ${on}, freed`);
	assertEquals(text(zeros([0, 3])), `Tensor float32 [0, 3] ${on}, empty`);
	using y = ones([2]);
	let during = "";
	using graph = device.capture(() => during = String(y));
	graph.launch();
	assertEquals(during, `Tensor float32 [2] ${on}, not computed yet: its work is being captured`);
});

deviceTest("showing a tensor reads its excerpt alone, and leaves nothing in a scope", () => {
	using large = zeros([1000, 1000]);
	const before = device.peakBytes, live = device.liveBytes;
	scope(() => {
		void String(large);
		assertEquals(device.liveBytes, live);
	});
	assert(device.peakBytes <= Math.max(before, live + 36 * 4));
});

deviceTest("console.log shows the same", () => {
	using x = tensor([1, 2]);
	assertEquals(Deno.inspect(x), String(x));
	assertEquals(`${x}`, x.toString());
});

deviceTest("item(), toArray() and numbers() give numbers of any dtype", async () => {
	using x = tensor([[1.5, 2], [3, -4]], { dtype: "bfloat16" });
	assertEquals(x.toArray(), [[1.5, 2], [3, -4]]);
	using turned = x.transpose();
	assertEquals(turned.toArray(), [[1.5, 3], [2, -4]]);
	assertEquals(await x.numbers(), [1.5, 2, 3, -4]);
	using scalar = tensor(7, { dtype: "int32" }), single = tensor([[2.5]], { dtype: "bfloat16" });
	assertEquals([scalar.item(), single.item(), scalar.toArray()], [7, 2.5, 7]);
	using empty = zeros([2, 0]);
	assertEquals(empty.toArray(), [[], []]);
	assertThrows(
		() => x.item(),
		RangeError,
		"Cannot take [2,2] for one number: it has 4 elements; use toArray()",
	);
});
