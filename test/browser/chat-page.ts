// A page object: one user on the chat page, in a browser context of its own.
import { randomBytes } from 'node:crypto'
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core'
import { expect } from 'vitest'
import { locate, needs } from '../../scripts/needs.mjs'

/** Deadline of everything that a page does. Long, so that a busy machine does not fail the tests. */
export const deadlineMs = 15_000

export async function launchBrowser(): Promise<Browser> {
  const executablePath = await locate(needs.chromium)
  if (executablePath === undefined)
    throw new Error('There is no Chromium: run `npm run pretest`, or set PARLEY_CHROMIUM')
  const args = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ]
  return chromium.launch({ executablePath, args })
}

/** Returns a unique name, so that tests on one gateway do not affect each other. */
export function freshName(prefix: string): string {
  return `${prefix}-${randomBytes(3).toString('hex')}`
}

export interface SignInOptions {
  /** The address of the page. */
  readonly url: string
  readonly tenant?: string
  readonly user: string
  readonly team?: string
  readonly context?: BrowserContextOptions
}

export class ChatPage {
  readonly page: Page
  /** Errors on the console and uncaught exceptions. */
  readonly problems: string[] = []

  constructor(page: Page) {
    this.page = page
    page.setDefaultTimeout(deadlineMs)
    page.on('console', (message) => message.type() === 'error' && this.problems.push(message.text()))
    page.on('pageerror', (error) => this.problems.push(String(error)))
  }

  /** Opens the page without signing in. */
  static async open(browser: Browser, url: string, context: BrowserContextOptions = {}): Promise<ChatPage> {
    const page = await (await browser.newContext(context)).newPage()
    const chatPage = new ChatPage(page)
    await page.goto(url)
    return chatPage
  }

  /** Signs in with a link, as `npm start` prints them, and waits for the connection. */
  static async signIn(browser: Browser, options: SignInOptions): Promise<ChatPage> {
    const { context, team, tenant = 'demo/acme', url, user } = options
    const fields = new URLSearchParams({ tenant, user, ...(team !== undefined && { team }) })
    const chatPage = await ChatPage.open(browser, `${url}#${fields.toString()}`, context)
    await chatPage.status('Connected')
    return chatPage
  }

  async close(): Promise<void> {
    await this.page.context().close()
  }

  get message(): Locator {
    return this.page.locator('#message')
  }

  get people(): Locator {
    return this.page.locator('#people-list')
  }

  /** Returns the list entry of a room or a direct conversation. */
  conversation(name: string): Locator {
    return this.page.locator('#rooms .item').filter({ has: this.page.getByText(name, { exact: true }) })
  }

  /** Waits until the status shows the text. */
  async status(text: string | RegExp): Promise<void> {
    await this.page.locator('#status-text').filter({ hasText: text }).waitFor()
  }

  async join(room: string): Promise<void> {
    await this.page.locator('#join-name').fill(room)
    await this.page.locator('#join-name').press('Enter')
    await this.page
      .locator('#title')
      .filter({ hasText: `#${room}` })
      .waitFor()
  }

  /** Sends a message and waits until the page shows it. */
  async send(text: string): Promise<void> {
    await this.message.fill(text)
    await this.message.press('Enter')
    await this.page.locator('#messages .text').getByText(text, { exact: true }).last().waitFor()
  }

  async texts(): Promise<string[]> {
    return this.page.locator('#messages .text').allTextContents()
  }
}

/** Waits until each element is visible. */
export async function expectVisible(...locators: readonly Locator[]): Promise<void> {
  for (const locator of locators) await locator.waitFor({ state: 'visible', timeout: deadlineMs })
}

/** Waits until the element is hidden. */
export async function expectHidden(locator: Locator): Promise<void> {
  await locator.waitFor({ state: 'hidden', timeout: deadlineMs })
}

/** Waits until the page shows exactly these messages in this order, all of them delivered. */
export async function expectTexts(chatPage: ChatPage, texts: readonly string[]): Promise<void> {
  await expect.poll(() => chatPage.texts(), { timeout: deadlineMs }).toEqual(texts)
  await expect
    .poll(() => chatPage.page.locator('#messages .delivery').count(), { timeout: deadlineMs })
    .toBe(0)
}
