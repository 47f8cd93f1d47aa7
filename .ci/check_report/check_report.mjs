// Opens reports in headless Chromium as a reader would, and fails on what would annoy one.
//
// Usage: node check_report.mjs REPORT.html... [--shots FOLDER]
// CHROMIUM=... names the browser where it is not found.
//
// Widths of 360, 768 and 1280 pixels, light and dark, and print: no console error, no request, no
// horizontal scroll of the page, no clipped text in a plot, no serious or critical issue of
// axe-core; the explorer answers to its controls; without JavaScript the tables are all there.
import { existsSync, mkdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const MOST_BYTES = 2_000_000;
const WIDTHS = [360, 768, 1280];
const MARGINS = { top: "1cm", bottom: "1cm", left: "1cm", right: "1cm" };
const A4_WIDTH = 718; // pixels between those margins
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const found = [];
const complain = (where, what) => {
  found.push(`${where}: ${what}`);
};

function watch(page, where) {
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complain(where, message.text());
  });
  page.on("pageerror", (error) => complain(where, String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith("file:") || request.resourceType() !== "document") {
      complain(where, `request of ${request.url()}`);
    }
  });
}

// Runs in the page.
function layoutFaults() {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    faults.push(`scrolls sideways: ${root.scrollWidth} of ${root.clientWidth} pixels`);
    for (const element of document.body.querySelectorAll("*")) {
      const wide = element.getBoundingClientRect().right > root.clientWidth + 1;
      if (wide && !element.closest(".scroll, svg")) {
        faults.push(`too wide: <${element.tagName.toLowerCase()} class="${element.className}">`);
      }
    }
  }
  const overlap = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2.5;
  for (const svg of document.querySelectorAll("figure > svg")) {
    const box = svg.getBoundingClientRect();
    if (!box.width) continue;
    const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const boxes = texts.map((text) => text.getBoundingClientRect());
    texts.forEach((text, i) => {
      const at = boxes[i];
      if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 ||
          at.bottom > box.bottom + 1) {
        faults.push(`${svg.parentNode.id}: clipped text ${JSON.stringify(text.textContent)}`);
      }
      for (let j = 0; j < i; j += 1) {
        if (overlap(at, boxes[j])) {
          faults.push(`${svg.parentNode.id}: ${JSON.stringify(texts[j].textContent)} overlaps ` +
            JSON.stringify(text.textContent));
        }
      }
      const size = Number.parseFloat(getComputedStyle(text).fontSize) * (box.width /
        svg.viewBox.baseVal.width);
      if (size < 8) faults.push(`${svg.parentNode.id}: text of ${size.toFixed(1)} pixels`);
    });
  }
  return faults;
}

async function checkScreen(browser, file, width, scheme, shots) {
  const where = `${basename(dirname(file))} at ${width} pixels, ${scheme}`;
  const context = await browser.newContext({
    viewport: { width, height: 900 }, colorScheme: scheme, bypassCSP: false,
  });
  const page = await context.newPage();
  watch(page, where);
  await page.goto(pathToFileURL(file).href);
  const name = `${basename(dirname(file))}-${width}-${scheme}`;
  for (const fault of await page.evaluate(layoutFaults)) complain(where, fault);
  if (await page.$("#explorer")) await useExplorer(page, where);
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  await page.evaluate(() => {
    for (const element of document.querySelectorAll("details")) element.open = true;
  });
  for (const fault of await page.evaluate(layoutFaults)) complain(`${where}, unfolded`, fault);
  await context.close();

  // The page's policy forbids foreign scripts; axe gets a context in which it does not count.
  const bare = await browser.newContext({
    viewport: { width, height: 900 }, colorScheme: scheme, bypassCSP: true,
  });
  const audited = await bare.newPage();
  await audited.goto(pathToFileURL(file).href);
  await audited.addScriptTag({ path: AXE });
  const { violations } = await audited.evaluate(() => globalThis.axe.run(document, {
    resultTypes: ["violations"],
  }));
  for (const violation of violations) {
    if (!["serious", "critical"].includes(violation.impact)) continue;
    const nodes = violation.nodes.map((node) => node.target.join(" ")).slice(0, 4).join(", ");
    complain(where, `axe ${violation.impact} ${violation.id}: ${violation.help} (${nodes})`);
  }
  await bare.close();
}

