// Opens every way that the page can look (`cargo run -p gate --example variants -- DIRECTORY`), narrow and wide, light
// and dark, and checks that everybody can read and use it, and that it asks nothing of anybody.
//
//   node variants.mjs DIRECTORY [SCREENSHOTS]
import { readFileSync, readdirSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { AXE, launch, violations } from './chromium.mjs';

const MOST_BYTES = 30_000;
const TURN = '/preau/turn?';
const [directory, screenshots] = process.argv.slice(2);
const files = readdirSync(directory).filter((name) => name.endsWith('.html')).sort();
const policy = readFileSync(join(directory, 'csp.txt'), 'utf8');
const axe = readFileSync(AXE, 'utf8');
const wrong = [];

// As the gate serves them: under the policy. What a page asks once it is shown long enough gets no answer.
const server = createServer((request, response) => {
  if (request.url.startsWith(TURN)) return;
  const name = decodeURIComponent(request.url.slice(1));
  if (!files.includes(name)) { response.writeHead(404).end(); return; }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy });
  response.end(readFileSync(join(directory, name)));
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const base = `http://127.0.0.1:${server.address().port}/`;

// Too small to touch, measured as WCAG 2.5.5 does; text links in a sentence would not count, and there are none.
const small = () => [...document.querySelectorAll('a, button, summary')]
  .filter((element) => element.checkVisibility())
  .filter((element) => { const { width, height } = element.getBoundingClientRect(); return width < 44 || height < 44; })
  .map((element) => element.textContent);

// Colours are the same in all languages, and all words stand in both widths.
const WAYS = [
  { width: 320, colorScheme: 'light', which: () => true },
  { width: 1280, colorScheme: 'dark', which: () => true },
  { width: 320, colorScheme: 'dark', which: (name) => name.endsWith('.fr.html') },
  { width: 1280, colorScheme: 'light', which: (name) => name.endsWith('.fr.html') },
];

async function look(browser, { width, colorScheme, which }) {
  const context = await browser.newContext({ viewport: { width, height: 720 }, colorScheme });
  await context.addInitScript(axe);
  const page = await context.newPage();
  let name;
  const complain = (what) => wrong.push(`${name} ${width} ${colorScheme}: ${what}`);
  page.on('console', (message) => { if (message.type() === 'error') complain(message.text()); });
  page.on('pageerror', (error) => complain(error.message));
  page.on('request', (request) => {
    const asked = request.url();
    if (asked !== base + name && !asked.startsWith(base + TURN.slice(1))) complain(`asks for ${asked}`);
  });
  for (name of files.filter(which)) {
    const response = await page.goto(base + name);
    const bytes = (await response.body()).length;
    if (bytes >= MOST_BYTES) complain(`${bytes} bytes`);
    if (screenshots) {
      const path = join(screenshots, `${name.slice(0, -5)}.${width}.${colorScheme}.png`);
      await page.screenshot({ path, fullPage: true });
    }
    // What is folded away is to be as good.
    await page.evaluate(() => document.querySelectorAll('details').forEach((details) => { details.open = true; }));
    for (const violation of await violations(page)) complain(violation);
    for (const text of await page.evaluate(small)) complain(`under 44 px: ${text}`);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (over > 0) complain(`${over} px wider than the window`);
    looked += 1;
  }
  await context.close();
}

let looked = 0;
const began = Date.now();
const browser = await launch();
try {
  if (screenshots) mkdirSync(screenshots, { recursive: true });
  await Promise.all(WAYS.map((way) => look(browser, way)));
} finally {
  await browser.close();
  server.close();
}
for (const line of new Set(wrong)) console.error(line);
console.log(`looked at ${looked} pages, narrow and wide, light and dark: ${wrong.length} wrong, ${Date.now() - began} ms`);
process.exitCode = wrong.length || !looked ? 1 : 0;
