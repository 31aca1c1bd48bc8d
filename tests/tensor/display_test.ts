// Tensors in notebooks: the table has the numbers at their indices, colours by sign and size, and nothing unescaped.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { arange, ones, scope, type Tensor, tensor, zeros } from "../../mod.ts";
import { parseXml } from "../outliers/report/xml.ts";
import { device, deviceTest, random } from "./on_device.ts";

const on = `on ${device.kind}`;

/** What a notebook's kernel gets. */
function bundle(x: Tensor): Record<string, string> {
	const shown = x as unknown as Record<symbol, () => Record<string, string>>;
	return shown[Symbol.for("Jupyter.display")]!();
}

/** The HTML that a notebook shows of a tensor, which is freed. */
function html(x: Tensor): string {
	using freed = x;
	const { "text/plain": plain, "text/html": text } = bundle(freed);
	assertEquals(plain, Deno.inspect(freed));
	parseXml(text!);
	return text!;
}

/** The texts of each row of a table. */
function rows(text: string): string[][] {
	return [...text.matchAll(/<tr>(.*?)<\/tr>/g)].map(([, row]) =>
		[...row!.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/g)].map(([, cell]) => cell!)
	);
}

/** The colours of the cells, each with its opacity. */
function colours(text: string): [string, number][] {
	return [...text.matchAll(/rgba\((\d+,\d+,\d+),([\d.]+)\)/g)].map(([, c, a]) => [c!, Number(a)]);
}

deviceTest(
	"a table has dtype, shape, device, and all of a few elements under their indices",
	() => {
		const text = html(tensor([[1, 2.5], [-30, 4]], { requiresGrad: true }));
		assertStringIncludes(text, `Tensor float32 [2, 2] ${on}, requires grad`);
		assertEquals(rows(text), [["", "0", "1"], ["0", "1.0", "2.5"], ["1", "-30.0", "4.0"]]);
		assertEquals(rows(html(tensor([7, -8], { dtype: "int32" }))), [["0", "1"], ["7", "-8"]]);
		assertEquals(rows(html(tensor(2.5))), [["2.5"]]);
	},
);

deviceTest(
	"the colour is the sign's, its strength the size's; what is no number has its own",
	() => {
		const [large, half, below, zero] = colours(html(tensor([8, 4, -8, 0])));
		assertEquals([large![0], zero![1]], [half![0], 0]);
		assert(large![0] !== below![0]);
		assertEquals([half![1] * 2, below![1]], [large![1], large![1]]);
		assert(large![1] > 0.3 && large![1] < 0.6); // text of either colour stays readable on it
		const [one, nan, infinity] = colours(html(tensor([1, NaN, -Infinity])));
		assertEquals([one![1], nan], [large![1], infinity!]);
		assert(nan![0] !== one![0] && nan![0] !== below![0]);
		for (const [, strength] of colours(html(zeros([3])))) assertEquals(strength, 0);
	},
);

deviceTest("of many elements the ends are shown, of any shape under their indices", () => {
	assertEquals(rows(html(arange(300))), [
		["0", "1", "2", "…", "297", "298", "299"],
		["0.", "1.", "2.", "…", "297.", "298.", "299."],
	]);
	for (let round = 0; round < 8; round++) {
		const rank = 2 + round % 3,
			shape = Array.from({ length: rank }, () => 3 + Math.floor(random() * 9));
		shape[0] = Math.ceil(201 / shape.slice(1).reduce((a, b) => a * b, 1));
		using flat = arange(shape.reduce((a, b) => a * b, 1), { dtype: "int32" });
		const text = html(flat.reshape(shape));
		let seen = 0;
		for (
			const [, before, table] of text.matchAll(
				/<table[^>]*>(?:<caption[^>]*>\[(.*?)\]<\/caption>)?(.*?)<\/table>/g,
			)
		) {
			const outer = (before ?? ":, :").split(", ").filter((name) => name !== ":").map(Number);
			assertEquals(outer.length, rank - 2);
			const [[, ...columns], ...body] = rows(table!);
			for (const [row, ...cells] of body as [string, ...string[]][]) {
				for (const [i, cell] of cells.entries()) {
					if (row === "…" || columns[i] === "…") assertEquals(cell, "…");
					else {
						const at = [...outer, Number(row), Number(columns[i])];
						assertEquals(
							Number(cell),
							at.reduce((sum, index, axis) => sum * shape[axis]! + index, 0),
						);
						seen++;
					}
				}
			}
		}
		const each = shape.map((extent, axis) => Math.min(extent, axis < rank - 2 ? 2 : 6));
		assertEquals(seen, each.reduce((a, b) => a * b, 1), `[${shape}]`);
	}
});

deviceTest("freed and empty tensors say so, and an error's words are escaped", () => {
	const x = ones([2]);
	x.dispose();
	assertStringIncludes(html(x), `Tensor float32 [2] ${on}, freed</div></div>`);
	assertStringIncludes(html(zeros([0, 3])), `[0, 3] ${on}, empty</div></div>`);
	using hostile = ones([2]);
	Object.defineProperty(hostile, "strides", {
		get: () => {
			throw new RangeError(`<img src=x onerror="alert(1)">`);
		},
	});
	assertStringIncludes(
		bundle(hostile)["text/html"]!,
		"cannot be read: &#60;img src=x onerror=&#34;alert(1)&#34;&#62;</div>",
	);
});

deviceTest("a table reads its excerpt alone, and leaves nothing in a scope", () => {
	using large = zeros([1000, 1000]);
	const before = device.peakBytes, live = device.liveBytes;
	scope(() => {
		bundle(large);
		assertEquals(device.liveBytes, live);
	});
	assert(device.peakBytes <= Math.max(before, live + 36 * 4));
});
