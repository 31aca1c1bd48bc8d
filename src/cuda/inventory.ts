// What a device and its libraries say of themselves beyond what computing needs: for reports.

import { OutParameter } from "../ffi/c_memory.ts";
import type { Device } from "./device.ts";

/** Properties and versions of a device and its libraries. */
export interface Inventory {
	/** Highest CUDA version that the driver serves, such as `"12.4"`. */
	driverVersion: string;
	/** Such as `"9.0"`; `"0.0"` on the host. */
	computeCapability: string;
	/** Bytes of memory. */
	memory: { free: number; total: number };
	/** Such as `"12.4"`. */
	nvrtcVersion: string;
	/** As cuBLAS counts: 10,000 · major + 100 · minor + patch. */
	cublasVersion: number;
}

/** Asks a device and its libraries. */
export function takeInventory(device: Device): Inventory {
	const { driver, nvrtc, cublas } = device.libraries;
	const first = new OutParameter(), second = new OutParameter();
	device.check("cuDriverGetVersion", driver.cuDriverGetVersion(first.buffer));
	const driverVersion = `${Math.floor(first.int / 1000)}.${Math.floor(first.int % 1000 / 10)}`;
	device.check("cuDeviceGet", driver.cuDeviceGet(first.buffer, 0));
	const ordinal = first.int;
	const MAJOR = 75, MINOR = 76;
	const computeCapability = [MAJOR, MINOR].map((attribute) => {
		const code = driver.cuDeviceGetAttribute(first.buffer, attribute, ordinal);
		device.check("cuDeviceGetAttribute", code);
		return first.int;
	}).join(".");
	device.check("cuMemGetInfo_v2", driver.cuMemGetInfo_v2(first.buffer, second.buffer));
	const memory = { free: first.size, total: second.size };
	nvrtc.nvrtcVersion(first.buffer, second.buffer);
	const nvrtcVersion = `${first.int}.${second.int}`;
	device.checkBlas("cublasGetVersion_v2", cublas.cublasGetVersion_v2(device.blas, first.buffer));
	return { driverVersion, computeCapability, memory, nvrtcVersion, cublasVersion: first.int };
}
