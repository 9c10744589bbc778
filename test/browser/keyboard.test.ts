import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { DevProcess } from '../support/dev-process.js'
import { deadlineMs, freshName, launchBrowser, ChatPage } from './chat-page.js'

let browser: Browser
let gateway: DevProcess
let ada: ChatPage

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

beforeEach(async () => {
  ada = await ChatPage.open(browser, gateway.url)
})

afterEach(async () => {
  await ada.close()
  expect(ada.problems).toEqual([])
})

/** Returns the id of the focused element, or its text when it has no id. */
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

/** Signs in through the form, whose name field has the focus. */
async function signIn(): Promise<void> {
  await expect.poll(focused, { timeout: deadlineMs }).toBe('user')
  await ada.page.keyboard.type('ada')
  await press('Enter')
  await ada.status('Connected')
  await expect.poll(focused, { timeout: deadlineMs }).toBe('message')
}

test('a user can sign in, write two lines, change, join and leave rooms with the keyboard', async () => {
  await signIn()
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

test('the skip link moves the focus to the message box', async () => {
  await signIn()
  // Tab passes the end of the page and continues at its beginning.
  await tabTo('skip')
  await press('Enter')
  expect(await focused()).toBe('message')
})

test('Escape moves the focus to the message box', async () => {
  await signIn()
  await tabTo('join-name')
  await press('Escape')
  expect(await focused()).toBe('message')
})

test('each focused element has a visible outline', async () => {
  await signIn()
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

test('a screen reader announces a new message once, and not the user’s own', async () => {
  await signIn()
  const bob = await ChatPage.signIn(browser, { url: gateway.url, user: 'bob' })
  const text = freshName('listen')
  await bob.send(text)
  const announcer = ada.page.locator('#announcer')
  await announcer.getByText(`bob: ${text}`).waitFor({ state: 'attached' })
  await ada.send('I heard')
  expect(await announcer.textContent()).toBe(`bob: ${text}`)
  await bob.close()
})
