// Connections break. Missed publications are recovered in order and once; otherwise the client is notified.
import { describe, expect, test } from 'vitest'
import type { Centrifuge } from 'centrifuge'
import { connectedAs, centrifugeUrl, proxyFor } from '../support/centrifuge-sdk.js'
import { rule } from '../support/policies.js'
import { everywhere, type BrokerKind } from './brokers.js'
import type { SdkClient } from './clients.js'
import { Driver } from './driver.js'

const channels = [
  rule('general'),
  rule('score', { history: { size: 10, ttlMs: 3_600_000, newestOnly: true } }),
]
const recoverable = { recoverable: true }

/** `ann` is the client under test and connects through a proxy. `bob` connects directly. */
async function annBehindProxy(client: SdkClient & BrokerKind) {
  const { here, there } = await client.start({ channels })
  const proxy = await proxyFor(here)
  const ann = Driver.start(client)
  await ann.connected(centrifugeUrl(proxy), { getToken: () => here.token('ann') })
  return { ann, bob: await connectedAs(there, 'bob'), proxy }
}

async function publishAll(bob: Centrifuge, channel: string, items: readonly unknown[]): Promise<void> {
  for (const item of items) await bob.publish(channel, item)
}

describe.each(everywhere)('$name on $broker', (client) => {
  test('missed publications come first and in order, then live ones', async () => {
    const { ann, bob, proxy } = await annBehindProxy(client)
    await ann.subscribed('general', recoverable)
    await bob.publish('general', 1)
    expect(await ann.data(1)).toEqual([1])
    proxy.refuse()
    await publishAll(bob, 'general', [2, 3, 4])
    proxy.refuse(false)
    expect(await ann.next('subscribed')).toMatchObject({ wasRecovering: true, recovered: true })
    await bob.publish('general', 5)
    expect(await ann.data(4)).toEqual([2, 3, 4, 5])
  })

  test('everything arrives once and in order when the connection is cut repeatedly during publishing', async () => {
    const { ann, bob, proxy } = await annBehindProxy(client)
    await ann.subscribed('general', recoverable)
    const numbers = Array.from({ length: 100 }, (_, index) => index + 1)
    for (const n of numbers) {
      if (n % 40 === 20) proxy.cut()
      await bob.publish('general', n)
      if (n % 40 === 20) expect((await ann.next('subscribed')).recovered).toBe(true)
    }
    expect(await ann.data(numbers.length)).toEqual(numbers)
    expect(ann.waiting('publication')).toEqual([])
  })

  test('a client that missed more than one reply can hold is notified and continues with live publications', async () => {
    const { ann, bob, proxy } = await annBehindProxy(client)
    await ann.subscribed('general', recoverable)
    proxy.refuse()
    await Promise.all(Array.from({ length: 301 }, (_, n) => bob.publish('general', n)))
    proxy.refuse(false)
    expect(await ann.next('subscribed')).toMatchObject({ wasRecovering: true, recovered: false })
    await bob.publish('general', 'live')
    expect(await ann.next('publication')).toMatchObject({ data: 'live', offset: 302 })
  })

  test('a channel that keeps only the newest publication recovers that one', async () => {
    const { ann, bob, proxy } = await annBehindProxy(client)
    await ann.subscribed('score', recoverable)
    proxy.refuse()
    await publishAll(bob, 'score', [1, 2, 3])
    proxy.refuse(false)
    expect(await ann.next('subscribed')).toMatchObject({ wasRecovering: true, recovered: true })
    await bob.publish('score', 4)
    expect(await ann.data(2)).toEqual([3, 4])
  })
})

describe.each(everywhere.filter(({ lacks }) => !lacks.includes('since')))('$name on $broker', (client) => {
  test('a first subscription can start at a given position', async () => {
    const { ann, bob } = await annBehindProxy(client)
    await publishAll(bob, 'general', [1, 2, 3])
    const { epoch } = await bob.history('general')
    const since = { offset: 1, epoch }
    expect((await ann.subscribed('general', { ...recoverable, since })).recovered).toBe(true)
    expect(await ann.data(2)).toEqual([2, 3])
  })
})
