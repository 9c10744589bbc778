import { expect, test } from 'vitest'
import { ManualClock } from '../auth/auth.testing.js'
import { UsageMeter } from './usage.js'

const acme = (publicationsTotal: number) => ({
  key: 'demo/acme',
  quota: { connections: 1, counters: { publicationsTotal, refusals: new Map() } },
})

test('a rate is computed over the time since the last reading', () => {
  const clock = new ManualClock()
  const meter = new UsageMeter(clock)
  const tenant = acme(0)
  clock.advance(5_000)
  meter.read([tenant])
  tenant.quota.counters.publicationsTotal = 50
  clock.advance(5_000)
  expect(meter.read([tenant]).get('demo/acme')).toEqual({ connections: 1, publicationsPerSecond: 10 })
})

test('a tenant that was created again under its name starts at zero', () => {
  const clock = new ManualClock()
  const meter = new UsageMeter(clock)
  clock.advance(5_000)
  meter.read([acme(120_000)])
  clock.advance(5_000)
  expect(meter.read([acme(5)]).get('demo/acme')).toEqual({ connections: 1, publicationsPerSecond: 1 })
})
