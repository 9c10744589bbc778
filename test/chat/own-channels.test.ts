// The lobby and the inbox, which nobody asks for and everybody counts on.
import { expect, test } from 'vitest'
import type { ChannelRef } from '../../src/broker/broker.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { CommandError } from '../../src/errors.js'
import { systemClock } from '../../src/time.js'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs } from '../support/chat-client.js'
import { bugsOf } from '../support/gateway.js'
import { until } from '../support/redis-processes.js'

/** Refuses subscriptions until it is told that all is well. */
class AbsentBroker extends MemoryBroker {
  away = true
  refused = 0

  constructor() {
    super(new MemoryBrokerData({ clock: systemClock }))
  }

  override async subscribe(ref: ChannelRef): Promise<void> {
    if (!this.away) return super.subscribe(ref)
    this.refused += 1
    throw new CommandError('BROKER_UNAVAILABLE', 'Redis is away', { retryAfterMs: 20 })
  }
}

test('who goes while the broker is away is no fault of ours', async () => {
  const broker = new AbsentBroker()
  const gateway = await gatewayFor({}, { broker })
  const ann = await chatAs(gateway, 'ann')
  await until('both refused', () => broker.refused >= 2)
  ann.socket.terminate()
  await until('nobody there', () => gateway.gateway.tenant('demo/acme')?.sessions.size === 0)
  // Whose next try comes later than hers would.
  const bob = await chatAs(gateway, 'bob')
  const before = broker.refused
  await until('bob refused again', () => broker.refused >= before + 2)
  await bob.settle()
  expect(await bugsOf(gateway)).toBe(0)
})

test('who came while the broker was away is in the lobby and its inbox when it is back', async () => {
  const broker = new AbsentBroker()
  const gateway = await gatewayFor({}, { broker })
  const ann = await chatAs(gateway, 'ann')
  await until('both refused, twice', () => broker.refused >= 4)
  broker.away = false
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