async function useExplorer(page, where) {
  if (!(await page.isVisible("#explorer"))) {
    complain(where, "the explorer is hidden");
    return;
  }
  const read = () => page.textContent("#explorer .cards");
  const before = await read();
  await page.focus("#bar");
  for (let i = 0; i < 13; i += 1) await page.keyboard.press("ArrowLeft");
  if ((await page.textContent("#bar-value")) !== "0.85") complain(where, "arrow keys turn no bar");
  if ((await read()) === before) complain(where, "another bar shows the same figures");
  const saved = await read();
  await page.fill("#traffic", "123456");
  if ((await read()) === saved) complain(where, "other traffic saves the same energy");
  await page.fill("#traffic", "");
  if (/NaN|undefined|null/.test(await page.textContent("#explorer"))) {
    complain(where, "the explorer shows NaN for no traffic");
  }
  await page.fill("#traffic", "10000");
  const plot = page.locator("#plot-frontier > svg:visible");
  await plot.scrollIntoViewIfNeeded();
  const box = await plot.boundingBox();
  let hovered = 0;
  for (let i = 2; i < 18; i += 1) {
    await page.mouse.move(box.x + (box.width * i) / 20, box.y + box.height * 0.35);
    if (await page.isVisible("#plot-frontier .tip")) {
      hovered += 1;
      const tip = await page.locator("#plot-frontier .tip").boundingBox();
      const width = page.viewportSize().width;
      if (tip.x < 0 || tip.x + tip.width > width + 1) complain(where, "the tip leaves the page");
    }
  }
  if (!hovered) complain(where, "nothing to see under the pointer");
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.move(0, 0);
  await page.focus("#bar");
  await page.keyboard.press("End");
  for (let i = 0; i < 2; i += 1) await page.keyboard.press("ArrowLeft");
  await page.evaluate(() => scrollTo(0, 0));
}

async function checkPlain(browser, file, shots) {
  const where = `${basename(dirname(file))} without JavaScript`;
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  watch(page, where);
  await page.goto(pathToFileURL(file).href);
  if (await page.locator("#explorer").isVisible()) complain(where, "the explorer is shown");
  if (!(await page.locator("section table").count())) complain(where, "there are no tables");
  await context.close();

  const paper = await browser.newPage({ viewport: { width: A4_WIDTH, height: 1000 } });
  await paper.goto(pathToFileURL(file).href);
  await paper.emulateMedia({ media: "print" });
  const printed = `${basename(dirname(file))} in print`;
  for (const fault of await paper.evaluate(layoutFaults)) complain(printed, fault);
  if (await paper.locator("nav, #explorer").first().isVisible()) {
    complain(printed, "what only works on a screen is printed");
  }
  if (shots) {
    const name = join(shots, `${basename(dirname(file))}-print`);
    await paper.screenshot({ path: `${name}.png`, fullPage: true });
    await paper.pdf({ path: `${name}.pdf`, format: "A4", margin: MARGINS });
  }
  await paper.close();
}

const words = process.argv.slice(2);
const flag = words.indexOf("--shots");
const shots = flag < 0 ? null : resolve(words.splice(flag, 2)[1]);
const executablePath = process.env.CHROMIUM || BROWSERS.find(existsSync);
if (!words.length || !executablePath) {
  console.error(words.length ? "no Chromium: name one with CHROMIUM=..."
    : "usage: node check_report.mjs REPORT.html... [--shots FOLDER]");
  process.exit(2);
}
if (shots) mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
for (const word of words) {
  const file = resolve(word);
  const { size } = statSync(file);
  if (size > MOST_BYTES) complain(word, `${size} bytes`);
  for (const width of WIDTHS) {
    for (const scheme of ["light", "dark"]) {
      await checkScreen(browser, file, width, scheme, shots);
    }
  }
  await checkPlain(browser, file, shots);
}
await browser.close();
for (const line of [...new Set(found)]) console.log(line);
console.log(found.length ? `${new Set(found).size} findings` : `${words.length} reports, no finding`);
process.exit(found.length ? 1 : 0);
