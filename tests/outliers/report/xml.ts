// A small well-formedness check for the tests: balanced tags, quoted attributes, known entities, legal
// characters. It returns the texts, so that a test can look for one.

/** Throws unless `xml` is well-formed; returns its texts, unescaped. */
export function parseXml(xml: string): string[] {
	// What XML 1.0 allows; a lone surrogate falls outside with the `u` flag.
	const illegal = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.exec(xml);
	if (illegal) throw new SyntaxError(`Illegal character at ${illegal.index}`);
	const open: string[] = [], texts: string[] = [], ids = new Set<string>();
	let roots = 0;
	for (const [part] of xml.matchAll(/<[^>]*>|[^<]+|</g)) {
		if (!part.startsWith("<")) {
			if (open.length === 0 && part.trim() !== "") throw new SyntaxError(`Text outside: ${part}`);
			texts.push(unescape(part));
			continue;
		}
		const tag = /^<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>$/.exec(part);
		if (!tag) throw new SyntaxError(`Not a tag: ${part}`);
		const [, closing, name, attributes, empty] = tag;
		if (closing) {
			if (open.pop() !== name) throw new SyntaxError(`Unbalanced: ${part}`);
			continue;
		}
		const names = [...attributes.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, name, value]) => {
			unescape(value);
			if (name === "id") {
				if (ids.has(value)) throw new SyntaxError(`Id twice: ${value}`);
				ids.add(value);
			}
			return name;
		});
		if (new Set(names).size !== names.length) throw new SyntaxError(`Attribute twice: ${part}`);
		if (open.length === 0 && ++roots > 1) throw new SyntaxError(`A second root: ${part}`);
		if (!empty) open.push(name);
	}
	if (open.length > 0 || roots === 0) throw new SyntaxError(`Unclosed: ${open.join(" ")}`);
	return texts.filter((text) => text.trim() !== "");
}

function unescape(text: string): string {
	return text.replace(/&([^;\s]*;)?/g, (entity) => {
		const known: Record<string, string> = {
			"&amp;": "&",
			"&lt;": "<",
			"&gt;": ">",
			"&quot;": '"',
			"&#39;": "'",
			"&#160;": "\u00a0",
		};
		if (!(entity in known)) throw new SyntaxError(`Unknown entity: ${entity}`);
		return known[entity];
	});
}
