import { once } from 'node:events'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { DevProcess } from '../support/dev-process.js'
import { expectTexts, freshName, launchBrowser, Person } from './person.js'

const hostile = '<img src=x onerror=window.__hit=1>'

let browser: Browser
let gateway: DevProcess
let people: Person[] = []

beforeAll(async () => {
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

afterEach(async () => {
  const left = people
  people = []
  await Promise.all(left.map((person) => person.leave()))
})

async function arrive(user: string, team?: string): Promise<Person> {
  const person = await Person.arrive(browser, { url: gateway.url, user, ...(team !== undefined && { team }) })
  people.push(person)
  return person
}

async function expectUnharmed(person: Person): Promise<void> {
  expect(await person.page.evaluate('window.__hit')).toBeUndefined()
  expect(await person.page.locator('img:not([src="favicon.svg"])').count()).toBe(0)
  expect(person.problems).toEqual([])
}

test('markup in a message stays text, live and from history', async () => {
  const team = freshName('t')
  const [ada, bob] = [await arrive('ada', team), await arrive('bob', team)]
  await Promise.all([ada.join(`team:${team}`), bob.join(`team:${team}`)])
  await ada.say(hostile)
  await expectTexts(bob, [hostile])
  await bob.page.reload()
  await expectTexts(bob, [hostile])
  await expectUnharmed(ada)
  await expectUnharmed(bob)
})

test('markup as the name of a user stays text, in messages, among the people and in conversations', async () => {
  const team = freshName('t')
  const [mallory, bob] = [await arrive(hostile, team), await arrive('bob', team)]
  await Promise.all([mallory.join(`team:${team}`), bob.join(`team:${team}`)])
  await mallory.say('hello')
  await expectTexts(bob, ['hello'])
  expect(await bob.page.locator('#messages .author').textContent()).toBe(hostile)
  await bob.people.getByText(hostile).click()
  expect(await bob.page.locator('#title').textContent()).toBe(hostile)
  await expectUnharmed(mallory)
  await expectUnharmed(bob)
})

test('markup as the name of a room stays text, and the refusal is a sentence', async () => {
  const ada = await arrive(freshName('ada'))
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

test('other data than text is shown as compact JSON', async () => {
  const team = freshName('t')
  const bob = await arrive('bob', team)
  await bob.join(`team:${team}`)
  // As wscat would: the plain chat door takes any JSON as content.
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
