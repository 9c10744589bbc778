import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { CommandError } from '../../errors.js'
import { ArrivalLimiter } from './arrival-limiter.js'

const clock = new ManualClock()
const limiterOf = (perSecond: number, random = () => 0) =>
  new ArrivalLimiter({ perSecond }, { clock, random, what: 'handshakes' })
const source = { tenant: 'demo/acme', address: '192.0.2.1' }

/** The time after which the next client is told to retry; undefined when it is accepted. */
function retryAfterMsOf(limiter: ArrivalLimiter, waiting = 0): number | undefined {
  try {
    limiter.admit(source, waiting)
    return undefined
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    expect(error.code).toBe('OVERLOADED')
    return error.retryAfterMs
  }
}

/** The results of `count` simultaneous handshakes. */
const admitMany = (limiter: ArrivalLimiter, count: number) =>
  Array.from({ length: count }, () => retryAfterMsOf(limiter))

describe('one client', () => {
  test('accepts a burst of three seconds of the rate, and then the rate', () => {
    const limiter = limiterOf(10)
    expect(admitMany(limiter, 40).filter((waitMs) => waitMs === undefined)).toHaveLength(30)
    clock.advance(1_000)
    expect(admitMany(limiter, 30).filter((waitMs) => waitMs === undefined)).toHaveLength(10)
  })

  test('tells refused clients to retry one after the other, at the rate', () => {
    const limiter = limiterOf(10)
    const waits = admitMany(limiter, 50).slice(30)
    expect(waits).toEqual(Array.from({ length: 20 }, (_, index) => (index + 1) * 100))
    clock.advance(1_500)
    admitMany(limiter, 15)
    expect(retryAfterMsOf(limiter)).toBe(600)
  })

  test('spreads the retries of clients that are refused together', () => {
    let draw = 0
    const limiter = limiterOf(1_000, () => (draw = (draw + 0.37) % 1))
    const seconds = admitMany(limiter, 4_000)
      .slice(3_000)
      .map((waitMs = 0) => Math.ceil(waitMs / 1000))
    const counts = [1, 2, 3].map((second) => seconds.filter((retry) => retry === second).length)
    expect(counts.reduce((sum, count) => sum + count)).toBe(1_000)
    for (const count of counts) expect(count).toBeGreaterThan(200)
  })

  test('asks no client to wait longer than 30 s, and its backlog never exceeds that', () => {
    const limiter = limiterOf(10)
    const waits = admitMany(limiter, 10_000)
    expect(waits.at(-1)).toBe(30_000)
    clock.advance(30_000)
    admitMany(limiter, 30)
    expect(retryAfterMsOf(limiter)).toBe(100)
  })

  test('refuses while a whole burst waits in the pacer, even if the rate would allow more', () => {
    const limiter = limiterOf(10)
    expect(retryAfterMsOf(limiter, 30)).toBe(100)
    expect(retryAfterMsOf(limiter, 29)).toBeUndefined()
  })
})

describe('several clients', () => {
  /** The number of `count` arrivals that are accepted, and the codes of the refusals. */
  function arrive(limiter: ArrivalLimiter, count: number, [tenant, address]: readonly [string, string]) {
    const codes = new Set<string>()
    let accepted = 0
    for (let n = 0; n < count; n += 1) {
      try {
        limiter.admit({ tenant, address }, 0)
        accepted += 1
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
        codes.add(error.code)
      }
    }
    return { accepted, codes: [...codes] }
  }

  test('an address has a budget of its own, and is told when it may try again', () => {
    const limiter = new ArrivalLimiter(
      { perSecond: 1_000, perAddress: 10 },
      { clock, random: () => 0, what: 'handshakes' },
    )
    expect(arrive(limiter, 100, ['a', '192.0.2.1'])).toEqual({ accepted: 30, codes: ['ADDRESS_LIMIT'] })
    expect(arrive(limiter, 30, ['a', '192.0.2.2'])).toEqual({ accepted: 30, codes: [] })
    expect(() => limiter.admit({ tenant: 'a', address: '192.0.2.1' }, 0)).toThrow(
      expect.objectContaining({ code: 'ADDRESS_LIMIT', retryAfterMs: 100 }),
    )
    clock.advance(1_000)
    expect(arrive(limiter, 100, ['a', '192.0.2.1']).accepted).toBe(10)
    clock.advance(60_000)
    expect(arrive(limiter, 100, ['a', '192.0.2.1']).accepted).toBe(30)
  })

  test.each([
    ['another tenant', ['b', '192.0.2.9']],
    ['another address of the same tenant', ['a', '192.0.2.9']],
    ['another tenant behind the same address', ['b', '192.0.2.1']],
  ] as const)('the flood of one does not refuse %s', (_who, other) => {
    const limiter = limiterOf(100)
    let flooded = 0
    for (let second = 0; second < 30; second += 1) {
      for (let step = 0; step < 10; step += 1) {
        flooded += arrive(limiter, 100, ['a', '192.0.2.1']).accepted
        expect(arrive(limiter, 1, other)).toEqual({ accepted: 1, codes: [] })
        clock.advance(100)
      }
    }
    // The flood has what the other does not use: the burst and 90 per second, and a share at its start.
    expect(flooded).toBeGreaterThan(30 * 80)
    expect(flooded).toBeLessThan(300 + 30 * 90 + 100)
  })

  test('tenants that all flood have equal parts', () => {
    const limiter = limiterOf(90)
    const accepted: Record<string, number> = { a: 0, b: 0, c: 0 }
    for (let step = 0; step < 300; step += 1) {
      for (const tenant of ['a', 'b', 'c'])
        for (const address of ['192.0.2.1', '192.0.2.2'])
          accepted[tenant] = (accepted[tenant] ?? 0) + arrive(limiter, 20, [tenant, address]).accepted
      clock.advance(100)
    }
    const total = Object.values(accepted).reduce((sum, count) => sum + count)
    expect(total).toBeLessThan(30 * 90 + 270 + 270)
    for (const count of Object.values(accepted)) expect(count).toBeGreaterThan(30 * 90 * 0.2)
  })

  test('thousands of addresses do not exceed the rate for long', () => {
    const limiter = limiterOf(100)
    let accepted = 0
    for (let n = 0; n < 60_000; n += 1) {
      accepted += arrive(limiter, 1, ['a', `address ${n}`]).accepted
      clock.advance(1)
    }
    expect(accepted).toBeLessThan(60 * 100 + 700)
  })
})
