import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { CommandError } from '../../errors.js'
import { HandshakeLimiter } from './handshake-limiter.js'

const clock = new ManualClock()
const rateOf = (perSecond: number, random = () => 0) => new HandshakeLimiter(perSecond, { clock, random })

/** How long the next is told to wait; undefined: it is let in. */
function askedToWaitMs(rate: HandshakeLimiter, waiting = 0): number | undefined {
  try {
    rate.admit(waiting)
    return undefined
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    expect(error.code).toBe('OVERLOADED')
    return error.retryAfterMs
  }
}

/** What `count` who come at once are told. */
const storm = (rate: HandshakeLimiter, count: number) => Array.from({ length: count }, () => askedToWaitMs(rate))

describe('HandshakeRate', () => {
  test('lets in three seconds’ worth at once, and then the rate', () => {
    const rate = rateOf(10)
    expect(storm(rate, 40).filter((waitMs) => waitMs === undefined)).toHaveLength(30)
    clock.advance(1_000)
    expect(storm(rate, 30).filter((waitMs) => waitMs === undefined)).toHaveLength(10)
  })

  test('sends those who are refused away in a line that moves at the rate', () => {
    const rate = rateOf(10)
    const waits = storm(rate, 50).slice(30)
    expect(waits).toEqual(Array.from({ length: 20 }, (_, index) => (index + 1) * 100))
    clock.advance(1_500)
    storm(rate, 15)
    expect(askedToWaitMs(rate)).toBe(600)
  })

  test('spreads those who are refused together', () => {
    let draw = 0
    const rate = rateOf(1_000, () => (draw = (draw + 0.37) % 1))
    const seconds = storm(rate, 4_000)
      .slice(3_000)
      .map((waitMs = 0) => Math.ceil(waitMs / 1000))
    const counts = [1, 2, 3].map((second) => seconds.filter((told) => told === second).length)
    expect(counts.reduce((sum, count) => sum + count)).toBe(1_000)
    for (const count of counts) expect(count).toBeGreaterThan(200)
  })

  test('keeps nobody away for more than half a minute, and remembers no longer line', () => {
    const rate = rateOf(10)
    const waits = storm(rate, 10_000)
    expect(waits.at(-1)).toBe(30_000)
    clock.advance(30_000)
    storm(rate, 30)
    expect(askedToWaitMs(rate)).toBe(100)
  })

  test('refuses while as many wait as are let in at once, whatever the rate would allow', () => {
    const rate = rateOf(10)
    expect(askedToWaitMs(rate, 30)).toBe(100)
    expect(askedToWaitMs(rate, 29)).toBeUndefined()
  })
})
