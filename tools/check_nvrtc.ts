// Compiles every kernel with NVIDIA's own NVRTC, warnings as errors, for every architecture that it
// offers from sm_75 on, and prints each kernel's registers, shared memory and spilled bytes. It needs no
// GPU: the package nvidia-cuda-nvrtc of PyPI holds the library.
// Run as: deno run -A --config .offline.deno.json tools/check_nvrtc.ts PATH/libnvrtc.so.13

import { kernelSources } from "../src/cuda/kernels.ts";
import prelude from "../src/cuda/kernels/prelude.cuh" with { type: "text" };
import { parseKernels } from "../src/cuda/kernel_source.ts";
import {
  addressOf,
  cString,
  fixedBuffer,
  OutParameter,
  textAt,
  textIn,
} from "../src/ffi/c_memory.ts";
import { openLibrary } from "../src/ffi/libraries.ts";
import { nvrtcSymbols } from "../src/ffi/nvrtc_symbols.ts";

const OLDEST = 75;

const symbols = {
  ...nvrtcSymbols,
  nvrtcGetNumSupportedArchs: { parameters: ["buffer"], result: "i32" },
  nvrtcGetSupportedArchs: { parameters: ["buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
const { symbols: nvrtc } = openLibrary("NVRTC", [Deno.args[0] ?? "libnvrtc.so.13"], symbols);

/** What one kernel uses, as the assembler reports it. */
interface Use {
  name: string;
  registers: number;
  shared: number;
  spilled: number;
}

function pointers(texts: string[]) {
  const buffers = texts.map(cString);
  const list = fixedBuffer(8 * Math.max(1, texts.length));
  new BigUint64Array(list.buffer).set(buffers.map(addressOf));
  return { list, buffers };
}

async function compile(
  name: string,
  text: string,
  options: string[],
): Promise<{ status: string; log: string; bytes: number }> {
  const headers = pointers([prelude]);
  const headerNames = pointers(["prelude.cuh"]);
  const given = pointers(options);
  const out = new OutParameter();
  const program = new OutParameter();
  nvrtc.nvrtcCreateProgram(
    program.buffer,
    cString(text),
    cString(name),
    1,
    headers.list,
    headerNames.list,
  );
  const handle = program.size;
  const status = await nvrtc.nvrtcCompileProgram(handle, options.length, given.list);
  nvrtc.nvrtcGetProgramLogSize(handle, out.buffer);
  const log = fixedBuffer(Math.max(1, out.size));
  nvrtc.nvrtcGetProgramLog(handle, log);
  const built = status === 0 && nvrtc.nvrtcGetCUBINSize(handle, out.buffer) === 0;
  nvrtc.nvrtcDestroyProgram(program.buffer);
  void [headers.buffers, headerNames.buffers, given.buffers];
  return {
    status: textAt(nvrtc.nvrtcGetErrorString(status)),
    log: textIn(log).trim(),
    bytes: built ? out.size : 0,
  };
}

/** The assembler's report, a kernel an entry. */
function readUses(log: string): Use[] {
  const parts = log.split(/Compiling entry function '/).slice(1);
  return parts.map((part) => {
    const number = (pattern: RegExp) => Number(pattern.exec(part)?.[1] ?? 0);
    return {
      name: part.slice(0, part.indexOf("'")),
      registers: number(/Used (\d+) registers/),
      shared: number(/(\d+) bytes smem/),
      spilled: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
    };
  });
}

const out = new OutParameter();
nvrtc.nvrtcGetNumSupportedArchs(out.buffer);
const list = fixedBuffer(4 * out.int);
nvrtc.nvrtcGetSupportedArchs(list);
const architectures = [...new Int32Array(list.buffer)].filter((number) => number >= OLDEST);
nvrtc.nvrtcVersion(list, out.buffer);
const version = `${new Int32Array(list.buffer)[0]}.${out.int}`;
console.log(`NVRTC ${version}, architectures ${architectures.join(", ")}`);

let failures = 0;
const most = new Map<string, Use>();
for (const { name, text } of kernelSources) {
  for (const architecture of architectures) {
    const { status, log, bytes } = await compile(name, text, [
      `--gpu-architecture=sm_${architecture}`,
      "--std=c++17",
      "--display-error-number",
      "-Werror=all-warnings",
      "--ptxas-options=-v",
    ]);
    const uses = readUses(log);
    const warned = /\b(warning|error)\b/i.test(log);
    const missing = parseKernels(text).filter((kernel) =>
      !uses.some((u) => u.name === kernel.name)
    );
    if (status !== "NVRTC_SUCCESS" || warned || bytes === 0 || missing.length > 0) {
      failures++;
      console.log(
        `${name} for sm_${architecture}: ${status}, not reported: ` +
          `${missing.map((kernel) => kernel.name).join(", ")}\n${log}`,
      );
    }
    for (const use of uses) {
      const before = most.get(use.name);
      most.set(use.name, {
        name: use.name,
        registers: Math.max(use.registers, before?.registers ?? 0),
        shared: Math.max(use.shared, before?.shared ?? 0),
        spilled: Math.max(use.spilled, before?.spilled ?? 0),
      });
    }
  }
}
console.table([...most.values()]);
console.log(`${kernelSources.length * architectures.length} compilations, ${failures} failed`);
Deno.exit(failures > 0 ? 1 : 0);
