import { mkdir } from 'node:fs/promises'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { lowContrasts } from './contrast.js'
import { DevProcess } from '../support/dev-process.js'
import { expectGone, expectShown, freshName, launchBrowser, Person } from './person.js'

/** For people who look at what failed, and at what did not. */
const pictures = '.test-results/browser'

let browser: Browser
let gateway: DevProcess
let ada: Person

beforeAll(async () => {
  await mkdir(pictures, { recursive: true })
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

afterEach(async () => {
  await ada.leave()
})

/** A room with all that the page can draw: messages, a refused one, a closed room, an unread badge. */
async function busyRoom(context: Parameters<typeof Person.at>[2]): Promise<Person> {
  const team = freshName('t')
  ada = await Person.arrive(browser, { url: gateway.url, user: 'ada', team, ...(context && { context }) })
  return ada
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`all text has a contrast of 4.5 or better in the ${colorScheme} scheme`, async () => {
    await busyRoom({ colorScheme })
    await ada.say('hello')
    await ada.conversation('announcements').click()
    await ada.message.fill('may I?')
    await ada.message.press('Enter')
    await ada.page.getByText(/^Not sent/).waitFor()
    expect(await lowContrasts(ada.page)).toEqual([])
    await ada.page.screenshot({ path: `${pictures}/${colorScheme}.png` })

    await ada.join('team:not-hers')
    await ada.page.locator('#notice-text').waitFor()
    expect(await lowContrasts(ada.page)).toEqual([])

    await ada.page.getByRole('button', { name: 'Sign out' }).click()
    await ada.page.getByLabel('Your name').waitFor()
    expect(await lowContrasts(ada.page)).toEqual([])
    await ada.page.screenshot({ path: `${pictures}/${colorScheme}-door.png` })
  })
}

test('the dark scheme is dark', async () => {
  await busyRoom({ colorScheme: 'dark' })
  const brightness = await ada.page.evaluate(() => {
    const [red = 0, green = 0, blue = 0] =
      getComputedStyle(document.body).backgroundColor.match(/\d+/g)?.map(Number) ?? []
    return red + green + blue
  })
  expect(brightness).toBeLessThan(150)
})

test('on a phone nothing scrolls sideways, and the lists are drawers', async () => {
  await busyRoom({ viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true })
  const expectToFit = async () => {
    const width = await ada.page.evaluate(() => document.documentElement.scrollWidth)
    expect(width).toBeLessThanOrEqual(360)
  }
  await ada.say(`a long word: ${'w'.repeat(300)}`)
  await expectToFit()
  expect(await ada.page.locator('#rooms').isVisible()).toBe(false)

  await ada.page.getByRole('button', { name: /^Rooms/ }).tap()
  await ada.conversation('announcements').waitFor()
  await expectToFit()
  await ada.page.screenshot({ path: `${pictures}/phone-rooms.png` })
  await ada.conversation('announcements').tap()
  await ada.page.locator('#title').getByText('#announcements').waitFor()
  await expectGone(ada.page.locator('#rooms'))

  await ada.page.keyboard.press('Alt+ArrowDown')
  await ada.page.getByRole('button', { name: 'People' }).tap()
  await expectShown(ada.people.getByText('ada'))
  await ada.page.keyboard.press('Escape')
  await expectGone(ada.page.locator('#people'))
  await ada.page.screenshot({ path: `${pictures}/phone.png` })
  await expectToFit()
})

test('the page asks nobody but its own server for anything', async () => {
  const asked: string[] = []
  ada = new Person(await browser.newPage())
  ada.page.on('request', (request) => asked.push(request.url()))
  await ada.page.goto(`${gateway.url}#tenant=demo/acme&user=ada`)
  await ada.status('Connected')
  expect(asked.filter((url) => !url.startsWith(gateway.url))).toEqual([])
})
