import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { DevProcess } from '../support/dev-process.js'
import { expectVisible, freshName, launchBrowser, ChatPage } from './chat-page.js'

let browser: Browser
let gateway: DevProcess
let ada: ChatPage

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

afterEach(async () => {
  await ada.close()
  expect(ada.problems).toEqual([])
})

test('the form lists the tenants, and a name is enough to sign in', async () => {
  ada = await ChatPage.open(browser, gateway.url)
  await ada.page.getByRole('radio', { name: /demo\/acme/ }).check()
  await ada.page.getByRole('button', { name: 'Sign in' }).click()
  await expectVisible(ada.page.getByText('Enter a name. Any name works.'))
  await ada.page.getByLabel('Your name').fill('ada')
  await ada.page.getByLabel('Your name').press('Enter')
  await ada.status('Connected')
  await expectVisible(ada.people.getByText('ada'))
})

test('a team given in the sign-in form grants access to the room of the team', async () => {
  ada = await ChatPage.open(browser, gateway.url)
  await ada.page.getByRole('radio', { name: /demo\/acme/ }).check()
  await ada.page.getByLabel('Your name').fill('ada')
  await ada.page.getByText('Add a team or a role').click()
  await ada.page.getByLabel('Team').fill('red')
  await ada.page.getByRole('button', { name: 'Sign in' }).click()
  await ada.conversation('team:red').click()
  const text = freshName('hello reds')
  await ada.send(text)
  await expectVisible(ada.page.locator('#messages').getByText(text))
})

test('signing out shows the sign-in form, also after a reload', async () => {
  ada = await ChatPage.signIn(browser, { url: gateway.url, user: 'ada' })
  await ada.page.getByRole('button', { name: 'Sign out' }).click()
  await ada.page.getByLabel('Your name').waitFor()
  await ada.page.reload()
  await expectVisible(ada.page.getByLabel('Your name'))
})

test('two tabs of one browser can be two users', async () => {
  ada = await ChatPage.signIn(browser, { url: gateway.url, user: 'ada' })
  await ada.page.getByRole('link', { name: /Open a second tab/ }).waitFor()
  const [page] = await Promise.all([
    ada.page.context().waitForEvent('page'),
    ada.page.getByRole('link', { name: /Open a second tab/ }).click(),
  ])
  const second = new ChatPage(page)
  await second.status('Connected')
  await expectVisible(ada.people.getByText('grace'))
  await second.page.reload()
  await expectVisible(second.people.locator('li').filter({ hasText: 'you' }).getByText('grace'))
})

test('a tenant that allows guests can be joined without a name', async () => {
  ada = await ChatPage.open(browser, gateway.url)
  await ada.page
    .getByRole('radio', { name: /guests allowed/ })
    .first()
    .check()
  await ada.page.getByRole('button', { name: 'Continue as a guest' }).click()
  await expectVisible(ada.page.locator('#status-text').getByText('Connected'))
})

test('a guest stays the same guest after a reload, and signing out ends that', async () => {
  ada = await ChatPage.open(browser, `${gateway.url}#tenant=demo/globex&guest`)
  const name = await ownName(ada)
  await ada.page.reload()
  expect(await ownName(ada)).toBe(name)
  const page = await ada.page.context().newPage()
  const second = new ChatPage(page)
  await page.goto(`${gateway.url}#tenant=demo/globex&guest`)
  expect(await ownName(second)).not.toBe(name)
  await ada.page.getByRole('button', { name: 'Sign out' }).click()
  await ada.page.getByRole('radio', { name: /demo\/globex/ }).check()
  await ada.page.getByRole('button', { name: 'Continue as a guest' }).click()
  expect(await ownName(ada)).not.toBe(name)
})

test('a user that the gateway refuses sees the reason, and the page does not reconnect', async () => {
  ada = await ChatPage.open(browser, `${gateway.url}#tenant=demo/acme&user=guest:mallory`)
  await expectVisible(ada.page.getByRole('button', { name: 'Reconnect' }))
  expect(await ada.page.locator('#notice-text').textContent()).toMatch(/guest/)
})

test('the sign-in form reports an unknown tenant of a link', async () => {
  ada = await ChatPage.open(browser, `${gateway.url}#tenant=demo/nobody&user=ada`)
  await expectVisible(ada.page.getByRole('alert').getByText('The tenant demo/nobody does not exist.'))
})

/** Returns the name that the list of members shows for the user of the page. */
async function ownName({ people }: ChatPage): Promise<string> {
  const own = people.locator('li').filter({ has: people.page().locator('.you') })
  return (await own.locator('.name').textContent()) ?? ''
}
