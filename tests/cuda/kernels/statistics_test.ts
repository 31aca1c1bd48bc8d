// statistics.cu against sorting: mean, lower median, k-th largest, the list of the largest, counts over a
// limit, and maxima and means by row and column. NaN counts as larger than infinity, whatever its sign.

import { assertEquals } from "@std/assert";
import {
	checkAxes,
	checkMultiples,
	checkSelection,
} from "../../../src/doctor/self_test/statistics.ts";
import { kernelSources } from "../../../src/cuda/kernels.ts";
import { scope } from "../../../src/tensor/scope.ts";
import { Random } from "../../random.ts";
import { Bench, faultsAreFound, kernelTest, openDevice, renaming } from "./bench.ts";

kernelTest("order statistics and counts are exact at odd sizes", (bench) => {
	const full = bench.device.multiprocessors * 8 * Math.min(256, bench.device.maxThreadsPerBlock);
	for (const count of [1, 2, 3, 15, 16, 17, 31, 33, 63, 65, 127, 255, 577, full + 1, 100_003]) {
		checkSelection(bench, bench.normals(count), 2, "normal values");
		checkSelection(bench, bench.normals(count), 2, "a row", { columns: count });
		checkSelection(bench, bench.normals(count), 2, "a column", { columns: 1 });
	}
});

kernelTest("a sample is enough, and values between its bounds are few", (bench) => {
	// As many places as the sample must leave free at most.
	for (const [columns, every] of [[577, 7], [64, 3], [640, 2], [63, 4]] as const) {
		const rows = Math.ceil(bench.random.below(1000) + 70_000 / columns);
		const x = bench.normals(rows * columns);
		const room: [number, number] = [Math.ceil(x.length / 5), 64 * 16];
		const { listed } = checkSelection(bench, x, 3, "sampled", { columns, every, room });
		assertEquals(listed, [true, true], `${rows} × ${columns}, one of ${every}`);
	}
});

kernelTest(
	"values are exact where the sample misleads or a list is too short",
	(bench) => {
		const columns = 64, rows = 400;
		const normal = bench.normals(rows * columns);
		for (const [what, room] of [["middle", [9, 9999]], ["largest", [25_600, 15]]] as const) {
			const { listed } = checkSelection(bench, normal, 2, `short list: ${what}`, {
				columns,
				room: [...room],
			});
			assertEquals(listed, [what !== "middle", what !== "largest"]);
		}
		// Only one of 400 units is sampled, and whichever that is, some of the others are unlike it.
		for (const factor of [1e-3, 1e3]) {
			const x = normal.map((value, i) => i < rows * columns / 3 ? value : value * factor);
			for (let i = 0; i < 5; i++) {
				checkSelection(bench, x, 2, "two sizes", { columns, every: rows - i });
			}
		}
		const alone = new Float32Array(rows * columns).fill(1);
		for (let i = 0; i < 20; i++) alone[bench.random.below(alone.length)] = 1 + i;
		const { listed } = checkSelection(bench, alone, 2, "few large ones", {
			columns,
			every: rows,
			room: [100, 100],
		});
		assertEquals(listed, [false, false]);
	},
);

kernelTest("values that share many leading bits are told apart", (bench) => {
	const near = Float32Array.from({ length: 5001 }, () => 1 + bench.random.below(600) * 2 ** -23);
	checkSelection(bench, near, 1, "neighbours of 1");
	const tiny = new Float32Array(
		Uint32Array.from({ length: 3001 }, () => bench.random.below(2000) | bench.random.below(2) << 31)
			.buffer,
	);
	checkSelection(bench, tiny, 1.5, "denormal values");
	const any = new Float32Array(
		Uint32Array.from({ length: 4001 }, () => bench.random.bits() & 0xbfffffff).buffer,
	);
	checkSelection(bench, any, 3, "values of any exponent below 2");
});

kernelTest("ties, equal values and zeros are counted", (bench) => {
	for (const count of [1, 5, 64, 1000, 4099]) {
		checkSelection(bench, new Float32Array(count), 1000, "zeros");
		checkSelection(
			bench,
			new Float32Array(count).fill(-2.5),
			0.5,
			"equal values, all over the limit",
		);
		checkSelection(
			bench,
			new Float32Array(count).fill(-2.5),
			1,
			"equal values, none over the limit",
		);
	}
	const few = Float32Array.from({ length: 3001 }, () => (bench.random.below(7) - 3) / 2);
	checkSelection(bench, few, 1, "seven values");
	const one = new Float32Array(2051);
	one[2050] = -7;
	checkSelection(bench, one, 1000, "one value among zeros");
});

kernelTest("NaN and infinity are the largest, and the limit follows the mean", (bench) => {
	for (const special of [Infinity, -Infinity, NaN]) {
		const x = bench.normals(999);
		x[0] = x[500] = x[998] = special;
		checkSelection(bench, x, 2, `${special} among normal values`);
		checkSelection(bench, x.fill(special), 2, `${special} alone`);
	}
	const negative = bench.normals(77);
	new Uint32Array(negative.buffer)[76] = 0xffc00000;
	checkSelection(bench, negative, 2, "a NaN with a sign");
});

kernelTest("maxima and means by row and by column equal the reference", (bench) => {
	for (const rows of [1, 2, 33]) {
		for (const columns of [1, 2, 31, 33, 63, 64, 65, 127, 128, 577]) {
			checkAxes(bench, bench.normals(rows * columns), rows, columns);
		}
	}
	checkAxes(bench, bench.normals(5000), 5000, 1);
	checkAxes(bench, bench.normals(70_003), 1, 70_003);
});

