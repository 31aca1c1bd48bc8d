// Tests how the test runner counts, since a runner that miscounts hides failures.

import { assert, assertEquals } from "@std/assert";
import { count, groups, select, withoutTests } from "../../tools/run_tests.ts";

const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="5" failures="1" errors="0" time="0.098">
    <testsuite name="./tests/a_test.ts" tests="4" disabled="1" errors="0" failures="1">
        <testcase name="a" classname="./tests/a_test.ts" time="0.002" line="1" col="6">
        </testcase>
        <testcase name="b &lt;failure>" classname="./tests/a_test.ts" time="0.001">
            <failure message="Uncaught Error: x">Error: x</failure>
        </testcase>
        <testcase name="c" classname="./tests/a_test.ts" time="0.000" line="3" col="11">
            <skipped/>
        </testcase>
        <testcase name="a &gt; step" classname="./tests/a_test.ts" time="0.001"/>
    </testsuite>
</testsuites>`;

Deno.test("count() counts passed and failed tests and steps, not skipped ones", () => {
	assertEquals(count(REPORT), {
		passed: 2,
		failed: 1,
		failures: ["./tests/a_test.ts: b <failure>\nError: x"],
	});
	assertEquals(count(""), { passed: 0, failed: 0, failures: [] });
});

Deno.test("withoutTests() finds files that ran no test", () => {
	const output = "\x1b[38;5;245mrunning 3 tests from ./tests/a_test.ts\x1b[0m\na ... ok\n" +
		"running 0 tests from ./tests/b_test.ts\nrunning 1 test from ./tests/c_test.ts\n";
	const files = ["tests/a_test.ts", "tests/b_test.ts", "tests/c_test.ts", "tests/d_test.ts"];
	assertEquals(withoutTests(output, files), ["tests/b_test.ts", "tests/d_test.ts"]);
});

Deno.test("select() takes nvidia as all that compares with NVIDIA's files, which nothing else runs", () => {
	const { files, filter } = select(["nvidia"]);
	assertEquals(filter, undefined);
	assert(files.includes("tests/nvidia/headers_test.ts") && files.length > 2, files.join(", "));
	assert(files.every((file) => file.startsWith("tests/nvidia/")), files.join(", "));
	const everywhere = new Set([...select([]).files, ...select(["nvidia/"]).files]);
	assertEquals(files.filter((file) => !everywhere.has(file)), ["tests/nvidia/libraries.ts"]);
});

Deno.test("select() takes parts of files' names, and else of tests' names", () => {
	assertEquals(select(["./tests/tools/run_tests"]), {
		files: ["tests/tools/run_tests_test.ts"],
		filter: undefined,
	});
	assertEquals(select(["no file (is) named so"]).filter, "/no file \\(is\\) named so/");
});

Deno.test("groups() has every file once, those that measure in front and alone", () => {
	const { files } = select([]);
	const [first, ...rest] = groups(files);
	assertEquals([...first!, ...rest.flat()].sort(), files);
	assert(first!.includes("tests/cuda/event_test.ts") && first!.length < 10, first!.join(", "));
	assertEquals(rest[0], ["tests/kernel_modes_test.ts"]);
	assertEquals(groups(["tests/b_test.ts", "tests/a_test.ts"]), [[
		"tests/b_test.ts",
		"tests/a_test.ts",
	]]);
});
