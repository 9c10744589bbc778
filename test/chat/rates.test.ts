// The rates of reads, subscriptions and bytes of a tenant, at both endpoints.
import { describe, expect, test } from 'vitest'
import type { Limits } from '../../src/tenant/policy.js'
import { connectedAs, gatewayFor, next, sdkOf, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, joined } from '../support/chat-client.js'
import { MovableClock } from '../support/clock.js'
import type { TestGateway } from '../support/gateway.js'
import { generousLimits } from '../support/policies.js'
import { until } from '../support/redis-processes.js'

async function limited(
  messages: Partial<Limits['messages']>,
): Promise<{ clock: MovableClock; on: TestGateway }> {
  const clock = new MovableClock()
  const limits = { ...generousLimits, messages: { ...generousLimits.messages, ...messages } }
  return { clock, on: await gatewayFor({ limits }, { clock }) }
}

describe('readsPerSecond', () => {
  test('refuses history and presence above the rate, with the time to wait', async () => {
    const { clock, on } = await limited({ readsPerSecond: 1 })
    const ann = await chatAs(on, 'ann')
    for (let n = 0; n < 5; n += 1) await ann.done({ type: 'history', room: 'general' })
    for (const type of ['history', 'presence'])
      expect(await ann.ask({ type, room: 'general' })).toMatchObject({
        code: 'QUOTA_EXCEEDED',
        message: expect.stringContaining('the tenant’s 1 reads per second are used') as string,
        retry_after_ms: 1_000,
      })
    clock.move(1_000, on)
    await ann.done({ type: 'presence', room: 'general' })
  })

  test('counts a page of many messages as several reads', async () => {
    const { on } = await limited({ readsPerSecond: 2 })
    const ann = await chatAs(on, 'ann')
    for (let n = 0; n < 100; n += 1) await ann.done({ type: 'room_message', room: 'general', content: n })
    for (let n = 0; n < 5; n += 1) await ann.done({ type: 'history', room: 'general', limit: 100 })
    expect(await ann.ask({ type: 'history', room: 'general', limit: 1 })).toMatchObject({
      code: 'QUOTA_EXCEEDED',
    })
  })

  test('Centrifuge clients get the temporary error 111', async () => {
    const { on } = await limited({ readsPerSecond: 1 })
    const subscription = await subscribed(await connectedAs(on, 'ann'), 'general')
    for (let n = 0; n < 5; n += 1) await subscription.presenceStats()
    await expect(subscription.history({ limit: 1 })).rejects.toMatchObject({ code: 111, temporary: true })
  })
})

describe('joinsPerSecond', () => {
  test('refuses a room above the rate, and admits it later', async () => {
    const { clock, on } = await limited({ joinsPerSecond: 3 })
    // Two of them are the automatic channels.
    const ann = await chatAs(on, 'ann')
    await until('ann is subscribed to both', () => on.gateway.hub.subscriptions === 2)
    await joined(ann, 'general')
    await ann.done({ type: 'leave_room', room: 'general' })
    expect(await ann.ask({ type: 'join_room', room: 'general' })).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot subscribe to "general": the tenant’s 3 subscriptions per second are used',
    })
    clock.move(1_000, on)
    await joined(ann, 'general')
  })

  test('automatic channels above the rate wait for their turn, and none is lost', async () => {
    const { clock, on } = await limited({ joinsPerSecond: 2 })
    for (const user of ['ann', 'bob', 'eve', 'mia']) await chatAs(on, user)
    expect(on.gateway.hub.subscriptions).toBeLessThan(8)
    await until('all are subscribed to both', async () => {
      clock.move(500, on)
      return on.gateway.hub.subscriptions === 8
    })
  })

  test('a token with channels is refused as a whole, and the SDK connects again by itself', async () => {
    const { clock, on } = await limited({ joinsPerSecond: 2 })
    const token = await on.token('ann', { claims: { channels: ['general', 'lobby', 'dm:ann'] } })
    const options = { minReconnectDelay: 10, maxReconnectDelay: 50 }
    const first = sdkOf(on, 'ann', { ...options, token })
    first.connect()
    await next(first, 'connected')
    const second = sdkOf(on, 'ann', { ...options, token })
    const connected = next(second, 'connected')
    second.connect()
    const error = await next(second, 'error')
    expect(JSON.stringify(error)).toContain('subscriptions per second are used')
    clock.move(1_000, on)
    await connected
    expect(on.gateway.hub.subscriptions).toBe(6)
  })
})

describe('bytesOutPerSecond', () => {
  test('publishes and reads are refused until the bytes that were sent are paid', async () => {
    const { clock, on } = await limited({ bytesOutPerSecond: 10_000 })
    const [ann, bob] = [await chatAs(on, 'ann'), await chatAs(on, 'bob')]
    await joined(ann, 'general')
    await joined(bob, 'general')
    await ann.done({ type: 'room_message', room: 'general', content: 'x'.repeat(12_000) })
    await bob.next('chat')
    for (const command of [
      { type: 'room_message', room: 'general', content: 1 },
      { type: 'history', room: 'general' },
    ])
      expect(await ann.ask(command)).toMatchObject({
        code: 'QUOTA_EXCEEDED',
        message: expect.stringContaining('10000 bytes to clients per second are used') as string,
      })
    clock.move(5_000, on)
    await ann.done({ type: 'room_message', room: 'general', content: 1 })
  })
})
