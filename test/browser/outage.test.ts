import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { TestProxy } from '../support/proxy.js'
import { DevProcess } from '../support/dev-process.js'
import { expectShown, expectTexts, freshName, launchBrowser, Person } from './person.js'

let browser: Browser
let gateway: DevProcess
let cable: TestProxy
/** Behind the cable. */
let ada: Person
let bob: Person

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

beforeEach(async () => {
  cable = await new TestProxy(gateway.port).start()
  const team = freshName('t')
  ;[ada, bob] = await Promise.all([
    Person.arrive(browser, { url: `http://localhost:${cable.port}/`, user: 'ada', team }),
    Person.arrive(browser, { url: gateway.url, user: 'bob', team }),
  ])
  await Promise.all([ada.join(`team:${team}`), bob.join(`team:${team}`)])
  await bob.say('before')
  await expectTexts(ada, ['before'])
})

afterEach(async () => {
  await Promise.all([ada.leave(), bob.leave()])
  await cable.stop()
})

async function mendAndReturn(): Promise<void> {
  cable.refuse(false)
  // The SDK may be in a long pause by now, or be back already.
  await ada.page
    .locator('#try-now')
    .click({ timeout: 1_000 })
    .catch(() => {})
}

test('who was cut off gets all that was missed, in order, and is told that nothing is missing', async () => {
  cable.refuse()
  await ada.status(/The connection broke|does not answer/)
  await ada.page
    .locator('#status-count')
    .getByText(/Trying/)
    .waitFor()
  const missed = ['one', 'two', 'three', 'four', 'five']
  for (const text of missed) await bob.say(text)
  await expectTexts(bob, ['before', ...missed])

  await mendAndReturn()
  await ada.status(/5 messages caught up, you missed nothing/)
  await expectTexts(ada, ['before', ...missed])
  expect(await ada.page.locator('#messages .divider.gap').count()).toBe(0)

  await bob.say('after')
  await expectTexts(ada, ['before', ...missed, 'after'])
})

test('a return after which nothing had happened says so', async () => {
  cable.refuse()
  await ada.status(/The connection broke|does not answer/)
  await mendAndReturn()
  await ada.status('Connected again. You missed nothing.')
  await expectTexts(ada, ['before'])
})

test('what is written while the connection is away goes out when it is back, once and in order', async () => {
  cable.refuse()
  await ada.status(/The connection broke|does not answer/)
  for (const text of ['first', 'second']) {
    await ada.message.fill(text)
    await ada.message.press('Enter')
  }
  expect(await ada.page.locator('#messages .delivery').allTextContents()).toEqual([
    expect.stringContaining('Goes out when the connection is back.'),
    expect.stringContaining('Goes out when the connection is back.'),
  ])
  await mendAndReturn()
  await expectTexts(bob, ['before', 'first', 'second'])
  await expectTexts(ada, ['before', 'first', 'second'])
})

test('a message whose answer never came is said to be in doubt, and can be sent again', async () => {
  cable.hold()
  await ada.message.fill('anybody?')
  await ada.message.press('Enter')
  await expectShown(ada.page.locator('#messages .sending').getByText('anybody?'))
  cable.refuse()
  cable.resume()
  const message = ada.page.locator('#messages .message').filter({ hasText: 'anybody?' })
  await expectShown(message.getByText(/^Not confirmed/))
  await mendAndReturn()
  await ada.status(/^Connected/)
  await message.getByRole('button', { name: 'Send again' }).click()
  await expectTexts(ada, ['before', 'anybody?'])
  await expectTexts(bob, ['before', 'anybody?'])
})

test('when the gateway lost its memory, the place where something may be missing is marked', async () => {
  const other = await DevProcess.start()
  try {
    cable.refuse()
    await ada.status(/The connection broke|does not answer/)
    cable.retarget(other.port)
    cable.refuse(false)
    await ada.page
      .locator('#messages .divider.gap')
      .getByText(/Something may be missing here/)
      .waitFor()
    await ada.status(/Something may be missing/)
    await ada.say('here again')
    await expectTexts(ada, ['before', 'here again'])
  } finally {
    await other.stop()
  }
})

test('a gateway that goes away is told in words, with a way to try at once', async () => {
  const other = await DevProcess.start()
  cable.retarget(other.port)
  cable.cut()
  await ada.status(/^Connected again/)
  await other.stop()
  await ada.status(/restarting|does not answer|broke/)
  await expectShown(ada.page.getByRole('button', { name: 'Try now' }))
})
