import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { CommandError } from '../../errors.js'
import { HandshakeLimiter } from './handshake-limiter.js'

const clock = new ManualClock()
const limiterOf = (perSecond: number, random = () => 0) => new HandshakeLimiter(perSecond, { clock, random })

/** The time after which the next client is told to retry; undefined when it is accepted. */
function retryAfterMsOf(limiter: HandshakeLimiter, waiting = 0): number | undefined {
  try {
    limiter.admit(waiting)
    return undefined
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    expect(error.code).toBe('OVERLOADED')
    return error.retryAfterMs
  }
}

/** The results of `count` simultaneous handshakes. */
const admitMany = (limiter: HandshakeLimiter, count: number) =>
  Array.from({ length: count }, () => retryAfterMsOf(limiter))

describe('HandshakeLimiter', () => {
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
