// Compiles every kernel for this machine's device, unless the cache has it.

import { Device } from "../src/cuda/device.ts";
import { kernelSources } from "../src/cuda/kernels.ts";

const device = await Device.open();
await device.prepare(kernelSources.map(({ name }) => name));
