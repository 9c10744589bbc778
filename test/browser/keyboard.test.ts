import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { DevProcess } from '../support/dev-process.js'
import { deadlineMs, freshName, launchBrowser, Person } from './person.js'

let browser: Browser
let gateway: DevProcess
let ada: Person

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

beforeEach(async () => {
  ada = await Person.at(browser, gateway.url)
})

afterEach(async () => {
  await ada.leave()
  expect(ada.problems).toEqual([])
})

/** The id of what has the focus, or its text. */
async function focused(): Promise<string> {
  return ada.page.evaluate(
    () => document.activeElement?.id || document.activeElement?.textContent?.trim() || '',
  )
}

async function press(...keys: string[]): Promise<void> {
  for (const key of keys) await ada.page.keyboard.press(key)
}

async function tabTo(id: string): Promise<void> {
  for (let steps = 0; steps < 40; steps += 1) {
    if ((await focused()) === id) return
    await press('Tab')
  }
  throw new Error(`Tab does not lead to ${id}`)
}

/** Comes in through the form, which has the focus in the name already. */
async function enter(): Promise<void> {
  await expect.poll(focused, { timeout: deadlineMs }).toBe('user')
  await ada.page.keyboard.type('ada')
  await press('Enter')
  await ada.status('Connected')
  await expect.poll(focused, { timeout: deadlineMs }).toBe('message')
}

test('one comes in, writes two lines, changes the room, joins another and leaves it by keyboard alone', async () => {
  await enter()
  const text = freshName('first line')
  await ada.page.keyboard.type(text)
  await press('Shift+Enter')
  await ada.page.keyboard.type('second line')
  await press('Enter')
  await ada.page.locator('#messages').getByText(`${text} second line`).waitFor()
  expect((await ada.texts()).at(-1)).toBe(`${text}\nsecond line`)
  expect(await focused()).toBe('message')

  await press('Alt+ArrowDown')
  expect(await ada.page.locator('#title').textContent()).not.toBe('#general')
  await press('Alt+ArrowUp')
  expect(await ada.page.locator('#title').textContent()).toBe('#general')

  await tabTo('join-name')
  await ada.page.keyboard.type('team:elsewhere')
  await press('Enter')
  await ada.page.locator('#title').getByText('#team:elsewhere').waitFor()
  await tabTo('leave')
  await press('Enter')
  await ada.page.locator('#title').getByText('#general').waitFor()
})

test('a link skips to the message box', async () => {
  await enter()
  // Round the end of the page, and in again at its beginning.
  await tabTo('skip')
  await press('Enter')
  expect(await focused()).toBe('message')
})

test('Escape leads back to the message box', async () => {
  await enter()
  await tabTo('join-name')
  await press('Escape')
  expect(await focused()).toBe('message')
})

test('whatever has the focus shows it', async () => {
  await enter()
  const seen = new Set<string>()
  for (let steps = 0; steps < 25; steps += 1) {
    await press('Tab')
    seen.add(await focused())
    const outline = await ada.page.evaluate(() => {
      const element = document.activeElement
      if (!element || element === document.body) return 'left the page'
      const { outlineStyle, outlineWidth } = getComputedStyle(element)
      return outlineStyle === 'none' ? `none on ${element.id}` : outlineWidth
    })
    expect(['2px', 'left the page']).toContain(outline)
  }
  expect(Array.from(seen)).toEqual(
    expect.arrayContaining(['join-name', 'sign-out', 'timeline', 'message', 'leave']),
  )
})

test('a new message is read aloud, once, and one’s own is not', async () => {
  await enter()
  const bob = await Person.arrive(browser, { url: gateway.url, user: 'bob' })
  const text = freshName('listen')
  await bob.say(text)
  const announcer = ada.page.locator('#announcer')
  await announcer.getByText(`bob: ${text}`).waitFor({ state: 'attached' })
  await ada.say('I heard')
  expect(await announcer.textContent()).toBe(`bob: ${text}`)
  await bob.leave()
})
