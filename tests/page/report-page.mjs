// SPDX-License-Identifier: GPL-2.0-or-later
// The report in headless Chromium, driven by Playwright. Arguments: the folder of playwright-core, of the
// pages (small.html, static.html, large.html, huge.html), and of the pictures to keep ("" for none). Prints TAP.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, pages, pictures] = process.argv.slice(2);
const { chromium } = createRequire(modules + "/")("playwright-core");
let n = 0;

function ok(good, name, ...why) {
	console.log((good ? "ok " : "not ok ") + ++n + " - " + name);
	for (const w of good ? [] : why)
		console.log("# " + JSON.stringify(w));
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu",
	"--disable-dev-shm-usage"] });
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
const asked = [], answered = [], said = [];

page.setDefaultTimeout(120000);
page.on("request", (r) => asked.push(r.url()));
page.on("requestfinished", (r) => answered.push(r.url()));
page.on("console", (m) => said.push(m.text()));
page.on("pageerror", (e) => said.push(String(e)));

async function open(name) {
	asked.length = said.length = 0;
	await page.goto(pathToFileURL(pages + "/" + name + ".html").href);
}

async function picture(name) {
	if (pictures)
		await page.screenshot({ path: pictures + "/" + name + ".png" });
}

// Asks until it is so, and returns what it was told last.
async function until(ask, good) {
	let told = await ask();

	for (let k = 0; k < 200 && !good(told); k++) {
		await page.waitForTimeout(50);
		told = await ask();
	}
	return told;
}

const texts = (css) => page.locator(css).allTextContents();
const counts = () => page.evaluate(() => [nanosegGraph.nodes(":visible").not(".group").length, nanosegGraph.edges(":visible").length]);

// WCAG's contrast of every text that can be seen against what is behind it.
const contrast = () => page.evaluate(() => {
	const light = (c) => c.map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((a, v, i) => a + v * [0.2126, 0.7152, 0.0722][i], 0);
	const rgb = (s) => s.match(/[\d.]+/g).map(Number);
	const bad = [];

	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim()) || !e.checkVisibility() ||
		    ["SCRIPT", "STYLE"].includes(e.tagName))
			continue;
		const style = getComputedStyle(e);
		let behind = e, back = [0, 0, 0, 0];

		for (; behind && (back[3] ?? 1) === 0; behind = behind.parentElement)
			back = rgb(getComputedStyle(behind).backgroundColor);
		if ((back[3] ?? 1) === 0)
			back = [255, 255, 255];
		const front = rgb(e.closest("svg") ? style.fill : style.color);
		const [a, b] = [light(front.slice(0, 3)), light(back.slice(0, 3))].sort((x, y) => y - x);

		if ((a + 0.05) / (b + 0.05) < 4.5)
			bad.push([e.tagName, e.className, e.textContent.slice(0, 30)]);
	}
	return bad.slice(0, 5);
});

await open("small");
const edges = await page.evaluate(() => data.edges.length);
const [shownNodes, shownEdges] = await counts();
ok(shownNodes === await page.evaluate(() => data.nodes.length) && shownEdges > 0 && shownEdges <= edges,
	"the report shows its graph", shownNodes, shownEdges);
ok(!await page.locator(".picture").isVisible() && await page.locator("#explore").isVisible(), "in place of the picture");
ok(asked.length === 1 && said.length === 0, "it asks nobody for anything, and the browser has nothing to say", asked, said);
ok(await page.locator("img, iframe, object, body b").count() === 0 && await page.evaluate(() => document.scripts.length) === 3 &&
	(await texts("#nodes button")).includes("</script><script>alert(1)</script>"), "hostile names are text");
await page.locator("#explore").scrollIntoViewIfNeeded();
await picture("report-small");
ok((await contrast()).length === 0, "every text stands out from what is behind it", await contrast());

await page.locator("#state-approved").uncheck();
const fewer = (await until(counts, ([, n]) => n > 0 && n < shownEdges))[1];
ok(fewer > 0 && fewer < shownEdges, "filter by state", shownEdges, fewer);
await page.locator("#state-approved").check();
await page.locator("#group").selectOption("shop");
const shop = await until(() => texts("#nodes button"), (x) => x.includes("shop/db") && !x.includes("batch"));
ok(["shop/web", "shop/api", "shop/db"].every((x) => shop.includes(x)) && !shop.includes("batch"), "filter by project", shop);
await page.locator("#group").selectOption("");

// By keyboard alone, from the search to an edge's evidence.
await page.locator("#search").focus();
await page.keyboard.type("shop/api");
ok((await until(() => texts("#nodes button"), (x) => x.join() === "shop/api")).join() === "shop/api", "search");
for (let k = 0; k < 12 && await page.evaluate(() => document.activeElement.textContent) !== "shop/api"; k++)
	await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
ok((await page.locator("#detail").innerText()).includes("shop/db tcp/5432, approved"), "a peer lists its connections");
for (let k = 0; k < 20 && !(await page.evaluate(() => document.activeElement.textContent)).includes("tcp/5432"); k++)
	await page.keyboard.press("Tab");
const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
await page.keyboard.press("Enter");
const detail = await page.locator("#detail").innerText();
ok(["shop/api to shop/db", "because 2", "T-2", "root"].every((x) => detail.includes(x)) && outline === "solid",
	"a connection shows its evidence, and where the keyboard is can be seen", detail, outline);
