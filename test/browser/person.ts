// Somebody at the page: a browser context of their own, and the few things that people do.
import { randomBytes } from 'node:crypto'
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core'
import { expect } from 'vitest'
import { locate, needs } from '../../scripts/needs.mjs'

/** For everything that a page does; a busy machine is slow, not wrong. */
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

/** Never met before, so that tests on one gateway do not hear each other. */
export function freshName(prefix: string): string {
  return `${prefix}-${randomBytes(3).toString('hex')}`
}

export interface Arrival {
  /** Where the page is served. */
  readonly url: string
  readonly tenant?: string
  readonly user: string
  readonly team?: string
  readonly context?: BrowserContextOptions
}

export class Person {
  readonly page: Page
  /** What the browser complained about: errors on the console, uncaught exceptions. */
  readonly problems: string[] = []

  constructor(page: Page) {
    this.page = page
    page.setDefaultTimeout(deadlineMs)
    page.on('console', (message) => message.type() === 'error' && this.problems.push(message.text()))
    page.on('pageerror', (error) => this.problems.push(String(error)))
  }

  /** Opens the page, and no more. */
  static async at(browser: Browser, url: string, context: BrowserContextOptions = {}): Promise<Person> {
    const page = await (await browser.newContext(context)).newPage()
    const person = new Person(page)
    await page.goto(url)
    return person
  }

  /** By a link, as `npm start` prints them. */
  static async arrive(browser: Browser, arrival: Arrival): Promise<Person> {
    const { context, team, tenant = 'demo/acme', url, user } = arrival
    const facts = new URLSearchParams({ tenant, user, ...(team !== undefined && { team }) })
    const person = await Person.at(browser, `${url}#${facts.toString()}`, context)
    await person.status('Connected')
    return person
  }

  async leave(): Promise<void> {
    await this.page.context().close()
  }

  get message(): Locator {
    return this.page.locator('#message')
  }

  get people(): Locator {
    return this.page.locator('#people-list')
  }

  /** The list entry of a room or a conversation. */
  conversation(name: string): Locator {
    return this.page.locator('#rooms .item').filter({ has: this.page.getByText(name, { exact: true }) })
  }

  async status(words: string | RegExp): Promise<void> {
    await this.page.locator('#status-text').filter({ hasText: words }).waitFor()
  }

  async join(room: string): Promise<void> {
    await this.page.locator('#join-name').fill(room)
    await this.page.locator('#join-name').press('Enter')
    await this.page
      .locator('#title')
      .filter({ hasText: `#${room}` })
      .waitFor()
  }

  /** Writes, and waits until it stands in the list. */
  async say(text: string): Promise<void> {
    await this.message.fill(text)
    await this.message.press('Enter')
    await this.page.locator('#messages .text').getByText(text, { exact: true }).last().waitFor()
  }

  async texts(): Promise<string[]> {
    return this.page.locator('#messages .text').allTextContents()
  }
}

/** In sight, at the latest in a while. */
export async function expectShown(...locators: readonly Locator[]): Promise<void> {
  for (const locator of locators) await locator.waitFor({ state: 'visible', timeout: deadlineMs })
}

/** Out of sight, at the latest in a while. */
export async function expectGone(locator: Locator): Promise<void> {
  await locator.waitFor({ state: 'hidden', timeout: deadlineMs })
}

/** Exactly these messages, in this order, all of them delivered. */
export async function expectTexts(person: Person, texts: readonly string[]): Promise<void> {
  await expect.poll(() => person.texts(), { timeout: deadlineMs }).toEqual(texts)
  await expect.poll(() => person.page.locator('#messages .delivery').count(), { timeout: deadlineMs }).toBe(0)
}
