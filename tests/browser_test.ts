// The pages in a real browser: what they load, what they say when pointed at, the keyboard, light and dark, paper.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { renderLaboratory, runLaboratory } from "../mod.ts";
import { serveLog } from "../src/nn/training/live_page.ts";
import { renderFigures } from "../src/outliers/report/figures.ts";
import { renderPage } from "../src/outliers/report/page.ts";
import { toFileUrl } from "../tools/project.ts";
import { Chromium, type Page } from "./chromium.ts";
import { lab, openRecorded } from "./outliers/lab.ts";
import { sampleAnalysis } from "./outliers/report/sample_analysis.ts";
import { inDirectory } from "./subprocess.ts";

const HOSTILE = "<script>alert(1)</script>";

/** Texts whose contrast with what they stand on is below 4.5, the least that people read with ease. */
const PALE = `(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = numbers(color).map((x) => x / 255)
      .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const dark = matchMedia("screen and (prefers-color-scheme: dark)").matches;
  const below = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((numbers(color)[3] ?? 1) > 0) return color;
    }
    return dark ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), pale = [];
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const element = text.parentElement;
    if (text.data.trim() === "" || !element.checkVisibility() || element.closest("figure svg[role]")) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(below(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) pale.push(text.data.trim().slice(0, 40) + " " + contrast.toFixed(2));
  }
  return pale;
})()`;

/** Light and dark: every text is readable, and figures follow. Wide and narrow: nothing is cut off. */
async function checkLooks(page: Page): Promise<void> {
	for (const scheme of ["light", "dark"] as const) {
		await page.prefer(scheme);
		assertEquals(await page.evaluate(PALE), [], scheme);
		await page.evaluate(
			`document.querySelector("figure:not([hidden]) svg").scrollIntoView({ block: "center" })`,
		);
		const share = await page.lightness();
		assert(scheme === "light" ? share > 0.7 : share < 0.3, `${scheme}: ${share}`);
	}
	await page.prefer("light");
	for (const width of [1280, 400]) {
		await page.resize(width);
		assertEquals(await page.evaluate("document.documentElement.scrollWidth"), width);
	}
	await page.resize(1280);
}

/** What the mouse is on tells of itself. */
const TOLD =
	`[...document.querySelectorAll(":hover")].at(-1)?.querySelector(":scope > title")?.textContent`;

/** Every figure has a mark that tells a value when pointed at. */
async function checkHover(page: Page): Promise<void> {
	const figures = await page.evaluate<string[]>(
		`[...document.querySelectorAll("figure")].filter((figure) => !figure.textContent.includes("Nothing to draw"))
      .map(({ id }) => id).filter((id) => id !== "figure_token_classes")`, // whose bars bear their numbers
	);
	assert(figures.length > 2);
	for (const id of figures) {
		await page.hover(`#${id} svg :has(> title)`);
		assertMatch(await page.evaluate<string>(`${TOLD} ?? "nothing"`), /: [^:]*\d/, id);
	}
}

