// Takes the screenshot of the chat page for the README: `npm run build && node scripts/screenshot.mjs`. It
// starts a gateway, and several browser pages hold a conversation on it.
import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'
import { locate, needs } from './needs.mjs'
import { root } from './run.mjs'

const screenshot = join(root, 'docs/images/chat.png')
const viewport = { width: 1200, height: 750 }

/**
 * The messages with their senders and rooms. The screenshot shows ada's page, so the last message in
 * `general` is hers.
 */
const conversation = [
  { user: 'grace', room: 'team:red', text: 'The failover drill is on Thursday' },
  { user: 'linus', room: 'announcements', text: 'Parley 0.1 is out.' },
  { user: 'grace', room: 'general', text: 'Good morning! Did last night’s Redis failover reach anybody?' },
  {
    user: 'linus',
    room: 'general',
    text: 'I saw it in Grafana, and nowhere else.',
  },
  {
    user: 'linus',
    room: 'general',
    text: 'Clients reconnected by themselves and recovered what they had missed.',
  },
  {
    user: 'ada',
    room: 'general',
    text: 'I was in a tunnel at the time. Back out, the page said “you missed nothing”.',
  },
  {
    user: 'grace',
    room: 'general',
    text: 'Then let’s give the shop its own tenant today:\nkubectl apply -f globex.yaml',
  },
  {
    user: 'ada',
    room: 'general',
    text: 'Applied. Their page is up, and our rooms are none of their business.',
  },
]

/** @returns {Promise<{ url: string, stop: () => void }>} */
async function startGateway() {
  const args = ['dist/cli/main.js', 'dev', '--port', '0', '--ops-port', '0']
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: child.stdout })) {
    const [url] = /http:\/\/localhost:\d+\//.exec(line) ?? []
    if (url === undefined) continue
    child.stdout.resume()
    return { url, stop: () => child.kill() }
  }
  throw new Error('The gateway did not start: run `npm run build` first')
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 */
async function openPage(browser, url) {
  const context = await browser.newContext({ viewport, colorScheme: 'light', locale: 'en-GB' })
  const page = await context.newPage()
  await page.goto(url)
  await page.locator('#status-text').getByText('Connected').waitFor()
  return page
}

/** @param {import('playwright-core').Page} page */
async function send(page, { room = '', text = '' }) {
  const [, name = room] = room.split('#')
  await page.locator('#room-list .item').getByText(name, { exact: true }).click()
  await page.locator('#message').fill(text)
  await page.locator('#message').press('Enter')
  await page.locator('#messages .message:not(.sending) .text').getByText(text, { exact: true }).waitFor()
}

const gateway = await startGateway()
const executablePath = await locate(needs.chromium)
if (executablePath === undefined)
  throw new Error(`Chromium is missing: install it, or set ${needs.chromium.variable}`)
const browser = await chromium.launch({
  executablePath,
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--hide-scrollbars',
  ],
})
try {
  const open = (/** @type {string} */ claims) =>
    openPage(browser, `${gateway.url}#tenant=demo/acme&${claims}`)
  const ada = await open('user=ada&team=red')
  const pages = { ada, grace: await open('user=grace&team=red'), linus: await open('user=linus&role=admin') }
  // A second page of the same user, so that the screenshot shows a user with two connections.
  await open('user=linus&role=admin')
  for (const { user, ...message } of conversation)
    await send(pages[/** @type {keyof typeof pages} */ (user)], message)
  await pages.grace.locator('#people-list').getByText('ada').click()
  await pages.grace.locator('#message').fill('Lunch at noon?')
  await pages.grace.locator('#message').press('Enter')
  await ada.locator('#direct-list .badge').getByText('1').waitFor()

  await mkdir(join(screenshot, '..'), { recursive: true })
  await ada.screenshot({ path: screenshot })
  console.log(screenshot)
} finally {
  await browser.close()
  gateway.stop()
}
