import { expect, test } from 'vitest'
import { ManualClock } from '../auth/auth.testing.js'
import { UsageMeter } from './usage.js'

const acme = (publicationsTotal: number) => ({
  key: 'demo/acme',
  policy: { tenantId: 'acme' },
  quota: { connections: 1, counters: { publicationsTotal, refusals: new Map() } },
})

test('a rate is computed over the time since the last reading', () => {
  const clock = new ManualClock()
  const meter = new UsageMeter(clock, () => undefined)
  const tenant = acme(0)
  clock.advance(5_000)
  meter.read([tenant])
  tenant.quota.counters.publicationsTotal = 50
  clock.advance(5_000)
  expect(meter.read([tenant]).get('demo/acme')).toEqual({ connections: 1, publicationsPerSecond: 10 })
})

test('a tenant that was created again under its name starts at zero', () => {
  const clock = new ManualClock()
  const meter = new UsageMeter(clock, () => undefined)
  clock.advance(5_000)
  meter.read([acme(120_000)])
  clock.advance(5_000)
  expect(meter.read([acme(5)]).get('demo/acme')).toEqual({ connections: 1, publicationsPerSecond: 1 })
})

test('stored bytes are reported for a tenant that uses nothing else', () => {
  const clock = new ManualClock()
  const idle = { ...acme(0), quota: { ...acme(0).quota, connections: 0 } }
  const storing = new UsageMeter(clock, (tenantId) => (tenantId === 'acme' ? 700 : undefined))
  expect(storing.read([idle]).get('demo/acme')).toEqual({
    connections: 0,
    publicationsPerSecond: 0,
    storedBytes: 700,
  })
  expect(new UsageMeter(clock, () => undefined).read([idle]).size).toBe(0)
})
