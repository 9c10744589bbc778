import { describe, expect, test } from 'vitest'
import { ManualClock } from '../auth/auth.testing.js'
import { ArrivalDelay } from './arrival-delay.js'

function measuring(): { clock: ManualClock; delay: ArrivalDelay; now: () => number } {
  const clock = new ManualClock()
  const delay = new ArrivalDelay(clock)
  delay.measure()
  return { clock, delay, now: () => delay.at(clock.monotonicMs()) }
}

describe('the delay of arrivals', () => {
  test('is 0 while nothing is measured, and while measurements are in time', () => {
    const clock = new ManualClock()
    const delay = new ArrivalDelay(clock)
    clock.advance(10_000)
    expect(delay.at(clock.monotonicMs())).toBe(0)
    for (let tick = 0; tick < 100; tick += 1) {
      delay.measure()
      clock.advance(55)
      expect(delay.at(clock.monotonicMs())).toBe(0)
    }
  })

  test('grows while the loop is blocked, before a timer can run', () => {
    const { clock, now } = measuring()
    clock.advance(700)
    expect(now()).toBe(700)
    clock.advance(300)
    expect(now()).toBe(1_000)
  })

  test('stays for the input that waited meanwhile, and then ends', () => {
    const { clock, delay, now } = measuring()
    clock.advance(1_000)
    delay.measure()
    clock.advance(50)
    delay.measure()
    expect(now()).toBe(1_000)
    for (let tick = 0; tick < 20; tick += 1) {
      clock.advance(50)
      delay.measure()
    }
    clock.advance(50)
    expect(now()).toBe(0)
  })

  test('is at most five seconds', () => {
    const { clock, now } = measuring()
    clock.advance(60_000)
    expect(now()).toBe(5_000)
  })
})
