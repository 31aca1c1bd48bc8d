// Where the entries of a zip archive are: only those stored as they are, as PyTorch writes them.

/** An entry: bytes of the file. */
export interface ZipEntry {
	/** Where they begin. */
	offset: number;
	/** How many. */
	byteLength: number;
}

const MAX_DIRECTORY = 16 << 20; // bytes: entries of 200,000 tensors
const END = 0x06054b50, END64 = 0x06064b50, LOCATOR64 = 0x07064b50, CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50, NONE = 0xffffffff;

/**
 * Reads the directory of an archive.
 *
 * @param size bytes of the file
 * @param read reads bytes, or throws
 * @param fail throws the error of a problem
 */
export function zipEntries(
	size: number,
	read: (offset: number, bytes: number) => DataView,
	fail: (problem: string) => never,
): Map<string, ZipEntry> {
	const u64 = (view: DataView, at: number) =>
		view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
	// The end's record may be followed by a comment of up to 65,535 bytes.
	const tail = read(Math.max(0, size - 65557), Math.min(size, 65557));
	let end = tail.byteLength - 22;
	while (end >= 0 && tail.getUint32(end, true) !== END) end--;
	if (end < 0) fail("it is no zip archive, or was cut off: the record at its end is missing");
	let directory = tail.getUint32(end + 16, true), bytes = tail.getUint32(end + 12, true);
	if (end >= 20 && tail.getUint32(end - 20, true) === LOCATOR64) {
		const record = u64(tail, end - 12);
		if (record + 56 > size) fail("the record at its end points beyond it");
		const end64 = read(record, 56);
		if (end64.getUint32(0, true) !== END64) fail("the record at its end is damaged");
		bytes = u64(end64, 40);
		directory = u64(end64, 48);
	}
	if (directory + bytes > size || bytes > MAX_DIRECTORY) {
		fail(`its directory claims ${bytes} bytes at ${directory}, and the file has ${size}`);
	}
	const view = read(directory, bytes), entries = new Map<string, ZipEntry>();
	const decoder = new TextDecoder();
	for (let at = 0; at + 46 <= bytes;) {
		if (view.getUint32(at, true) !== CENTRAL) fail("its directory is damaged");
		const method = view.getUint16(at + 10, true), flags = view.getUint16(at + 8, true);
		const nameBytes = view.getUint16(at + 28, true), extraBytes = view.getUint16(at + 30, true);
		const extra = at + 46 + nameBytes;
		const next = extra + extraBytes + view.getUint16(at + 32, true);
		if (next > bytes) fail("its directory is damaged");
		const name = decoder.decode(new Uint8Array(view.buffer, at + 46, nameBytes));
		let packed = view.getUint32(at + 20, true), full = view.getUint32(at + 24, true);
		let local = view.getUint32(at + 42, true);
		for (let field = extra; field + 4 <= extra + extraBytes;) { // sizes beyond 32 bits
			const id = view.getUint16(field, true), length = view.getUint16(field + 2, true);
			let value = field + 4;
			const ends = value + length;
			const take = (short: number) => {
				if (short !== NONE || value + 8 > Math.min(ends, bytes)) return short;
				value += 8;
				return u64(view, value - 8);
			};
			if (id === 1) [full, packed, local] = [take(full), take(packed), take(local)];
			field = ends;
		}
		if (method !== 0 || packed !== full || flags & 1) {
			fail(`its entry ${JSON.stringify(name.slice(0, 80))} is compressed or encrypted`);
		}
		if (local + 30 > size) fail("its directory points beyond the file");
		const header = read(local, 30);
		if (header.getUint32(0, true) !== LOCAL) fail("its directory points to no entry");
		const offset = local + 30 + header.getUint16(26, true) + header.getUint16(28, true);
		if (offset + full > size) {
			fail(`it is cut off: an entry ends at byte ${offset + full}, the file has ${size}`);
		}
		if (entries.has(name)) fail(`it has two entries ${JSON.stringify(name.slice(0, 80))}`);
		entries.set(name, { offset, byteLength: full });
		at = next;
	}
	return entries;
}