kernelTest(
	"the first row wins among equals, and NaN and infinity win over numbers",
	(bench) => {
		const x = Float32Array.from({ length: 40 * 65 }, () => bench.random.below(3) - 1);
		checkAxes(bench, x, 40, 65);
		checkAxes(bench, new Float32Array(130), 2, 65);
		checkAxes(bench, new Float32Array(130).fill(NaN), 2, 65);
		const mixed = bench.normals(7 * 3);
		mixed[4] = NaN;
		mixed[8] = -Infinity;
		mixed[17] = Infinity;
		checkAxes(bench, mixed, 7, 3);
	},
);

kernelTest(
	"multiples of a row's mean keep their sign, and are 0 in a row of mean 0",
	(bench) => {
		for (const columns of [1, 2, 31, 33, 577]) checkMultiples(bench, 5, columns);
		checkMultiples(bench, bench.device.multiprocessors * 8 * 8 + 1, 3);
	},
);

Deno.test("without AVX-512 the same values are listed", async () => {
	const device = await openDevice();
	const { text } = kernelSources.find(({ name }) => name === "statistics.cu")!;
	const prefix = "plain_";
	const plain = text.replaceAll("#ifdef __AVX512F__", "#if 0")
		.replace(/(__global__\s+void\s+)(\w+)/g, `$1${prefix}$2`);
	await device.load([{ name: `${prefix}statistics.cu`, text: plain }]);
	scope(() => {
		const bench = new Bench(device, new Random(99));
		const options = { columns: 577, every: 4, room: [7000, 600] as [number, number] };
		const x = bench.normals(60 * 577);
		const plain = (name: string) => name.startsWith("magnitude_") ? prefix + name : name;
		const check = () => checkSelection(bench, x, 2, "plain", options);
		assertEquals(renaming(device, plain, check).listed, [true, true]);
	});
});

const selected = (bench: Bench) => {
	checkSelection(bench, bench.normals(578), 2, "normal values");
	checkSelection(
		bench,
		new Float32Array(new Uint32Array(578).fill(0x3f800201).buffer),
		2,
		"equal values, the last bit of each part set",
	);
};
const multiples = (bench: Bench) => {
	checkMultiples(bench, 3, 130);
};
/** As `selected`, of which the median or the k-th largest must be found in its list. */
const listed = (which: 0 | 1) => (bench: Bench) => {
	const options = { columns: 577, every: 4, room: [7000, 600] as [number, number] };
	const { listed } = checkSelection(bench, bench.normals(60 * 577), 2, "sampled", options);
	assertEquals(listed[which], true);
};
const axes = (bench: Bench) => {
	checkAxes(bench, bench.normals(3 * 65), 3, 65);
	checkAxes(bench, new Float32Array(3 * 65).fill(-1), 3, 65);
};
const file = "statistics.cu";
faultsAreFound([
	{
		name: "the upper median is found",
		file,
		from: "(count - 1) / 2",
		to: "count / 2",
		check: selected,
	},
	{
		name: "the (k+1)-th largest is found",
		file,
		from: "count - top :",
		to: "count - top - 1 :",
		check: selected,
	},
	{
		name: "one bit is lost while refining",
		file,
		from: "(1u << (unknown - shift)) - 1",
		to: "(1u << (unknown - shift)) - 2",
		check: selected,
	},
	{
		name: "the limit itself counts as over it",
		file,
		from: "over += bits > limit",
		to: "over += bits >= limit - 1000000",
		check: selected,
	},
	{
		name: "what lies below the bounds is not counted",
		file,
		from: "below += ",
		to: "below += 0 * ",
		check: listed(0),
	},
	{
		name: "bounds have no slack",
		file,
		from: "4 * sqrtf",
		to: "-4 * sqrtf",
		check: listed(0),
	},
	{
		name: "too few may be among the largest",
		file,
		from: "4 * top * sampled / count + 16",
		to: "0",
		check: listed(1),
	},
	{
		name: "the list's end is taken for the end of the data",
		file,
		from: "&& result->found[which] <= room[which]",
		to: "",
		check: (bench) => {
			// The largest first, so that the k-th of them finds no room.
			const falling = bench.normals(2000).map(Math.abs).sort().reverse();
			checkSelection(bench, falling, 2, "short", { room: [10, 8] });
		},
	},
	{
		name: "values at the lower bound are left out",
		file,
		from: "unsigned low = result->low[0],",
		to: "unsigned low = result->low[0] + 1,",
		check: (bench, _random) => {
			const x = new Float32Array(640).fill(1);
			const { listed } = checkSelection(bench, x, 2, "bound");
			assertEquals(listed[0], true);
		},
	},
	{
		name: "over the limit are only those in the list",
		file,
		from: "result->listed[1] && limit >= result->low[1]",
		to: "result->listed[1]",
		check: selected,
	},
	{
		name: "the scan forgets the rows' means",
		file,
		from: "return means ? from[c] * scale : from[c];",
		to: "return from[c];",
		check: multiples,
	},
	{
		name: "the last row wins among equals",
		file,
		from: "bits > largest[t] ? row",
		to: "bits >= largest[t] ? row",
		check: axes,
	},
	{ name: "bins are not emptied", file, from: "bins[i] = 0;\n", to: ";\n", check: selected },
]);
