// What devices there are, and what each can do.

import { fixedBuffer, OutParameter, textIn } from "../ffi/c_memory.ts";
import type { Libraries } from "../ffi/libraries.ts";
import { checkDriver } from "./errors.ts";

const ATTRIBUTES = {
	maxThreadsPerBlock: 1,
	warpSize: 10,
	multiprocessors: 16,
	computeCapabilityMajor: 75,
	computeCapabilityMinor: 76,
} as const;

/** A device of this machine. */
export interface DeviceInfo {
	/** Its number. */
	ordinal: number;
	/** Its name. */
	name: string;
	/** Identifies it among all devices, such as `"GPU-6f1e…"`. */
	uuid: string;
	/** Such as `"9.0"`; `"0.0"` on the host. */
	computeCapability: string;
	/** Bytes of memory. */
	totalMemory: number;
	/** Lanes of a warp: 32, or 1 on the host. */
	warpSize: number;
	/** Largest number of threads in a block. */
	maxThreadsPerBlock: number;
	/** Streaming multiprocessors, or cores. */
	multiprocessors: number;
	/** Numbers of the devices whose memory it can reach without a copy through the host. */
	peers: number[];
}

/** The devices of these libraries. */
export function listDevices(libraries: Libraries): DeviceInfo[] {
	const { driver } = libraries, out = new OutParameter();
	const check = (name: string, code: number) => checkDriver(libraries, name, code);
	check("cuInit", driver.cuInit(0));
	check("cuDeviceGetCount", driver.cuDeviceGetCount(out.buffer));
	const handles = Array.from({ length: out.int }, (_, ordinal) => {
		check("cuDeviceGet", driver.cuDeviceGet(out.buffer, ordinal));
		return out.int;
	});
	return handles.map((handle, ordinal) => {
		const name = fixedBuffer(256), uuid = fixedBuffer(16);
		check("cuDeviceGetName", driver.cuDeviceGetName(name, name.length, handle));
		check("cuDeviceGetUuid", driver.cuDeviceGetUuid_v2(uuid, handle));
		check("cuDeviceTotalMem", driver.cuDeviceTotalMem_v2(out.buffer, handle));
		const totalMemory = out.size;
		const attribute = (key: keyof typeof ATTRIBUTES) => {
			const code = driver.cuDeviceGetAttribute(out.buffer, ATTRIBUTES[key], handle);
			check("cuDeviceGetAttribute", code);
			return out.int;
		};
		const canAccess = (other: number) => {
			check("cuDeviceCanAccessPeer", driver.cuDeviceCanAccessPeer(out.buffer, handle, other));
			return out.int !== 0;
		};
		return {
			ordinal,
			name: textIn(name),
			uuid: `GPU-${uuid.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}`,
			computeCapability: `${attribute("computeCapabilityMajor")}.${
				attribute("computeCapabilityMinor")
			}`,
			totalMemory,
			warpSize: attribute("warpSize"),
			maxThreadsPerBlock: attribute("maxThreadsPerBlock"),
			multiprocessors: attribute("multiprocessors"),
			peers: handles.flatMap((other, peer) => other !== handle && canAccess(other) ? [peer] : []),
		};
	});
}
