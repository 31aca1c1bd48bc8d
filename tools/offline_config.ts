// Writes `.offline.deno.json`: this project's `deno.json` with the JSR names of its import map replaced
// by the thin equivalents in `tools/std/`, for machines that reach npm but not JSR. Two that write it at
// once do no harm: it is renamed into place.
// Run as: deno run --no-config --allow-read --allow-write tools/offline_config.ts

const root = new URL("../", import.meta.url);
const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
for (const [name, target] of Object.entries<string>(config.imports)) {
	if (target.startsWith("jsr:")) delete config.imports[name];
}
Object.assign(config.imports, {
	"@std/assert": "./tools/std/assert.ts",
	"@std/cli/parse-args": "./tools/std/parse_args.ts",
});
config.publish.include.push("tools/std/"); // So that the dry run of publishing finds them.
const path = new URL(".offline.deno.json", root);
const text = JSON.stringify(config, null, 2) + "\n";
const temporary = new URL(`.offline.deno.json.${Deno.pid}`, root);
await Deno.writeTextFile(temporary, text);
await Deno.rename(temporary, path);
