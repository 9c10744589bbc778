// Tests the page of examples/browser in a browser, served by the Node example.
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { expectHidden, expectVisible, launchBrowser, ChatPage } from '../browser/chat-page.js'
import { RunningBackend } from './backend.contract.js'

let browser: Browser
let backend: RunningBackend
const openPages: ChatPage[] = []

beforeAll(async () => {
  browser = await launchBrowser()
  backend = await RunningBackend.start([process.execPath, 'node-backend/server.js'])
})
afterAll(async () => {
  await Promise.all([browser?.close(), backend?.stop()])
})
afterEach(async () => {
  const problems = openPages.flatMap((chatPage) => chatPage.problems)
  await Promise.all(openPages.splice(0).map((chatPage) => chatPage.close()))
  expect(problems).toEqual([])
})

/** Opens the page and logs in. */
async function signIn(user: string): Promise<ChatPage> {
  const chatPage = await ChatPage.open(browser, backend.url)
  openPages.push(chatPage)
  await chatPage.page.getByLabel('Your name').fill(user)
  await chatPage.page.getByRole('button', { name: 'Log in' }).click()
  await expectVisible(chatPage.page.getByText('Connected', { exact: true }), memberIn(chatPage, user))
  return chatPage
}

const memberIn = ({ page }: ChatPage, user: string) =>
  page.locator('#people li').getByText(user, { exact: true })
const messageAt = ({ page }: ChatPage, text: string) =>
  page.locator('#messages li').getByText(text, { exact: true })

async function say({ page }: ChatPage, text: string): Promise<void> {
  await page.getByLabel('Message').fill(text)
  await page.getByLabel('Message').press('Enter')
}

test('users see each other join and leave', async () => {
  const ann = await signIn('ann')
  const bob = await signIn('bob')
  await expectVisible(memberIn(ann, 'bob'), memberIn(bob, 'ann'))
  await bob.page.close()
  await expectHidden(memberIn(ann, 'bob'))
})

test('a message reaches the other users as text, and later users read it once from history', async () => {
  const [ann, bob] = [await signIn('ann'), await signIn('bob')]
  await say(ann, '<b>hello</b>')
  await expectVisible(messageAt(ann, 'ann: <b>hello</b>'), messageAt(bob, 'ann: <b>hello</b>'))
  expect(await ann.page.getByLabel('Message').inputValue()).toBe('')
  const eve = await signIn('eve')
  await say(eve, 'late')
  await expectVisible(messageAt(eve, 'eve: late'))
  expect(await eve.page.locator('#messages li').allTextContents()).toEqual(['ann: <b>hello</b>', 'eve: late'])
})

test('an event of the backend reaches all users', async () => {
  const [ann, bob] = [await signIn('ann'), await signIn('bob')]
  await ann.page.getByRole('button', { name: 'Ring the bell' }).click()
  const announcement = 'The backend: ann rings the bell'
  await expectVisible(messageAt(ann, announcement), messageAt(bob, announcement))
})
