// The system's Chromium, which asks nothing of anybody but the pages it is sent to.
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);

export const AXE = require.resolve('axe-core/axe.min.js');

const OPTIONS = {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--hide-scrollbars',
  ],
};

export const launch = () => chromium.launch(OPTIONS);

// One whose cookies outlive it.
export const launchPersistent = (directory, options) =>
  chromium.launchPersistentContext(directory, { ...OPTIONS, ...options });

// What axe finds against WCAG 2.2 AA and its best practices in the page or a part of it, one line each.
export async function violations(page, part = 'html') {
  const { violations } = await page.evaluate((part) => window.axe.run(part, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations'],
  }), part);
  return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html}`));
}

export function expect(is, what) {
  if (!is) throw new Error(what);
}
