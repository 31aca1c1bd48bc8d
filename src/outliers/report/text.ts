// Text and numbers made fit for people: token texts with their invisible characters shown, HTML
// escaping, and numbers of any size in few characters. Figures and the page share these.

const NAMED: Record<string, string> = {
	"\n": "\\n",
	"\r": "\\r",
	"\t": "\\t",
	" ": "␣",
	"\\": "\\\\",
};

/**
 * The text with every invisible character made visible: `\n`, `\t`, `␣`, `\u{200b}`; safe in XML.
 * Lone surrogates become U+FFFD. Longer texts than `limit` code points end in `…`.
 */
export function visibleText(text: string, limit = Infinity): string {
	if (text === "") return "(empty)";
	const visible = text.toWellFormed()
		.replace(
			// Control, format (bidirectional overrides too), private, unassigned, and all separators.
			/[\\\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Z}]/gu,
			(character) => NAMED[character] ?? `\\u{${character.codePointAt(0)!.toString(16)}}`,
		)
		// A combining mark without its letter would sit on whatever stands before it.
		.replace(/^(?=\p{M})/u, "◌");
	const points = [...visible];
	return points.length <= limit ? visible : points.slice(0, limit - 1).join("") + "…";
}

/** The text with line breaks and spaces kept, and all that XML forbids or hides made visible. */
export function plainText(text: string): string {
	return text.toWellFormed().replace(
		/[\p{Cc}\p{Cf}\p{Cn}]/gu,
		(character) => character === "\n" ? " " : visibleText(character),
	);
}

const ENTITIES: Record<string, string> = {
	"&": "&amp;",
	"<": "&lt;",
	">": "&gt;",
	'"': "&quot;",
	"'": "&#39;",
};

/** The text escaped for HTML and XML content and quoted attributes. */
export function escapeHtml(text: string): string {
	return text.replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
const PERCENT = new Intl.NumberFormat("en-US", { style: "percent", maximumSignificantDigits: 3 });

/** A number in about three significant digits: `4,321`, `0.0123`, `2.5 × 10⁻⁷`. */
export function formatNumber(value: number): string {
	const size = Math.abs(value);
	if (!Number.isFinite(value)) return "–";
	if (size !== 0 && (size < 1e-3 || size >= 1e9)) {
		const [digits, exponent] = value.toExponential(2).split("e");
		return `${Number(digits)} × 10${superscript(Number(exponent))}`
			.replace(/^(-?)1 × /, "$1").replace("-", "−");
	}
	return (size >= 1000 ? WHOLE : SHORT).format(value).replace("-", "−");
}

/** A share between 0 and 1 as percent: `97.3%`. */
export function formatShare(share: number): string {
	return Number.isFinite(share) ? PERCENT.format(share) : "–";
}

/** Consecutive numbers as ranges: `[1, 2, 3, 5]` gives `1–3, 5`. */
export function formatRanges(numbers: number[]): string {
	const ranges: [number, number][] = [];
	for (const number of numbers) {
		const last = ranges.at(-1);
		if (last && number === last[1] + 1) last[1] = number;
		else ranges.push([number, number]);
	}
	return ranges.map(([first, last]) => first === last ? `${first}` : `${first}–${last}`).join(", ");
}

/** `1 token`, `2 tokens`: the count with its noun. */
export function count(number: number, noun: string): string {
	return `${formatNumber(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Several phrases as one: `a, b and c`. */
export function join(phrases: string[]): string {
	return phrases.length < 2
		? phrases.join("")
		: `${phrases.slice(0, -1).join(", ")} and ${phrases.at(-1)}`;
}

function superscript(exponent: number): string {
	return [...String(exponent)].map((digit) => digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+digit]).join("");
}
