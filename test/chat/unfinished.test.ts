// Joins that do not complete must leave nothing behind.
import { describe, expect, test, vi } from 'vitest'
import { MemoryPresence } from '../../src/presence/memory.js'
import { systemClock } from '../../src/time.js'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined } from '../support/chat-client.js'
import { HeldBroker } from '../support/held-broker.js'
import type { HistoryPage } from '../../src/broker/broker.js'

const ref = { tenantId: 'id-of-demo-acme', channel: 'general' }

class FailingBroker extends HeldBroker {
  failing = false

  override history(...args: Parameters<HeldBroker['history']>): Promise<HistoryPage> {
    return this.failing ? Promise.reject(new Error('Redis is unavailable')) : super.history(...args)
  }
}

async function party() {
  const broker = new FailingBroker()
  const presence = new MemoryPresence({ clock: systemClock })
  const gateway = await gatewayFor({}, { broker, presence })
  return { ann: await chatAs(gateway, 'ann'), broker, gateway, presence }
}

describe('a join whose history cannot be read', () => {
  test('is INTERNAL, with a retry time', async () => {
    const { ann, broker } = await party()
    broker.failing = true
    expect(await ann.ask({ type: 'join_room', room: 'general' })).toMatchObject({
      code: 'INTERNAL',
      retry_after_ms: 1_000,
    })
  })

  test('leaves no presence entry', async () => {
    const { ann, broker, presence } = await party()
    broker.failing = true
    await ann.ask({ type: 'join_room', room: 'general' })
    expect(await presence.stats(ref)).toEqual({ clients: 0, users: 0 })
  })

  test('can be retried', async () => {
    const { ann, broker } = await party()
    broker.failing = true
    await ann.ask({ type: 'join_room', room: 'general' })
    broker.failing = false
    expect(await joined(ann, 'general')).toMatchObject({ recovered: true })
  })
})

test('a connection that closes while it joins leaves no presence entry, and is not announced', async () => {
  const { ann, broker, gateway, presence } = await party()
  await joined(ann, 'general')
  const bob = await chatAs(gateway, 'bob')
  await ann.settle()
  broker.holding = true
  bob.send({ type: 'join_room', room: 'general' })
  const release = await broker.held.next()
  broker.holding = false
  bob.socket.terminate()
  await ann.next('user_disconnected')
  release()
  await vi.waitFor(async () => expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 }))
  expect(await ann.settle()).toEqual([])
})