const chosen = () => page.evaluate(() => nanosegGraph.elements(".chosen").length);
ok(await until(chosen, (n) => n === 1) === 1, "and is the one that is marked");
await picture("report-edge");
await page.locator("#search").focus();
await page.keyboard.press("Escape");
ok(await until(chosen, (n) => n === 0) === 0, "Escape clears");
await page.locator("#search").fill("");
const level = await page.evaluate(() => nanosegGraph.zoom());
await page.locator("#graph").hover();
await page.mouse.wheel(0, 400);
ok(await page.evaluate(() => nanosegGraph.zoom()) === level, "the wheel scrolls the report");
await page.locator("#zoom-in").click();
ok(await until(() => page.evaluate(() => nanosegGraph.zoom()), (z) => z > level) > level, "the button makes it larger");

const stopped = await page.evaluate(async () => {
	const seen = new Set();

	document.addEventListener("securitypolicyviolation", (e) => seen.add(e.effectiveDirective));
	document.body.append(Object.assign(document.createElement("script"), { textContent: "window.owned = 1" }));
	document.body.append(Object.assign(new Image(), { src: "http://203.0.113.1/x" }));
	await fetch("http://203.0.113.1/y").catch(() => 0);
	for (let k = 0; k < 100 && seen.size < 3; k++)
		await new Promise((done) => setTimeout(done, 50));
	return [window.owned === 1, ...[...seen].sort()];
});
ok(stopped[0] === false && ["connect-src", "img-src", "script-src-elem"].every((x) => stopped.includes(x)) &&
	!answered.some((u) => u.startsWith("http")), "its policy stops a script, an image and a request", stopped);

await open("small");
await page.emulateMedia({ media: "print" });
ok(await page.locator(".picture").isVisible() && !await page.locator("#explore").isVisible(), "on paper there is the picture");
ok((await contrast()).length === 0, "and every text stands out", await contrast());
await page.locator(".picture").scrollIntoViewIfNeeded();
await picture("report-print");
ok((await page.pdf({ format: "A4" })).subarray(0, 5).toString() === "%PDF-", "it prints");
await page.emulateMedia({ media: "screen" });
await page.setViewportSize({ width: 420, height: 800 });
await open("small");
const wide = await page.evaluate(() => [...document.querySelectorAll(".explore, .explore *")]
	.filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.id || e.className || e.tagName));
ok(await page.locator("#graph").isVisible() && wide.length === 0, "a narrow screen, or a large font, has the graph, too", wide);
await page.locator("#nodes button").getByText("shop/api").press("Enter");
await page.locator("#detail button").first().press("Enter");
ok((await page.locator("#detail").innerText()).includes("2026-01-01 10:00:00 UTC"), "and the list and the evidence, by keyboard",
	await page.locator("#detail").innerText());
await page.locator("#explore").scrollIntoViewIfNeeded();
await picture("report-narrow");
await page.setViewportSize({ width: 1400, height: 900 });

const plain = await browser.newContext({ javaScriptEnabled: false });
const still = await plain.newPage();
await still.goto(pathToFileURL(pages + "/small.html").href);
ok(await still.locator(".picture").isVisible() && !await still.locator("#explore").isVisible(), "without scripts there is the picture");
await plain.close();
await open("static");
ok(await page.evaluate(() => document.scripts.length) === 0 && await page.locator(".picture").isVisible(), "html-static has no script");

const began = Date.now();
await open("large");
await page.locator("#explore").scrollIntoViewIfNeeded();
const [many, lines] = await counts();
console.log("# 300 workloads, 3,000 edges: shown after " + (Date.now() - began) / 1000 + " s");
ok(many === 300 && lines > 2500, "300 workloads and 3,000 edges", many, lines);
ok(await page.evaluate(() => {
	const r = nanosegGraph.elements().renderedBoundingBox(), g = document.getElementById("graph");
	const boxes = nanosegGraph.nodes().not(".group").map((x) => x.boundingBox({ includeLabels: false }));

	return r.x1 >= 0 && r.y1 >= 0 && r.x2 <= g.clientWidth && r.y2 <= g.clientHeight &&
		!boxes.some((a, i) => boxes.some((c, k) => k > i && a.x1 < c.x2 && c.x1 < a.x2 && a.y1 < c.y2 && c.y1 < a.y2));
}), "all of it fits, and no peer hides another");
await picture("report-large");
await page.locator("#nodes button").first().click();
const clear = () => page.evaluate(() => nanosegGraph.edges().not(".faded").length);
ok(await until(clear, (n) => n < 60) < 60, "choosing one fades the others");
const pixels = () => page.evaluate(() => nanosegGraph.nodes(".near, .group").map((x) => parseFloat(x.style("font-size")) * nanosegGraph.zoom()));
ok(Math.min(...await pixels()) >= 10.9 && (await pixels()).length > 15, "its neighbours and the projects can be read", await pixels());
await page.locator("#zoom-in").click();
ok(Math.min(...await until(pixels, (x) => Math.min(...x) >= 10.9 && Math.max(...x) < 20)) >= 10.9, "at any scale", await pixels());
await page.locator("#fit").click();
await picture("report-large-chosen");
await open("huge");
ok(await page.locator("#draw").isVisible() && !await page.locator(".picture").isVisible(), "a very large one is drawn when asked for");
await page.locator("#draw").click();
ok((await until(counts, ([n]) => n >= 100))[0] >= 100, "and then it is", await counts());
ok(said.length === 0, "without a complaint", said);
await browser.close();
console.log("1.." + n);