/** The whole way without a mouse: past the navigation, to a section, sorting a table, opening one. */
async function checkKeyboard(page: Page): Promise<void> {
	await page.evaluate("scrollTo(0, 0)");
	await page.press("Tab");
	assertEquals(await page.evaluate("document.activeElement.className"), "skip");
	assert(await page.evaluate("document.activeElement.getBoundingClientRect().left >= 0"));
	await page.press("Tab");
	const link = await page.evaluate<string>("document.activeElement.getAttribute('href')");
	assertMatch(link, /^#\w/);
	await page.press("Enter");
	assertEquals(await page.evaluate("location.hash"), link);
	await page.until(
		`Math.abs(document.querySelector("${link}").getBoundingClientRect().top) < innerHeight`,
	);
	const summary = "document.querySelector('details:not([open]) > summary')";
	await page.evaluate(`${summary}.id = "closed"; document.getElementById("closed").focus()`);
	await page.press("Enter");
	await page.until("document.getElementById('closed').parentElement.open");
	for (const [key, order] of [["Enter", "descending"], [" ", "ascending"]] as const) {
		await page.evaluate(
			"document.getElementById('closed').parentElement.querySelector('thead th:last-child').focus()",
		);
		await page.press(key);
		assertEquals(await page.evaluate("document.activeElement.getAttribute('aria-sort')"), order);
	}
}

/** On paper: no navigation, dark on light, and tables open. */
async function checkPaper(page: Page): Promise<void> {
	await page.prefer("light", "print");
	assertEquals(
		await page.evaluate("getComputedStyle(document.querySelector('nav')).display"),
		"none",
	);
	assertEquals(await page.evaluate(PALE), []);
	assertMatch(await page.print(), /^%PDF-[^]*\/Type \/Page\b/);
	assert(await page.evaluate("document.querySelectorAll('details').length > 0"));
	assertEquals(await page.evaluate("document.querySelectorAll('details:not([open])').length"), 0);
}

/** A page from disk loads itself alone, nothing goes wrong, and all of the above. */
async function checkFromDisk(browser: Chromium, html: string): Promise<void> {
	await inDirectory(async (folder) => {
		await Deno.writeTextFile(`${folder}/page.html`, html);
		const url = toFileUrl(`${folder}/page.html`), page = await browser.open(url);
		// In labels it may be cut short.
		assert(await page.evaluate("document.body.textContent.includes('<script>alert')"));
		assertEquals(await page.evaluate("document.scripts.length"), 1);
		await checkLooks(page);
		await checkHover(page);
		await checkKeyboard(page);
		await checkPaper(page);
		assertEquals([page.problems, page.requests], [[], [url]]);
		await page.close();
	});
}

Deno.test("in a browser", async (t) => {
	await using browser = await Chromium.start();

	await t.step("what a page does wrong is seen", async () => {
		const page = await browser.open(
			`data:text/html,<body style="color:%23999;background:white">pale<script>
        console.error("logged"); alert("asked"); fetch("http://127.0.0.1:9/x").catch(() => {}); throw Error("thrown");
      </script>`,
		);
		for (const each of [/logged/, /A dialog: asked/, /Error: thrown/]) {
			await page.hears(({ problems }) => problems.some((problem) => each.test(problem)));
		}
		await page.hears(({ requests }) => requests.includes("http://127.0.0.1:9/x"));
		assertEquals((await page.evaluate<string[]>(PALE))[0], "pale 2.85");
		for (
			const [color, share] of [["rgb(255, 0, 51)", 0.4], [
				"linear-gradient(black, white)",
				0.5,
			]] as const
		) {
			await page.evaluate(
				`document.documentElement.innerHTML = '<body style="background: ${color}">'`,
			);
			const found = await page.lightness();
			assert(Math.abs(found - share) < 0.01, `${color}: ${found}`);
		}
		await page.close();
	});

	await t.step("the report", () => {
		const analysis = sampleAnalysis({
			layers: 4,
			heads: 3,
			texts: 1,
			tokens: 30,
			oddTokens: [HOSTILE],
		});
		return checkFromDisk(browser, renderPage(analysis, renderFigures(analysis)));
	});

	await t.step("the laboratory's page", async () => {
		using model = await openRecorded("lab/planted");
		using other = await openRecorded("lab/tuned");
		const { sequences, cases } = lab["lab/planted"]!, { tau } = cases.share!.definition;
		const given = sequences.slice(0, 2).map((tokenIds) => ({
			source: "planted",
			tokenIds,
			tokenTexts: tokenIds.map(() => HOSTILE),
		}));
		const laboratory = await runLaboratory(model, given, {
			only: ["emergence", "spread", "consistency", "comparison"], // figures of every form
			definition: { tau: tau!, weightTau: tau! },
			compareWith: other,
			example: given[1]!,
		});
		await checkFromDisk(browser, renderLaboratory(laboratory));
	});

	await t.step("the curves of a training run", () =>
		inDirectory(async (folder) => {
			const log = `${folder}/log.jsonl`;
			const write = (...records: unknown[]) =>
				Deno.writeTextFile(log, records.map((each) => `${JSON.stringify(each)}\n`).join(""), {
					append: true,
				});
			const step = (step: number) => (
				{
					event: "step",
					step,
					loss: 4 / step,
					gradientNorm: 1,
					learningRate: 0.01,
					tokensPerSecond: 100,
				}
			);
			await write(
				{ event: "start", parameters: 1000, optimizer: "adamw", data: HOSTILE, steps: 100 },
				...[1, 2, 4].map(step),
			);
			await using live = serveLog(log);
			const page = await browser.open(live.url);
			const state = "document.getElementById('state').textContent";
			await page.until(`${state}.includes("step 4 of 100")`);
			assertMatch(await page.evaluate(state), /<script>alert\(1\)<\/script>/);
			const legend = "document.querySelector('figure .legend').textContent";
			assertEquals(await page.evaluate(legend), "training 1");
			// The mouse is in the middle, nearest to step 2; the keys go on from there.
			await page.hover("figure svg .grid:nth-of-type(2)");
			assertEquals(await page.evaluate(legend), "step 2:training 2");
			await page.evaluate("document.querySelector('figure').focus()");
			await page.press("ArrowLeft");
			assertEquals(await page.evaluate(legend), "step 1:training 4");
			await write(step(8));
			await page.until(`${state}.includes("step 8 of 100")`);
			assertEquals(await page.evaluate(legend), "step 1:training 4");
			await page.press("ArrowRight");
			await page.press("Tab");
			assertEquals(await page.evaluate(legend), "training 0.5");
			await checkLooks(page);
			assertEquals(page.problems, []);
			for (const url of page.requests) {
				assert(url.startsWith(live.url), url);
				assert(["/", "/log", "/favicon.ico"].includes(new URL(url).pathname), url);
			}
			await page.close();
		}));
});
