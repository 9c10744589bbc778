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
  presenceKeys,
  recordKey,
  streamKey,
  tenantIdOfKey,
} from './keys.js'

/** As Redis Cluster does it: CRC16 (XMODEM) of what is between the first braces. */
function slotOf(key: string): number {
  const tag = /\{([^}]+)\}/.exec(key)?.[1] ?? key
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  }
  return crc & 0x3fff
}

const manyChannels = Array.from({ length: 20_000 }, (_, n) => ({
  tenantId: `tenant-${n % 7}`,
  channel: `room:${n}`,
}))

describe('the slots of a Cluster', () => {
  test('are computed here as Redis does', () => {
    // From the Cluster specification.
    expect(slotOf('123456789')).toBe(0x31c3)
    expect(slotOf('foo{bar}{zap}')).toBe(slotOf('bar'))
  })

  test('each 128th of them has one partition', () => {
    const slots = new Set(manyChannels.map((name) => slotOf(streamKey(name))))
    expect(slots.size).toBe(partitionCount)
    expect([...slots].map((slot) => Math.floor(slot / 128)).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 128 }, (_, n) => n),
    )
  })

  test.each([2, 3, 5, 7])('%i masters get as many channels each, give or take 5 %%', (masters) => {
    const counts = Array.from({ length: masters }, () => 0)
    for (const name of manyChannels) {
      const master = Math.floor((slotOf(streamKey(name)) * masters) / 16_384)
      counts[master] = (counts[master] ?? 0) + 1
    }
    const fair = manyChannels.length / masters
    for (const count of counts) expect(Math.abs(count - fair) / fair).toBeLessThan(0.05)
  })

  test('all that belongs to a channel is in one', () => {
    for (const name of manyChannels.slice(0, 100)) {
      const keys = [streamKey(name), epochKey(name), channelTopic(name), idempotencyKey(name, '{x}')]
      expect(new Set(keys.map(slotOf)).size).toBe(1)
    }
  })

  test('a fence is in the slot of the record', () => {
    expect(slotOf(fenceKey('gateway-1'))).toBe(slotOf(recordKey))
  })
})

test('the layout is what earlier versions wrote', () => {
  const name = { tenantId: '5f3a', channel: 'room:1' }
  expect([streamKey(name), epochKey(name), channelTopic(name)]).toEqual([
    'parley:{9u}:5f3a:stream:room:1',
    'parley:{9u}:5f3a:epoch:room:1',
    'parley:{9u}:5f3a:live:room:1',
  ])
  expect(idempotencyKey(name, 'a b')).toBe('parley:{9u}:5f3a:once:room:1 a b')
  expect(leaseKey('5f3a', 'connections')).toBe('parley:{2y}:5f3a:lease:connections')
})

test('two channels, and two idempotency keys, never share a name', () => {
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

test('whose a key is can be told from it, and what is nobody’s is nobody’s', () => {
  const name = { tenantId: 'id-1', channel: 'room:{x}' }
  const theirs = [
    streamKey(name),
    epochKey(name),
    idempotencyKey(name, 'a b'),
    leaseKey('id-1', 'connections'),
    ...Object.values(presenceKeys(name)),
  ]
  expect(theirs.map(tenantIdOfKey)).toEqual(theirs.map(() => 'id-1'))
  // An installation may be called like a tenant.
  const others = [
    ...Object.values(catalogKeys('id-1')),
    ledgerGatewaysKey('id-1'),
    recordKey,
    fenceKey('id-1'),
    'other:{7g}:id-1:stream:x',
  ]
  expect(others.map(tenantIdOfKey)).toEqual(others.map(() => undefined))
})
