import { expect, test } from 'vitest'
import type { Clock } from '../time.js'
import type { LiveRedis } from './link.js'
import { ServerTime } from './server-time.js'

class ManualClock implements Clock {
  #nowMs = 0
  epochMs = () => this.#nowMs
  monotonicMs = () => this.#nowMs

  advance(ms: number): void {
    this.#nowMs += ms
  }
}

/** A connection to a server whose clock shows `seconds`. `delay` runs before it answers. */
function serverAt(seconds: number, delay: () => void = () => {}): LiveRedis {
  const pipeline = { time: () => pipeline }
  return {
    client: { pipeline: () => pipeline },
    run: async () => {
      delay()
      return [[String(seconds), '0']]
    },
  } as unknown as LiveRedis
}

test('the clock of a new master replaces a more exact estimate, which holds until then', async () => {
  const clock = new ManualClock()
  const time = new ServerTime(clock)
  await time.begin(serverAt(1_000))
  const before = time.nowMs()
  const during: number[] = []
  await time.begin(
    serverAt(5_000, () => {
      during.push(time.nowMs())
      clock.advance(10)
    }),
  )
  expect(during[0]).toBe(before)
  expect(time.nowMs()).toBeGreaterThanOrEqual(5_000_000)
})

test('a less exact measurement of the same master is not used', async () => {
  const clock = new ManualClock()
  const time = new ServerTime(clock)
  await time.begin(serverAt(1_000))
  await time.measure(serverAt(9_000, () => clock.advance(10)))
  expect(time.nowMs()).toBeLessThan(2_000_000)
})
