// Opens the device, runs one kernel and waits for its result, as the analysis does first of all. Prints
// the seconds since the process was started ($BENCH_START), when the result is there.

import { Device, Tensor } from "../../mod.ts";
import { rmsNorm } from "../../src/tensor/norm.ts";

const device = await Device.open();
using x = Tensor.from<"float32", 2>(device, "float32", [1, 4], new Float32Array([1, 2, 3, 4]));
using gain = Tensor.from<"float32", 1>(device, "float32", [4], new Float32Array([1, 1, 1, 1]));
using y = rmsNorm(x, gain, { epsilon: 1e-6 });
const [first] = await y.data();
if (Math.abs(first! - 1 / Math.sqrt(7.5)) > 1e-5) throw new Error(`The kernel gave ${first}`);
console.log(Date.now() / 1000 - Number(Deno.env.get("BENCH_START")));
