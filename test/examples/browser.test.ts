// The page of examples/browser in a browser, served by the Node example.
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { expectGone, expectShown, launchBrowser, Person } from '../browser/person.js'
import { RunningBackend } from './backend.contract.js'

let browser: Browser
let backend: RunningBackend
const here: Person[] = []

beforeAll(async () => {
  browser = await launchBrowser()
  backend = await RunningBackend.start([process.execPath, 'node-backend/server.js'])
})
afterAll(async () => {
  await Promise.all([browser?.close(), backend?.stop()])
})
afterEach(async () => {
  const problems = here.flatMap((person) => person.problems)
  await Promise.all(here.splice(0).map((person) => person.leave()))
  expect(problems).toEqual([])
})

/** Somebody who has come in. */
async function arrive(user: string): Promise<Person> {
  const person = await Person.at(browser, backend.url)
  here.push(person)
  await person.page.getByLabel('Your name').fill(user)
  await person.page.getByRole('button', { name: 'Come in' }).click()
  await expectShown(person.page.getByText('Connected', { exact: true }), memberIn(person, user))
  return person
}

const memberIn = ({ page }: Person, user: string) =>
  page.locator('#people li').getByText(user, { exact: true })
const messageAt = ({ page }: Person, text: string) =>
  page.locator('#messages li').getByText(text, { exact: true })

async function say({ page }: Person, text: string): Promise<void> {
  await page.getByLabel('Message').fill(text)
  await page.getByLabel('Message').press('Enter')
}

test('people see each other come and go', async () => {
  const ann = await arrive('ann')
  const bob = await arrive('bob')
  await expectShown(memberIn(ann, 'bob'), memberIn(bob, 'ann'))
  await bob.page.close()
  await expectGone(memberIn(ann, 'bob'))
})

test('what one says the others read, as text; who comes later reads it too, once', async () => {
  const [ann, bob] = [await arrive('ann'), await arrive('bob')]
  await say(ann, '<b>hello</b>')
  await expectShown(messageAt(ann, 'ann: <b>hello</b>'), messageAt(bob, 'ann: <b>hello</b>'))
  expect(await ann.page.getByLabel('Message').inputValue()).toBe('')
  const eve = await arrive('eve')
  await say(eve, 'late')
  await expectShown(messageAt(eve, 'eve: late'))
  expect(await eve.page.locator('#messages li').allTextContents()).toEqual(['ann: <b>hello</b>', 'eve: late'])
})

test('the backend tells everybody', async () => {
  const [ann, bob] = [await arrive('ann'), await arrive('bob')]
  await ann.page.getByRole('button', { name: 'Ring the bell' }).click()
  const told = 'The backend: ann rings the bell'
  await expectShown(messageAt(ann, told), messageAt(bob, told))
})
