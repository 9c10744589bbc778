import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { DevProcess } from '../support/dev-process.js'
import { expectShown, freshName, launchBrowser, Person } from './person.js'

let browser: Browser
let gateway: DevProcess
let ada: Person

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

afterEach(async () => {
  await ada.leave()
  expect(ada.problems).toEqual([])
})

test('the form offers the tenants; a name is enough to come in', async () => {
  ada = await Person.at(browser, gateway.url)
  await ada.page.getByRole('radio', { name: /demo\/acme/ }).check()
  await ada.page.getByRole('button', { name: 'Come in' }).click()
  await expectShown(ada.page.getByText('A name is needed'))
  await ada.page.getByLabel('Your name').fill('ada')
  await ada.page.getByLabel('Your name').press('Enter')
  await ada.status('Connected')
  await expectShown(ada.people.getByText('ada'))
})

test('a team given at the door opens the team’s room', async () => {
  ada = await Person.at(browser, gateway.url)
  await ada.page.getByRole('radio', { name: /demo\/acme/ }).check()
  await ada.page.getByLabel('Your name').fill('ada')
  await ada.page.getByText('Have a team or a role?').click()
  await ada.page.getByLabel('Team').fill('red')
  await ada.page.getByRole('button', { name: 'Come in' }).click()
  await ada.conversation('team:red').click()
  const text = freshName('hello reds')
  await ada.say(text)
  await expectShown(ada.page.locator('#messages').getByText(text))
})

test('signing out leads back to the door, and a reload stays there', async () => {
  ada = await Person.arrive(browser, { url: gateway.url, user: 'ada' })
  await ada.page.getByRole('button', { name: 'Sign out' }).click()
  await ada.page.getByLabel('Your name').waitFor()
  await ada.page.reload()
  await expectShown(ada.page.getByLabel('Your name'))
})

test('two tabs of one browser can be two people', async () => {
  ada = await Person.arrive(browser, { url: gateway.url, user: 'ada' })
  await ada.page.getByRole('link', { name: /Open a second tab/ }).waitFor()
  const [page] = await Promise.all([
    ada.page.context().waitForEvent('page'),
    ada.page.getByRole('link', { name: /Open a second tab/ }).click(),
  ])
  const second = new Person(page)
  await second.status('Connected')
  await expectShown(ada.people.getByText('grace'))
  await second.page.reload()
  await expectShown(second.people.locator('li').filter({ hasText: 'you' }).getByText('grace'))
})

test('where guests are welcome, one looks in without a name', async () => {
  ada = await Person.at(browser, gateway.url)
  await ada.page
    .getByRole('radio', { name: /guests welcome/ })
    .first()
    .check()
  await ada.page.getByRole('button', { name: 'Look in as a guest' }).click()
  await expectShown(ada.page.locator('#status-text').getByText('Connected'))
})

test('a user whom the gateway does not accept is told why, and is not tried again and again', async () => {
  ada = await Person.at(browser, `${gateway.url}#tenant=demo/acme&user=guest:mallory`)
  await expectShown(ada.page.getByRole('button', { name: 'Connect again' }))
  expect(await ada.page.locator('#notice-text').textContent()).toMatch(/guest/)
})

test('an unknown tenant in a link is told at the door', async () => {
  ada = await Person.at(browser, `${gateway.url}#tenant=demo/nobody&user=ada`)
  await expectShown(ada.page.getByRole('alert').getByText('There is no tenant demo/nobody here.'))
})
