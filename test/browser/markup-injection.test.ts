import { once } from 'node:events'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { DevProcess } from '../support/dev-process.js'
import { expectTexts, freshName, launchBrowser, ChatPage } from './chat-page.js'

const hostile = '<img src=x onerror=window.__hit=1>'

let browser: Browser
let gateway: DevProcess
let openPages: ChatPage[] = []

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

afterEach(async () => {
  const closing = openPages
  openPages = []
  await Promise.all(closing.map((chatPage) => chatPage.close()))
})

async function signIn(user: string, team?: string): Promise<ChatPage> {
  const chatPage = await ChatPage.signIn(browser, {
    url: gateway.url,
    user,
    ...(team !== undefined && { team }),
  })
  openPages.push(chatPage)
  return chatPage
}

async function expectUnharmed(chatPage: ChatPage): Promise<void> {
  expect(await chatPage.page.evaluate('window.__hit')).toBeUndefined()
  expect(await chatPage.page.locator('img:not([src="favicon.svg"])').count()).toBe(0)
  expect(chatPage.problems).toEqual([])
}

test('markup in a message is shown as text, live and from history', async () => {
  const team = freshName('t')
  const [ada, bob] = [await signIn('ada', team), await signIn('bob', team)]
  await Promise.all([ada.join(`team:${team}`), bob.join(`team:${team}`)])
  await ada.send(hostile)
  await expectTexts(bob, [hostile])
  await bob.page.reload()
  await expectTexts(bob, [hostile])
  await expectUnharmed(ada)
  await expectUnharmed(bob)
})

test('markup in the name of a user is shown as text in messages, members and conversations', async () => {
  const team = freshName('t')
  const [mallory, bob] = [await signIn(hostile, team), await signIn('bob', team)]
  await Promise.all([mallory.join(`team:${team}`), bob.join(`team:${team}`)])
  await mallory.send('hello')
  await expectTexts(bob, ['hello'])
  expect(await bob.page.locator('#messages .author').textContent()).toBe(hostile)
  await bob.people.getByText(hostile).click()
  expect(await bob.page.locator('#title').textContent()).toBe(hostile)
  await expectUnharmed(mallory)
  await expectUnharmed(bob)
})

test('markup in the name of a room is shown as text, and its refusal is a sentence', async () => {
  const ada = await signIn(freshName('ada'))
  await ada.join(hostile)
  await ada.page
    .locator('#notice-text')
    .getByText(/white space/)
    .waitFor()
  expect(await ada.conversation(hostile).count()).toBe(1)
  await ada.page.reload()
  await ada.conversation(hostile).waitFor()
  await expectUnharmed(ada)
})

test('data that is no text is shown as compact JSON', async () => {
  const team = freshName('t')
  const bob = await signIn('bob', team)
  await bob.join(`team:${team}`)
  // The chat protocol accepts any JSON as content.
  const token = await bob.page.evaluate(
    async (claims) => {
      const answer = await fetch('/dev/token', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ tenant: 'demo/acme', user: 'robot', claims }),
      })
      return ((await answer.json()) as { token: string }).token
    },
    { team },
  )
  const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}demo/acme/ws?token=${token}`)
  try {
    await once(socket, 'open')
    const room = `team:${team}`
    socket.send(JSON.stringify({ type: 'join_room', room }))
    socket.send(JSON.stringify({ type: 'room_message', room, content: { temperature: [21, 'C'] } }))
    socket.send(JSON.stringify({ type: 'room_message', room, content: 'plain text' }))
    await expectTexts(bob, ['{"temperature":[21,"C"]}', 'plain text'])
  } finally {
    socket.close()
  }
})
