// The automatic channels of the chat endpoint: the lobby and the direct messages.
import { expect, test } from 'vitest'
import type { ChannelRef } from '../../src/broker/broker.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { CommandError } from '../../src/errors.js'
import { systemClock } from '../../src/time.js'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs } from '../support/chat-client.js'
import { bugsOf } from '../support/gateway.js'
import { until } from '../support/redis-processes.js'

/** Refuses subscriptions until the test makes it available. */
class UnavailableBroker extends MemoryBroker {
  available = false
  refused = 0

  constructor() {
    super(new MemoryBrokerData({ clock: systemClock }))
  }

  override async subscribe(ref: ChannelRef): Promise<void> {
    if (this.available) return super.subscribe(ref)
    this.refused += 1
    throw new CommandError('BROKER_UNAVAILABLE', 'Redis is unavailable', { retryAfterMs: 20 })
  }
}

test('a client that leaves while the broker is unavailable causes no bug report', async () => {
  const broker = new UnavailableBroker()
  const gateway = await gatewayFor({}, { broker })
  const ann = await chatAs(gateway, 'ann')
  await until('both refused', () => broker.refused >= 2)
  ann.socket.terminate()
  await until('the session of ann to end', () => gateway.gateway.tenant('demo/acme')?.sessions.size === 0)
  // Bob's retry is later than a retry of ann would be.
  const bob = await chatAs(gateway, 'bob')
  const before = broker.refused
  await until('bob refused again', () => broker.refused >= before + 2)
  await bob.settle()
  expect(await bugsOf(gateway)).toBe(0)
})

test('a client that connected while the broker was unavailable is subscribed when the broker is available again', async () => {
  const broker = new UnavailableBroker()
  const gateway = await gatewayFor({}, { broker })
  const ann = await chatAs(gateway, 'ann')
  await until('both refused, twice', () => broker.refused >= 4)
  broker.available = true
  const bob = await chatAs(gateway, 'bob')
  await until('ann in the lobby', async () => {
    await bob.done({ type: 'presence', room: 'lobby' })
    const { members } = await bob.next('presence')
    return (members as unknown[]).length === 2
  })
  await bob.done({ type: 'chat', content: 'to all' })
  expect(await ann.next('chat')).toMatchObject({ content: 'to all' })
  await until('a direct message', async () => {
    await bob.done({ type: 'direct_message', target_user: 'ann', content: 'psst' })
    return ann.events.waiting.some(({ event }) => event === 'direct_message')
  })
})
