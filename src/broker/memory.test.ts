import { describe, expect, test } from 'vitest'
import type { Clock } from '../time.js'
import type { ChannelRef } from './broker.js'
import { brokerContract } from './broker.contract.js'
import { RecordingListener } from './listener.testing.js'
import { MemoryBroker, MemoryBrokerData } from './memory.js'
import { idempotencyWindowMs, streamIdleTtlMs } from './retention.js'

class ManualClock implements Clock {
  #nowMs = 0

  epochMs(): number {
    return 1_700_000_000_000 + this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }
}

function openBrokers() {
  const clock = new ManualClock()
  const data = new MemoryBrokerData({ clock })
  const [broker, peer] = [new MemoryBroker(data), new MemoryBroker(data)]
  return { clock, data, broker, peer }
}

let sweep = (): void => {}

brokerContract(
  'MemoryBroker',
  async () => {
    const { clock, broker, data, peer } = openBrokers()
    sweep = () => data.sweep()
    return {
      broker,
      peer,
      advance: async (ms) => clock.advance(ms),
      close: async () => {
        await Promise.all([broker.close(), peer.close()])
      },
    }
  },
  { reaches: 'accepted', sweep: () => sweep() },
)

describe('MemoryBroker', () => {
  const ref: ChannelRef = { tenantId: 't', channel: 'c' }
  const one = { data: Buffer.from('1') }
  const kept = { history: { size: 10, ttlMs: 1000 } }

  test('delivers before publish() returns', async () => {
    const { broker } = openBrokers()
    const listener = new RecordingListener(1000)
    broker.listen(listener)
    await broker.subscribe(ref)
    const publishing = broker.publish(ref, one, {})
    expect(listener.on(ref)).toHaveLength(1)
    await publishing
  })

  test('a publication from a listener’s callback follows the one that caused it, for every listener', async () => {
    const { broker, peer } = openBrokers()
    const listener = new RecordingListener(1000)
    const answering: Promise<unknown>[] = []
    broker.listen({
      onPublication: (_, publication) => {
        if (publication.offset === 1)
          answering.push(broker.publish(ref, { data: Buffer.from('"answer"') }, kept))
      },
      onAnnouncement: () => {},
      onContinuityLost: () => {},
    })
    peer.listen(listener)
    await broker.subscribe(ref)
    await peer.subscribe(ref)
    await peer.publish(ref, { data: Buffer.from('"question"') }, kept)
    await Promise.all(answering)
    expect(listener.textsOn(ref)).toEqual(['"question"', '"answer"'])
  })

  test('a listener that fails does not stop later deliveries', async () => {
    const { broker, peer } = openBrokers()
    const listener = new RecordingListener(1000)
    const fail = () => {
      throw new Error('a bug')
    }
    broker.listen({ onPublication: fail, onAnnouncement: fail, onContinuityLost: fail })
    peer.listen(listener)
    await broker.subscribe(ref)
    await expect(peer.publish(ref, one, {})).rejects.toThrow('a bug')
    await broker.unsubscribe(ref)
    await peer.subscribe(ref)
    await peer.publish(ref, one, {})
    expect(listener.on(ref)).toHaveLength(1)
  })

  test('channels whose joined names are equal stay separate', async () => {
    const { broker } = openBrokers()
    await broker.publish({ tenantId: 'a', channel: 'b:c' }, one, kept)
    expect((await broker.history({ tenantId: 'a:b', channel: 'c' }, { limit: 1 })).top.offset).toBe(0)
    expect((await broker.history({ tenantId: 'ab', channel: ':c' }, { limit: 1 })).top.offset).toBe(0)
  })

  test('a refused durability is explained', async () => {
    const { broker } = openBrokers()
    await expect(broker.publish(ref, one, { durability: 'replicated' })).rejects.toThrow(
      /memory, which reaches "accepted" only/,
    )
  })

  test('subscribe() before listen() is a bug', async () => {
    await expect(openBrokers().broker.subscribe(ref)).rejects.toThrow('listen')
  })

  test('a second listener is a bug', () => {
    const { broker } = openBrokers()
    broker.listen(new RecordingListener(1000))
    expect(() => broker.listen(new RecordingListener(1000))).toThrow('twice')
  })

  test('the time of a publication is the time at which the broker accepted it', async () => {
    const { broker, clock } = openBrokers()
    clock.advance(5)
    await broker.publish(ref, one, kept)
    expect((await broker.history(ref, { limit: 1 })).publications[0]?.timeMs).toBe(1_700_000_000_005)
  })
})

describe('MemoryBrokerData.sweep()', () => {
  const refOf = (n: number): ChannelRef => ({ tenantId: 't', channel: `c${n}` })
  const two = { data: Buffer.from('12') }
  const kept = { history: { size: 10, ttlMs: 1000 } }
  const empty = { streams: 0, publications: 0, bytes: 0, idempotencyKeys: 0 }

  test('removes expired publications of streams that are not read', async () => {
    const { broker, clock, data } = openBrokers()
    await broker.publish(refOf(1), two, kept)
    await broker.publish(refOf(1), two, kept)
    expect(data.stats()).toEqual({ ...empty, streams: 1, publications: 2, bytes: 4 })
    clock.advance(1001)
    data.sweep()
    expect(data.stats()).toEqual({ ...empty, streams: 1 })
  })

  test('removes results of publishes with a key', async () => {
    const { broker, clock, data } = openBrokers()
    await broker.publish(refOf(1), two, { idempotencyKey: 'k' })
    clock.advance(idempotencyWindowMs)
    data.sweep()
    expect(data.stats().idempotencyKeys).toBe(1)
    clock.advance(idempotencyWindowMs)
    data.sweep()
    expect(data.stats()).toEqual(empty)
  })

  test('removes streams after thirty idle days, which then begin a new epoch', async () => {
    const { broker, clock, data } = openBrokers()
    const { position } = await broker.publish(refOf(1), two, kept)
    clock.advance(streamIdleTtlMs)
    data.sweep()
    expect((await broker.history(refOf(1), { limit: 0 })).top).toEqual(position)
    clock.advance(1)
    data.sweep()
    expect(data.stats()).toEqual(empty)
    const { top } = await broker.history(refOf(1), { limit: 0 })
    expect(top.offset).toBe(0)
    expect(top.epoch).not.toBe(position?.epoch)
  })

  test('returns the bytes of streams that were removed to their tenant', async () => {
    const { broker, clock, data } = openBrokers()
    await broker.publish(refOf(1), two, kept)
    expect(broker.storage.storedBytes('t')).toBeGreaterThan(2)
    clock.advance(streamIdleTtlMs + 1)
    data.sweep()
    expect(broker.storage.storedBytes('t')).toBe(0)
  })

  test('keeps every stream that has a subscriber', async () => {
    const { broker, clock, data } = openBrokers()
    broker.listen(new RecordingListener(1000))
    await broker.subscribe(refOf(1))
    await broker.publish(refOf(1), two, kept)
    clock.advance(streamIdleTtlMs * 2)
    data.sweep()
    expect(data.stats().streams).toBe(1)
    await broker.close()
    data.sweep()
    expect(data.stats()).toEqual(empty)
  })

  test('processes a bounded number of streams per call, and continues with the others', async () => {
    const { broker, clock, data } = openBrokers()
    for (let n = 0; n < 2500; n += 1) await broker.publish(refOf(n), two, kept)
    clock.advance(1001)
    data.sweep()
    expect(data.stats().publications).toBe(1500)
    data.sweep()
    data.sweep()
    expect(data.stats()).toEqual({ ...empty, streams: 2500 })
  })
})
