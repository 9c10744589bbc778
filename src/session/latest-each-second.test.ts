import { expect, test } from 'vitest'
import { ManualClock } from '../auth/auth.testing.js'
import { TimerWheel } from '../time.js'
import { LatestEachSecond } from './latest-each-second.js'

test('the first value passes at once, then the latest of each second, and nothing while none arrive', () => {
  const clock = new ManualClock()
  const wheel = new TimerWheel({ clock })
  const delivered: number[] = []
  let rests = 0
  const latest = new LatestEachSecond<number>(wheel, {
    deliver: (value) => void delivered.push(value),
    onIdle: () => void (rests += 1),
  })
  const pass = (ms: number): void => {
    clock.advance(ms)
    wheel.advance()
  }
  for (let n = 1; n <= 100; n += 1) {
    latest.offer(n)
    pass(50)
  }
  // A hundred values in five seconds: one at once and about one each second.
  expect(delivered[0]).toBe(1)
  expect(delivered.length).toBeLessThanOrEqual(6)
  pass(1_250)
  expect(delivered.at(-1)).toBe(100)
  pass(1_250)
  expect(rests).toBe(1)
  latest.offer(7)
  expect(delivered.at(-1)).toBe(7)
})
