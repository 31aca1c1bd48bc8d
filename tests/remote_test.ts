// Shows that the library works as a package: JSR serves modules over HTTPS, so nothing may be looked
// for beside a module on disk. The repository is served over HTTP, its bare specifiers rewritten as JSR
// rewrites them on publishing, and the example runs from that URL in an empty directory.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Import, readImports } from "../tools/imports.ts";
import { configPath, root, toFileUrl } from "../tools/project.ts";

/** What a program that was run from a URL did. */
interface Run {
  code: number;
  stdout: string;
  stderr: string;
  /** Paths that it loaded over HTTP, sorted. */
  loaded: string[];
  /** What it left in the directory it ran in. */
  left: string[];
}

/** Serves the modules below `base` and runs `entry`, a path there, from its URL in an empty directory. */
async function runRemotely(base: string, entry: string, config: string): Promise<Run> {
  const imports = await readImports([`${base}/${entry}`], config);
  const loaded = new Set<string>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
      const text = await Deno.readTextFile(`${base}/${path}`).catch(() => undefined);
      if (text === undefined) return new Response("Not found", { status: 404 });
      loaded.add(path);
      const found = imports.get(toFileUrl(`${base}/${path}`)) ?? [];
      const type = path.endsWith(".ts") ? "application/typescript" : "text/plain";
      return new Response(rewrite(text, found, base), { headers: { "content-type": type } });
    },
  );
  const directory = await Deno.makeTempDir({ prefix: "outlierscope_remote_" });
  const { port } = server.addr;
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-config", `http://127.0.0.1:${port}/${entry}`],
      cwd: directory,
      stdin: "null",
    }).output();
    return {
      code,
      stdout: new TextDecoder().decode(stdout),
      stderr: new TextDecoder().decode(stderr),
      loaded: [...loaded].sort(),
      left: [...Deno.readDirSync(directory)].map(({ name }) => name),
    };
  } finally {
    await server.shutdown();
    await Deno.remove(directory, { recursive: true });
    await forget(port);
  }
}

/** Replaces each bare specifier by what the import map makes of it; a file becomes its path's URL. */
function rewrite(text: string, imports: Import[], base: string): string {
  const here = toFileUrl(base);
  for (const { specifier, target } of imports) {
    if (/^(\.{0,2}\/|[a-z]+:)/.test(specifier)) continue;
    assert(target !== undefined, `${specifier} resolves to nothing`);
    const url = target.startsWith(`${here}/`) ? target.slice(here.length) : target;
    for (const quote of [`"`, `'`]) text = text.replaceAll(quote + specifier + quote, `"${url}"`);
  }
  return text;
}

/** Removes what Deno cached from `port`, which no later run asks for. */
async function forget(port: number): Promise<void> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { denoDir } = JSON.parse(new TextDecoder().decode(stdout));
  await Deno.remove(`${denoDir}/remote/http/127.0.0.1_PORT${port}`, { recursive: true })
    .catch(() => {});
}

Deno.test("the example runs from a URL, in an empty directory", async () => {
  const run = await runRemotely(root, "examples/detect.ts", configPath());
  assertEquals({ code: run.code, stderr: run.stderr }, { code: 0, stderr: "" });
  assertMatch(run.stdout, /\d/);
  assertEquals(run.left, []);
  const { publish } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  const isPublished = (path: string) =>
    publish.include.some((i: string) => i.endsWith("/") ? path.startsWith(i) : path === i);
  const others = run.loaded.filter((path) => !isPublished(path) && path !== "examples/detect.ts");
  assertEquals(others, [], "the example loads what is not published");
  assert(run.loaded.includes("mod.ts"));
});

/** Runs a planted package from a URL. */
async function runPlanted(files: Record<string, string>): Promise<Run> {
  const base = await Deno.realPath(await Deno.makeTempDir({ prefix: "outlierscope_package_" }));
  try {
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(`${base}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeTextFile(`${base}/${path}`, text);
    }
    return await runRemotely(base, "examples/detect.ts", `${base}/deno.json`);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

const PLANTED = {
  "deno.json": await Deno.readTextFile(`${root}/.offline.deno.json`).then((text) => {
    const { imports } = JSON.parse(text);
    return JSON.stringify({ imports: { ...imports, helper: "./src/helper.ts" } });
  }),
  "examples/detect.ts": `import { gguf, kernel } from "../mod.ts";\nconsole.log(gguf, kernel);\n`,
  "mod.ts": `export * from "./src/é.ts"; export { kernel } from 'helper';\n`,
  "src/helper.ts": `import kernel from "./k.cu" with { type: "text" };\nexport { kernel };\n`,
  "src/é.ts": `import * as all from "@huggingface/gguf";
    const again = await import("@huggingface/gguf");
    export const gguf: string = typeof all.gguf + typeof again.gguf;\n`,
  "src/k.cu": "__global__",
};

Deno.test("a package of text imports and bare specifiers runs from a URL", async () => {
  const run = await runPlanted(PLANTED);
  assertEquals(run, {
    code: 0,
    stdout: "functionfunction __global__\n",
    stderr: "",
    loaded: ["examples/detect.ts", "mod.ts", "src/helper.ts", "src/k.cu", "src/é.ts"],
    left: [],
  });
});

Deno.test("a package that looks for a file beside its module does not run from a URL", async () => {
  const run = await runPlanted({
    ...PLANTED,
    "src/helper.ts":
      `export const kernel = Deno.readTextFileSync(new URL("./k.cu", import.meta.url));\n`,
  });
  assertEquals(run.code, 1);
  assertMatch(run.stderr, /file URL/i);
});
