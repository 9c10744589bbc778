import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { TestProxy } from '../support/proxy.js'
import { DevProcess } from '../support/dev-process.js'
import { expectVisible, expectTexts, freshName, launchBrowser, ChatPage } from './chat-page.js'

let browser: Browser
let gateway: DevProcess
let proxy: TestProxy
/** The user whose page connects through the proxy. */
let ada: ChatPage
let bob: ChatPage

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

beforeEach(async () => {
  proxy = await new TestProxy(gateway.port).start()
  const team = freshName('t')
  ;[ada, bob] = await Promise.all([
    ChatPage.signIn(browser, { url: `http://localhost:${proxy.port}/`, user: 'ada', team }),
    ChatPage.signIn(browser, { url: gateway.url, user: 'bob', team }),
  ])
  await Promise.all([ada.join(`team:${team}`), bob.join(`team:${team}`)])
  await bob.send('before')
  await expectTexts(ada, ['before'])
})

afterEach(async () => {
  await Promise.all([ada.close(), bob.close()])
  await proxy.stop()
})

async function restoreAndReconnect(): Promise<void> {
  proxy.refuse(false)
  // The SDK may wait for its next attempt, or may be connected already.
  await ada.page
    .locator('#try-now')
    .click({ timeout: 1_000 })
    .catch(() => {})
}

test('a page that was cut off recovers all messages in order, and says that nothing is missing', async () => {
  proxy.refuse()
  await ada.status(/The connection was lost|does not respond/)
  await ada.page
    .locator('#status-count')
    .getByText(/Reconnecting/)
    .waitFor()
  const missed = ['one', 'two', 'three', 'four', 'five']
  for (const text of missed) await bob.send(text)
  await expectTexts(bob, ['before', ...missed])

  await restoreAndReconnect()
  await ada.status(/5 messages recovered, you missed nothing/)
  await expectTexts(ada, ['before', ...missed])
  expect(await ada.page.locator('#messages .divider.gap').count()).toBe(0)

  await bob.send('after')
  await expectTexts(ada, ['before', ...missed, 'after'])
})

test('a reconnect without missed messages says so', async () => {
  proxy.refuse()
  await ada.status(/The connection was lost|does not respond/)
  await restoreAndReconnect()
  await ada.status('Reconnected. You missed nothing.')
  await expectTexts(ada, ['before'])
})

test('messages written while disconnected are sent after the reconnect, once and in order', async () => {
  proxy.refuse()
  await ada.status(/The connection was lost|does not respond/)
  for (const text of ['first', 'second']) {
    await ada.message.fill(text)
    await ada.message.press('Enter')
  }
  expect(await ada.page.locator('#messages .delivery').allTextContents()).toEqual([
    expect.stringContaining('Will be sent when the connection is back.'),
    expect.stringContaining('Will be sent when the connection is back.'),
  ])
  await restoreAndReconnect()
  await expectTexts(bob, ['before', 'first', 'second'])
  await expectTexts(ada, ['before', 'first', 'second'])
})

test('a message without a reply is shown as not confirmed, and can be sent again', async () => {
  proxy.hold()
  await ada.message.fill('anybody?')
  await ada.message.press('Enter')
  await expectVisible(ada.page.locator('#messages .sending').getByText('anybody?'))
  proxy.refuse()
  proxy.resume()
  const message = ada.page.locator('#messages .message').filter({ hasText: 'anybody?' })
  await expectVisible(message.getByText(/^Not confirmed/))
  await restoreAndReconnect()
  await ada.status(/^(Connected|Reconnected)/)
  await message.getByRole('button', { name: 'Send again' }).click()
  await expectTexts(ada, ['before', 'anybody?'])
  await expectTexts(bob, ['before', 'anybody?'])
})

test('after the gateway lost its history, the page marks where messages may be missing', async () => {
  const other = await DevProcess.start()
  try {
    proxy.refuse()
    await ada.status(/The connection was lost|does not respond/)
    proxy.retarget(other.port)
    proxy.refuse(false)
    await ada.page
      .locator('#messages .divider.gap')
      .getByText(/Messages may be missing here/)
      .waitFor()
    await ada.status(/Messages may be missing/)
    await ada.send('here again')
    await expectTexts(ada, ['before', 'here again'])
  } finally {
    await other.stop()
  }
})

test('a stopped gateway is reported with a button that reconnects at once', async () => {
  const other = await DevProcess.start()
  proxy.retarget(other.port)
  proxy.cut()
  await ada.status(/^Reconnected/)
  await other.stop()
  await ada.status(/restarting|does not respond|lost/)
  await expectVisible(ada.page.getByRole('button', { name: 'Try now' }))
})
