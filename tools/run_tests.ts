// Runs the project's checks and tests and ends with the line `N passed, N failed`; each static check
// counts as one test. What `./dev test` and `./dev check` (`--static`) call.
// Run as: deno run --config deno.json -A tools/run_tests.ts [--static] [NAME...]
// A NAME is a path, a part of a test file's name, or a part of tests' names. The name `nvidia` stands for
// the comparison with NVIDIA's headers and libraries, all of it.

import { stripVTControlCharacters } from "node:util";
import { configPath, root } from "./project.ts";

interface Check {
  name: string;
  command: string[];
}

interface Outcome {
  passed: number;
  failed: number;
}

const deno = Deno.execPath();
const config = ["--config", configPath()];

function staticChecks(): Check[] {
  const checks: Check[] = [
    { name: "format", command: [deno, "fmt", "--check", "--quiet", ...config] },
    { name: "lint", command: [deno, "lint", "--quiet", ...config] },
    { name: "types", command: [deno, "check", "--quiet", ...config, "."] },
    { name: "doc comments", command: [deno, "doc", "--lint", "--quiet", ...config, "mod.ts"] },
    {
      name: "publishing",
      command: [deno, "publish", "--dry-run", "--allow-dirty", "--quiet", ...config],
    },
    { name: "shell scripts", command: ["bash", "-n", "dev", ".ci/run"] },
  ];
  return checks;
}

/** Runs one static check, silent unless it fails. */
async function runCheck({ name, command: [program, ...args] }: Check): Promise<boolean> {
  const start = performance.now();
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd: root,
    stdin: "null",
  }).output();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`check: ${name} ... ${success ? "ok" : "FAILED"} (${seconds} s)`);
  if (!success) {
    console.log(`$ ${[program, ...args].join(" ")}`);
    await Deno.stdout.write(stdout);
    await Deno.stdout.write(stderr);
  }
  return success;
}

/** Every test file below `tests/`, relative to the root. */
function testFiles(directory = "tests"): string[] {
  const files: string[] = [];
  for (const entry of Deno.readDirSync(`${root}/${directory}`)) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory && entry.name !== "fixtures") files.push(...testFiles(path));
    else if (entry.name.endsWith("_test.ts")) files.push(path);
  }
  return files.sort();
}

/** Needs what `./dev test nvidia` downloads, so that no other run of the tests includes it. */
const NVIDIA_LIBRARIES = "tests/nvidia/libraries.ts";

/** Splits what the user named into the test files to run and a filter of test names, if any. */
export function select(names: string[]): { files: string[]; filter: string | undefined } {
  const all = testFiles();
  const filters: string[] = [];
  const files = new Set<string>();
  for (const name of names) {
    const wanted = name.replace(/^\.\//, "");
    const found = wanted === "nvidia"
      ? [...all.filter((file) => file.startsWith("tests/nvidia/")), NVIDIA_LIBRARIES]
      : all.filter((file) => file.includes(wanted));
    if (found.length === 0) filters.push(name);
    else found.forEach((file) => files.add(file));
  }
  const escaped = filters.map((filter) => filter.replace(/[\\/^$.*+?()[\]{}|]/g, "\\$&"));
  return {
    files: files.size > 0 ? [...files] : all,
    filter: filters.length > 0 ? `/${escaped.join("|")}/` : undefined,
  };
}

/**
 * Runs Deno's tests, their output passing through as it comes, and counts from its JUnit report.
 * A file that cannot be loaded, or holds no test, is missing there: that is a failure as well.
 */
async function runTests(names: string[]): Promise<Outcome> {
  const { files, filter } = select(names);
  const report = await Deno.makeTempFile({ prefix: "outlierscope_tests_", suffix: ".xml" });
  try {
    const args = ["test", "-A", "--quiet", ...config, `--junit-path=${report}`];
    if (filter !== undefined) args.push(`--filter=${filter}`);
    else if (names.length === 0) args.push("--no-check"); // The check of types has run before.
    const child = new Deno.Command(deno, {
      args: [...args, ...files],
      cwd: root,
      env: Deno.stdout.isTerminal() ? { FORCE_COLOR: "1" } : {},
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    let output = "";
    const decoder = new TextDecoder();
    for await (const bytes of child.stdout) {
      await Deno.stdout.write(bytes);
      output += decoder.decode(bytes, { stream: true });
    }
    const { success } = await child.status;
    const outcome = count(await Deno.readTextFile(report));
    for (const file of filter === undefined ? withoutTests(output, files) : []) {
      console.log(`${file} ... FAILED (it ran no test)`);
      outcome.failed++;
    }
    if (!success && outcome.failed === 0) outcome.failed = 1;
    return outcome;
  } finally {
    await Deno.remove(report);
  }
}

/** Counts the test cases of a JUnit report; a step is one, a skipped one is none. */
export function count(report: string): Outcome {
  const outcome = { passed: 0, failed: 0 };
  for (const text of testCases(report)) {
    if (/<(failure|error)\b/.test(text)) outcome.failed++;
    else if (!/<skipped\b/.test(text)) outcome.passed++;
  }
  return outcome;
}

/**
 * Those of `files` that ran no test, by the output of `deno test`. (Its JUnit report names the file in
 * which a test was defined, which may be a helper.)
 */
export function withoutTests(output: string, files: string[]): string[] {
  const plain = stripVTControlCharacters(output);
  const ran = new Set<string>();
  for (const [, number, file] of plain.matchAll(/^running (\d+) tests? from \.\/(.+)$/gm)) {
    if (Number(number) > 0) ran.add(file!);
  }
  return files.filter((file) => !ran.has(file));
}

function testCases(report: string): string[] {
  return report.match(/<testcase\b[^>]*(?:\/>|>[\s\S]*?<\/testcase>)/g) ?? [];
}

if (import.meta.main) {
  const names = Deno.args.filter((argument) => argument !== "--static");
  const onlyStatic = names.length < Deno.args.length;
  const total: Outcome = { passed: 0, failed: 0 };
  if (onlyStatic || names.length === 0) {
    for (const check of staticChecks()) {
      if (await runCheck(check)) total.passed++;
      else total.failed++;
    }
  }
  if (!onlyStatic) {
    const { passed, failed } = await runTests(names);
    total.passed += passed;
    total.failed += failed;
    if (passed + failed === 0) {
      console.log(`No test is named ${names.join(" or ")}`);
      total.failed++;
    }
  }
  console.log(`${total.passed} passed, ${total.failed} failed`);
  Deno.exit(total.failed > 0 ? 1 : 0);
}
