import { mkdir } from 'node:fs/promises'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { lowContrasts } from './contrast.js'
import { DevProcess } from '../support/dev-process.js'
import { expectHidden, expectVisible, freshName, launchBrowser, ChatPage } from './chat-page.js'

/** Screenshots for a visual check, also of tests that pass. */
const screenshots = '.test-results/browser'

let browser: Browser
let gateway: DevProcess
let ada: ChatPage

beforeAll(async () => {
  await mkdir(screenshots, { recursive: true })
  ;[browser, gateway] = await Promise.all([launchBrowser(), DevProcess.start()])
})

afterAll(async () => {
  await Promise.all([browser?.close(), gateway?.stop()])
})

afterEach(async () => {
  await ada.close()
})

/** Signs in as a user with a team of her own. */
async function signIn(context: Parameters<typeof ChatPage.open>[2]): Promise<ChatPage> {
  const team = freshName('t')
  ada = await ChatPage.signIn(browser, { url: gateway.url, user: 'ada', team, ...(context && { context }) })
  return ada
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`all text has a contrast of at least 4.5 in the ${colorScheme} scheme`, async () => {
    await signIn({ colorScheme })
    await ada.send('hello')
    await ada.conversation('announcements').click()
    await ada.message.fill('may I?')
    await ada.message.press('Enter')
    await ada.page.getByText(/^Not sent/).waitFor()
    expect(await lowContrasts(ada.page)).toEqual([])
    await ada.page.screenshot({ path: `${screenshots}/${colorScheme}.png` })

    await ada.join('team:not-hers')
    await ada.page.locator('#notice-text').waitFor()
    expect(await lowContrasts(ada.page)).toEqual([])

    await ada.page.getByRole('button', { name: 'Sign out' }).click()
    await ada.page.getByLabel('Your name').waitFor()
    expect(await lowContrasts(ada.page)).toEqual([])
    await ada.page.screenshot({ path: `${screenshots}/${colorScheme}-sign-in.png` })
  })
}

test('the dark scheme has a dark background', async () => {
  await signIn({ colorScheme: 'dark' })
  const brightness = await ada.page.evaluate(() => {
    const [red = 0, green = 0, blue = 0] =
      getComputedStyle(document.body).backgroundColor.match(/\d+/g)?.map(Number) ?? []
    return red + green + blue
  })
  expect(brightness).toBeLessThan(150)
})

test('on a phone the page does not scroll sideways, and the lists are drawers', async () => {
  await signIn({ viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true })
  const expectToFit = async () => {
    const width = await ada.page.evaluate(() => document.documentElement.scrollWidth)
    expect(width).toBeLessThanOrEqual(360)
  }
  await ada.send(`a long word: ${'w'.repeat(300)}`)
  await expectToFit()
  expect(await ada.page.locator('#rooms').isVisible()).toBe(false)

  await ada.page.getByRole('button', { name: /^Rooms/ }).tap()
  await ada.conversation('announcements').waitFor()
  await expectToFit()
  await ada.page.screenshot({ path: `${screenshots}/phone-rooms.png` })
  await ada.conversation('announcements').tap()
  await ada.page.locator('#title').getByText('#announcements').waitFor()
  await expectHidden(ada.page.locator('#rooms'))

  await ada.page.keyboard.press('Alt+ArrowDown')
  await ada.page.getByRole('button', { name: 'People' }).tap()
  await expectVisible(ada.people.getByText('ada'))
  await ada.page.keyboard.press('Escape')
  await expectHidden(ada.page.locator('#people'))
  await ada.page.screenshot({ path: `${screenshots}/phone.png` })
  await expectToFit()
})

test('the page sends requests only to its own server', async () => {
  const urls: string[] = []
  ada = new ChatPage(await browser.newPage())
  ada.page.on('request', (request) => urls.push(request.url()))
  await ada.page.goto(`${gateway.url}#tenant=demo/acme&user=ada`)
  await ada.status('Connected')
  expect(urls.filter((url) => !url.startsWith(gateway.url))).toEqual([])
})
