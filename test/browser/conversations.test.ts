import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { DevProcess } from '../support/dev-process.js'
import {
  deadlineMs,
  expectHidden,
  expectVisible,
  expectTexts,
  freshName,
  launchBrowser,
  ChatPage,
} from './chat-page.js'

let browser: Browser
let gateway: DevProcess
let ada: ChatPage
let bob: ChatPage
let team: string
let names: { ada: string; bob: string }

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

beforeEach(async () => {
  team = freshName('t')
  names = { ada: freshName('ada'), bob: freshName('bob') }
  const { url } = gateway
  ;[ada, bob] = await Promise.all([
    ChatPage.signIn(browser, { url, user: names.ada, team }),
    ChatPage.signIn(browser, { url, user: names.bob, team }),
  ])
})

afterEach(async () => {
  const problems = [...ada.problems, ...bob.problems]
  await Promise.all([ada.close(), bob.close()])
  expect(problems).toEqual([])
})

async function bothJoinTheirTeam(): Promise<void> {
  await Promise.all([ada.join(`team:${team}`), bob.join(`team:${team}`)])
  await Promise.all([ada, bob].map(({ people }) => people.locator('li').nth(1).waitFor()))
}

test('two users exchange messages in a room', async () => {
  const [question, answer] = [freshName('a question'), freshName('an answer')]
  await ada.send(question)
  await bob.page.locator('#messages').getByText(question).waitFor()
  await bob.send(answer)
  await ada.page.locator('#messages').getByText(answer).waitFor()

  const fromBob = ada.page.locator('#messages .message').filter({ hasText: answer })
  expect(await fromBob.locator('.author').textContent()).toBe(names.bob)
  expect(await fromBob.getAttribute('class')).not.toContain('own')
  const ours = ada.page.locator('#messages .message').filter({ hasText: question })
  expect(await ours.getAttribute('class')).toContain('own')
})

test('messages of one author form a group with one day divider and one name', async () => {
  await bothJoinTheirTeam()
  for (const text of ['one', 'two', 'three']) await ada.send(text)
  await expectTexts(bob, ['one', 'two', 'three'])
  expect(await bob.page.locator('#messages .message.group-start').count()).toBe(1)
  expect(await bob.page.locator('#messages .divider.day').allTextContents()).toEqual(['Today'])
  expect(await bob.page.locator('#messages .byline time').first().textContent()).toMatch(/\d/)
})

test('a reload shows the history, with authors and times, and the same user in the same room', async () => {
  await bothJoinTheirTeam()
  await ada.send('before the reload')
  await bob.send('me too')
  await expectTexts(ada, ['before the reload', 'me too'])
  const times = await ada.page.locator('#messages .byline time').allTextContents()

  await ada.page.reload()
  await expectTexts(ada, ['before the reload', 'me too'])
  expect(await ada.page.locator('#title').textContent()).toBe(`#team:${team}`)
  expect(await ada.page.locator('#messages .author').allTextContents()).toEqual([names.ada, names.bob])
  expect(await ada.page.locator('#messages .own').count()).toBe(1)
  expect(await ada.page.locator('#messages .byline time').allTextContents()).toEqual(times)

  await bob.send('and after it')
  await expectTexts(ada, ['before the reload', 'me too', 'and after it'])
})

test('earlier messages are loaded page by page, and visible messages stay visible', async () => {
  const room = `team:${team}`
  await ada.join(room)
  const texts = Array.from({ length: 60 }, (_, index) => `number ${index}`)
  for (const text of texts) {
    await ada.send(text)
    await expect.poll(() => ada.page.locator('#messages .delivery').count(), { timeout: deadlineMs }).toBe(0)
  }
  await bob.join(room)
  await expectTexts(bob, texts.slice(10))
  await bob.page.locator('#earlier').click()
  await expectTexts(bob, texts)
  const box = await bob.page.locator('#messages .text').getByText('number 10', { exact: true }).boundingBox()
  expect(box?.y).toBeGreaterThan(0)
}, 90_000)

