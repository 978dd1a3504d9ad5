// People before a gate: how they arrive, wait, are let in, come back, are told of the end and queue again.
//
//   node journey.mjs BASE_URL
//
// The gate lets two people in at a time, for SESSION_S seconds (35 unless the environment says otherwise), and tells
// them 20 s before the end. Nobody else is there.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AXE, expect, launch, launchPersistent, violations } from './chromium.mjs';

const BASE = process.argv[2].replace(/\/$/, '');
const SESSION_S = Number(process.env.SESSION_S || 35);
const FRENCH = { locale: 'fr-FR', viewport: { width: 320, height: 640 } };
const ENGLISH = { locale: 'en-GB', viewport: { width: 1280, height: 800 } };
// Longer than any pause that a page of so few people is told, and than a turn takes.
const SOON = 30_000;
const axe = readFileSync(AXE, 'utf8');
const began = Date.now();
const complaints = [];

const step = (what) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${what}`);
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

// A page that is looked after: whatever its browser complains of counts.
async function open(context) {
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on('console', (message) => {
    // A waiting page is a 503, which browsers report as an error.
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) {
      complaints.push(`${page.url()}: ${message.text()}`);
    }
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(`${BASE}/`)) complaints.push(`${page.url()} asks for ${request.url()}`);
  });
  return page;
}

const state = (page) => page.evaluate(() => document.getElementById('turn')?.getAttribute('data-state') ?? 'portal');
const text = (page, id) => page.evaluate((id) => document.getElementById(id)?.textContent ?? '', id);

async function until(page, wanted, within = SOON) {
  const end = Date.now() + within;
  let is;
  do {
    // A page that is just being left can't be asked.
    try { is = await state(page); } catch { is = 'between pages'; }
    if (is === wanted) return;
    await pause(200);
  } while (Date.now() < end);
  throw new Error(`${page.url()}: expected ${wanted} within ${within} ms, and it is ${is}`);
}

async function accessible(page, part) {
  await page.evaluate(axe);
  for (const violation of await violations(page, part)) complaints.push(`${page.url()}: ${violation}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (over > 0) complaints.push(`${page.url()}: ${over} px wider than the window`);
}

// By keyboard alone, as far as the button that is folded away.
async function leave(page) {
  await page.goto(`${BASE}/preau/session`);
  await page.focus('summary');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await until(page, 'over');
}

