// Texts of single tokens, as people read them: bytes and the names that vocabularies give them.

const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** GPT-2's names for bytes: printable Latin-1 stands for itself, the others follow from U+0100 on. */
export const byteNames: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
	const printable = (byte: number) => byte > 32 && byte < 127 || byte > 160 && byte !== 173;
	if (printable(byte)) return String.fromCharCode(byte);
	let unnamed = 0;
	for (let before = 0; before < byte; before++) if (!printable(before)) unnamed++;
	return String.fromCharCode(256 + unnamed);
});
const namedBytes = new Map(byteNames.map((name, byte) => [name, byte]));

/** The bytes that a token of a byte-level vocabulary names; undefined if it is written in another way. */
export function bytesOfNames(token: string): Uint8Array | undefined {
	const bytes = Array.from(token, (name) => namedBytes.get(name) ?? -1);
	return bytes.includes(-1) ? undefined : Uint8Array.from(bytes);
}

/** SentencePiece's token for a byte that no other token has. */
export function byteToken(byte: number): string {
	return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** The byte that such a token stands for. */
export function byteOfToken(token: string): number | undefined {
	const match = /^<0x([0-9A-F]{2})>$/.exec(token);
	return match ? parseInt(match[1]!, 16) : undefined;
}

/** A text of bytes; each that is not valid UTF-8 by itself is written `<0xNN>`. */
export function textOfBytes(bytes: Uint8Array): string {
	let text = "";
	for (let i = 0; i < bytes.length;) {
		const length = bytes[i]! < 0x80 ? 1 : bytes[i]! < 0xe0 ? 2 : bytes[i]! < 0xf0 ? 3 : 4;
		try {
			text += strictDecoder.decode(bytes.subarray(i, i + length));
			i += length;
		} catch {
			text += byteToken(bytes[i++]!);
		}
	}
	return text;
}
