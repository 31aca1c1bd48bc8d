// Records the prototypes of the bound functions of cuBLAS, cuDNN and NCCL in tests/fixtures/, where every
// `./dev test` compares the symbol tables with them, since their headers are part of a large download.
// Run `./dev test nvidia` once, which installs those, then
// deno run -A --config .offline.deno.json tools/record_nvidia_prototypes.ts

import { cublasSymbols } from "../src/ffi/cublas_symbols.ts";
import { cudnnSymbols } from "../src/ffi/cudnn_symbols.ts";
import { ncclSymbols } from "../src/ffi/nccl_symbols.ts";
import { readPrototypes } from "../tests/nvidia/headers.ts";
import { root } from "./project.ts";

const functions = Object.keys({ ...cublasSymbols, ...cudnnSymbols, ...ncclSymbols });
const prototypes = await readPrototypes("libraries", functions);
await Deno.writeTextFile(
	`${root}/tests/fixtures/nvidia_prototypes.json`,
	JSON.stringify(prototypes, null, 2) + "\n",
);