test('only the recipient receives a direct message, and can reply', async () => {
  await bothJoinTheirTeam()
  await ada.people.getByText(names.bob).click()
  await ada.send('between us')
  await expectVisible(bob.conversation(names.ada).locator('.badge'))
  expect(await bob.page.locator('#messages').getByText('between us').count()).toBe(0)

  await bob.conversation(names.ada).click()
  await expectTexts(bob, ['between us'])
  await bob.send('of course')
  await expectTexts(ada, ['between us', 'of course'])

  await ada.page.reload()
  await ada.conversation(names.bob).click()
  await expectTexts(ada, ['between us', 'of course'])
})

test('the members follow joins and leaves, and two tabs of one user are one entry', async () => {
  await bothJoinTheirTeam()
  const second = await bob.page.context().newPage()
  await second.goto(`${gateway.url}#tenant=demo/acme&user=${names.bob}&team=${team}`)
  const tab = new ChatPage(second)
  await tab.join(`team:${team}`)
  const bobsLine = ada.people.locator('li').filter({ hasText: names.bob })
  await expectVisible(bobsLine.getByText('×2'))
  expect(await bobsLine.count()).toBe(1)

  await second.close()
  await expectHidden(bobsLine.getByText('×2'))
  await bob.page.locator('#leave').click()
  await expectHidden(bobsLine)
  expect(await ada.people.locator('li').count()).toBe(1)
})

test('unread messages are counted at their conversation and in the title of the tab', async () => {
  await bothJoinTheirTeam()
  const before = await bob.page.title()
  await bob.conversation('general').click()
  for (const text of ['one', 'two']) await ada.send(text)
  const room = bob.conversation(`team:${team}`)
  await room.locator('.badge').filter({ hasText: /^2$/ }).waitFor()
  expect(before).not.toMatch(/^\(/)
  expect(await bob.page.title()).toMatch(/^\(\d+\) #general/)

  await room.click()
  await expectVisible(bob.page.locator('#messages .divider.new'))
  await expectHidden(room.locator('.badge'))
})

test('a room that the user cannot join shows the message of the server', async () => {
  await ada.join('team:not-hers')
  const refusal = ada.page.locator('#notice-text')
  await refusal.waitFor()
  expect(await refusal.textContent()).toContain('team:not-hers')
  expect(await ada.message.isVisible()).toBe(false)
  await ada.page.locator('#leave').click()
  expect(await ada.conversation('team:not-hers').count()).toBe(0)
})

test('a refused message stays, with the reason and a button that sends it again', async () => {
  await ada.conversation('announcements').click()
  await ada.message.fill('may I?')
  await ada.message.press('Enter')
  const message = ada.page.locator('#messages .message').filter({ hasText: 'may I?' })
  await expectVisible(message.getByText(/^Not sent\. .*announcements/))
  await message.getByRole('button', { name: 'Send again' }).click()
  await expectVisible(message.getByText(/^Not sent\./))
  await message.getByRole('button', { name: 'Discard' }).click()
  await expectHidden(message)
})

test('a message above the size limit is reported before it is sent', async () => {
  await ada.message.fill('x'.repeat(70_000))
  await ada.page
    .locator('#composer-hint')
    .getByText(/^The message is too long: 70,002 of/)
    .waitFor()
  await ada.message.press('Enter')
  expect(await ada.message.inputValue()).toHaveLength(70_000)
  expect(await ada.page.locator('#messages .delivery').count()).toBe(0)
})

test('an unsent text stays in its conversation', async () => {
  await ada.message.fill('half a thought')
  await ada.join(`team:${team}`)
  expect(await ada.message.inputValue()).toBe('')
  await ada.conversation('general').click()
  expect(await ada.message.inputValue()).toBe('half a thought')
})
