import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  catalogKeys,
  channelTopic,
  epochKey,
  fenceKey,
  idempotencyKey,
  leaseKey,
  ledgerGatewaysKey,
  partitionCount,
  partitionOf,
  partitionSlots,
  presenceKeys,
  generationKey,
  revocationKeys,
  streamKey,
  tenantIdOfKey,
  tenantRevocationsKey,
} from './keys.js'
import { slotOf } from './slots.js'

const manyChannels = Array.from({ length: 20_000 }, (_, n) => ({
  tenantId: `tenant-${n % 7}`,
  channel: `room:${n}`,
}))

describe('the slots of a Cluster', () => {
  test('each of the 128 equal parts of the slots has one partition', () => {
    const slots = new Set(manyChannels.map((name) => slotOf(streamKey(name))))
    expect(slots.size).toBe(partitionCount)
    expect([...slots].map((slot) => Math.floor(slot / 128)).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 128 }, (_, n) => n),
    )
  })

  test.each([2, 3, 5, 7])('%i masters get an equal number of channels within 5 %%', (masters) => {
    const counts = Array.from({ length: masters }, () => 0)
    for (const name of manyChannels) {
      const master = Math.floor((slotOf(streamKey(name)) * masters) / 16_384)
      counts[master] = (counts[master] ?? 0) + 1
    }
    const fair = manyChannels.length / masters
    for (const count of counts) expect(Math.abs(count - fair) / fair).toBeLessThan(0.05)
  })

  test('all keys of a channel are in one slot', () => {
    for (const name of manyChannels.slice(0, 100)) {
      const keys = [streamKey(name), epochKey(name), channelTopic(name), idempotencyKey(name, '{x}')]
      expect(new Set(keys.map(slotOf)).size).toBe(1)
    }
  })

  test('all keys of the ledger are in one slot', () => {
    const keys = [leaseKey('5f3a', 'connections'), leaseKey('77', 'rates'), ledgerGatewaysKey('parley')]
    expect(new Set(keys.map(slotOf)).size).toBe(1)
  })

  test('the slot of a partition is the slot of its channels', () => {
    for (const name of manyChannels.slice(0, 1_000))
      expect(partitionSlots[partitionOf(name)]).toBe(slotOf(streamKey(name)))
  })

  test('the generation record and the fence of a partition are in the slot of its streams', () => {
    for (const name of manyChannels.slice(0, 100)) {
      const partition = partitionOf(name)
      expect(slotOf(generationKey(partition))).toBe(slotOf(streamKey(name)))
      expect(slotOf(fenceKey(partition, 'gateway-1'))).toBe(slotOf(streamKey(name)))
    }
  })
})

test('the key names are the same as in earlier versions', () => {
  const name = { tenantId: '5f3a', channel: 'room:1' }
  expect([streamKey(name), epochKey(name), channelTopic(name)]).toEqual([
    'parley:{9u}:5f3a:stream:room:1',
    'parley:{9u}:5f3a:epoch:room:1',
    'parley:{9u}:5f3a:live:room:1',
  ])
  expect(idempotencyKey(name, 'a b')).toBe('parley:{9u}:5f3a:once:room:1 a b')
  expect(leaseKey('5f3a', 'connections')).toBe('parley:{quotas}:5f3a:lease:connections')
})

test('two channels or two idempotency keys never share a Redis key', () => {
  const tenantId = fc.stringMatching(/^[a-z0-9-]{1,12}$/)
  const channel = fc.stringMatching(/^[a-z0-9:.*#@é-]{1,12}$/)
  const named = fc.record({ tenantId, channel, key: fc.string({ minLength: 1, maxLength: 8 }) })
  fc.assert(
    fc.property(named, named, (one, other) => {
      fc.pre(one.tenantId !== other.tenantId || one.channel !== other.channel || one.key !== other.key)
      expect(idempotencyKey(one, one.key)).not.toBe(idempotencyKey(other, other.key))
      if (one.tenantId === other.tenantId && one.channel === other.channel) return
      for (const make of [streamKey, epochKey, channelTopic]) expect(make(one)).not.toBe(make(other))
    }),
  )
})

test('the tenant of a key can be read from it, and other keys belong to no tenant', () => {
  const name = { tenantId: 'id-1', channel: 'room:{x}' }
  const tenantKeys = [
    streamKey(name),
    epochKey(name),
    idempotencyKey(name, 'a b'),
    leaseKey('id-1', 'connections'),
    tenantRevocationsKey('id-1'),
    ...Object.values(presenceKeys(name)),
  ]
  expect(tenantKeys.map(tenantIdOfKey)).toEqual(tenantKeys.map(() => 'id-1'))
  // An installation may have the name of a tenant.
  const others = [
    ...Object.values(catalogKeys('id-1')),
    ...Object.values(revocationKeys('id-1')),
    ledgerGatewaysKey('id-1'),
    generationKey(3),
    fenceKey(3, 'id-1'),
    'other:{7g}:id-1:stream:x',
  ]
  expect(others.map(tenantIdOfKey)).toEqual(others.map(() => undefined))
})