async function journey(browser, directory) {
  const sitters = [];
  for (const name of ['first', 'second']) {
    const page = await open(await browser.newContext(ENGLISH));
    await page.goto(`${BASE}/lesson?by=${name}`);
    await until(page, 'portal');
    expect(page.url() === `${BASE}/lesson?by=${name}`, `the ${name} is at ${page.url()}`);
    sitters.push(page);
  }
  step('two are in');

  let pupil = await launchPersistent(directory, FRENCH);
  const waits = await open(pupil);
  const answer = await waits.goto(`${BASE}/cours?page=2`);
  expect(answer.status() === 503, `a page for those who wait is a ${answer.status()}`);
  await until(waits, 'waiting');
  expect(await waits.evaluate(() => document.documentElement.lang) === 'fr', 'not in French');
  expect(/file d’attente/.test(await text(waits, 'title')), await text(waits, 'title'));
  await accessible(waits);
  const second = await open(pupil);
  await second.goto(`${BASE}/cours?page=3`);
  await until(second, 'waiting');
  step('a pupil waits, in French, in two tabs');

  // Places are told apart by the second.
  await pause(1_200);
  const english = await open(await browser.newContext(ENGLISH));
  await english.goto(`${BASE}/lesson`);
  await until(english, 'waiting');
  await accessible(english);
  const place = await text(english, 'place');
  expect(/^One person is ahead/.test(place), `the two tabs are one person: ${place}`);
  const tab = await english.title();
  expect(/ahead of you/.test(tab), tab);
  step('another waits, in English, behind one person');

  await pause(1_200);
  const plain = await (await browser.newContext({ ...FRENCH, javaScriptEnabled: false })).newPage();
  await plain.goto(`${BASE}/cours?sans=javascript`);
  const markup = await plain.content();
  expect(/http-equiv="refresh"/.test(markup) && /2&nbsp;personnes|2\u00a0personnes/.test(markup), markup);
  step('a third waits, without JavaScript');

  await leave(sitters[0]);
  step('one of the two ends the session');
  await until(waits, 'portal');
  expect(waits.url() === `${BASE}/cours?page=2`, `the pupil is at ${waits.url()}`);
  await until(second, 'portal');
  expect(second.url() === `${BASE}/cours?page=3`, `the pupil’s second tab is at ${second.url()}`);
  const since = Date.now();
  step('the pupil is let in, in both tabs, each where it wanted to go');
  await english.waitForFunction(() => /^You are among the first/.test(document.getElementById('place').textContent), null, { timeout: SOON });
  step('the place of the one behind has gone down');

  await pupil.close();
  pupil = await launchPersistent(directory, FRENCH);
  const back = await open(pupil);
  await back.goto(`${BASE}/cours?page=4`);
  expect(await state(back) === 'portal', `who comes back after closing the browser finds ${await state(back)}`);
  expect(await state(english) === 'waiting', 'who closed the browser took another slot');
  step('the pupil closes the browser, comes back, and is still in');

  const asked = await text(english, 'asked');
  await english.waitForFunction((asked) => document.getElementById('asked').textContent !== asked, asked, { timeout: SOON });
  step('the page asks by itself');
  await english.context().setOffline(true);
  await english.waitForFunction(() => !document.getElementById('failed').hidden, null, { timeout: SOON });
  expect(/keeps trying/.test(await text(english, 'failed')), await text(english, 'failed'));
  await english.context().setOffline(false);
  await english.waitForFunction(() => document.getElementById('failed').hidden, null, { timeout: SOON });
  step('it says so while it gets no answer, and goes on by itself');

  await leave(sitters[1]);
  await until(english, 'portal');
  expect(english.url() === `${BASE}/lesson`, `the other is at ${english.url()}`);
  step('the other is let in');

  // The portal's own page includes the script; this one may not.
  if (!await back.$('script[src="/preau/session.js"]')) await back.addScriptTag({ url: `${BASE}/preau/session.js` });
  await back.waitForSelector('.preau-banner', { timeout: SESSION_S * 1_000 });
  expect(/Votre session se termine bientôt/.test(await back.textContent('.preau-banner')), await back.textContent('.preau-banner'));
  await accessible(back, '.preau-banner');
  step('the portal’s page says that the session ends soon');
  await back.click('.preau-more');
  await until(back, 'ending');
  expect(/^Il vous reste/.test(await text(back, 'left')), await text(back, 'left'));
  await accessible(back);
  step('so does the page of the session');
  await until(back, 'over', SESSION_S * 1_000 + SOON);
  await accessible(back);
  step(`it is over, ${((Date.now() - since) / 1000).toFixed(0)} s after it began`);

  const end = Date.now() + SOON;
  while (/id="turn"/.test(await plain.content())) {
    expect(Date.now() < end, `without JavaScript nobody is let in: ${await plain.content()}`);
    await pause(500);
  }
  expect(plain.url() === `${BASE}/cours?sans=javascript`, `without JavaScript people get to ${plain.url()}`);
  step('without JavaScript people are let in too');

  await back.click('form[action="/preau/again"] button');
  await back.waitForFunction(() => document.getElementById('turn')?.getAttribute('data-state') !== 'over', null, { timeout: SOON });
  step(`the pupil queues again: ${await state(back)}`);
  await leave(english);
  await until(back, 'portal');
  step('and is let in again, where another makes room');
  await pupil.close();
}

const directory = mkdtempSync(join(tmpdir(), 'preau-browser-'));
const browser = await launch();
try {
  await journey(browser, directory);
} finally {
  await browser.close();
  rmSync(directory, { recursive: true, force: true });
}
for (const line of new Set(complaints)) console.error(line);
step(`${complaints.length} complaints`);
process.exitCode = complaints.length ? 1 : 0;
