import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from './auth/auth.testing.js'
import { secondsUntil, TimerWheel, type Timer } from './time.js'

const resolutionMs = 250

function wheelAt(clock: ManualClock): TimerWheel {
  return new TimerWheel({ clock, resolutionMs })
}

describe('TimerWheel', () => {
  test('a timer fires once, not before its delay and at most one resolution after it, for any delays and steps', () => {
    fc.assert(
      fc.property(
        fc.nat(1000),
        fc.array(fc.record({ atMs: fc.nat(3000), delayMs: fc.nat(20_000) }), { maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: resolutionMs }), { minLength: 200, maxLength: 300 }),
        (startMs, plans, steps) => {
          const clock = new ManualClock()
          clock.advance(startMs)
          const wheel = wheelAt(clock)
          const fired = new Map<number, number[]>()
          const waiting = plans.map((plan, index) => ({ ...plan, index })).toSorted((a, b) => a.atMs - b.atMs)
          const dueMs = new Map<number, number>()
          for (const step of steps) {
            while (waiting[0] && startMs + waiting[0].atMs <= clock.monotonicMs()) {
              const [{ delayMs, index }] = waiting.splice(0, 1) as [(typeof waiting)[0]]
              dueMs.set(index, clock.monotonicMs() + delayMs)
              wheel.after(delayMs, () => fired.set(index, [...(fired.get(index) ?? []), clock.monotonicMs()]))
            }
            clock.advance(step)
            wheel.advance()
          }
          for (const [index, due] of dueMs) {
            const times = fired.get(index) ?? []
            expect(times.length).toBeLessThanOrEqual(1)
            const [at] = times
            if (at === undefined) expect(due).toBeGreaterThan(clock.monotonicMs() - resolutionMs)
            else {
              expect(at).toBeGreaterThanOrEqual(due)
              // The step that reached the due time may also have passed it.
              expect(at - due).toBeLessThan(2 * resolutionMs)
            }
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  test('advance() after a long pause fires all due timers in order', () => {
    const clock = new ManualClock()
    const wheel = wheelAt(clock)
    const fired: number[] = []
    for (const delayMs of [5000, 1000, 3000]) wheel.after(delayMs, () => fired.push(delayMs))
    clock.advance(60_000)
    wheel.advance()
    expect(fired).toEqual([1000, 3000, 5000])
  })

  test('a delay of 0 fires at the next tick, not during the call', () => {
    const clock = new ManualClock()
    const wheel = wheelAt(clock)
    let fired = false
    wheel.after(0, () => (fired = true))
    wheel.advance()
    expect(fired).toBe(false)
    clock.advance(resolutionMs)
    wheel.advance()
    expect(fired).toBe(true)
  })

  test('a cancelled timer does not fire', () => {
    const clock = new ManualClock()
    const wheel = wheelAt(clock)
    let fired = false
    wheel.cancel(wheel.after(1000, () => (fired = true)))
    clock.advance(5000)
    wheel.advance()
    expect(fired).toBe(false)
  })

  test('a timer can cancel another timer of the same tick', () => {
    const clock = new ManualClock()
    const wheel = wheelAt(clock)
    const fired: string[] = []
    const timers: Timer[] = []
    for (const [index, name] of ['first', 'second'].entries()) {
      const other = 1 - index
      timers.push(
        wheel.after(1000, () => {
          fired.push(name)
          if (timers[other]) wheel.cancel(timers[other])
        }),
      )
    }
    clock.advance(1000)
    wheel.advance()
    expect(fired).toEqual(['first'])
  })

  test('cancelling a timer that has fired does nothing', () => {
    const clock = new ManualClock()
    const wheel = wheelAt(clock)
    let fired = 0
    const timer = wheel.after(250, () => (fired += 1))
    clock.advance(250)
    wheel.advance()
    wheel.cancel(timer)
    clock.advance(1000)
    wheel.advance()
    expect(fired).toBe(1)
  })

  test('reschedule() moves a timer to an earlier or a later time', () => {
    const clock = new ManualClock()
    const wheel = wheelAt(clock)
    const fired: number[] = []
    const timer = wheel.after(10_000, () => fired.push(clock.monotonicMs()))
    wheel.reschedule(timer, 1000)
    wheel.reschedule(timer, 2000)
    for (let n = 0; n < 48; n += 1) {
      clock.advance(resolutionMs)
      wheel.advance()
    }
    expect(fired).toEqual([2000])
  })

  test('a timer can reschedule itself while it fires', () => {
    const clock = new ManualClock()
    const wheel = wheelAt(clock)
    const fired: number[] = []
    const timer: Timer = wheel.after(1000, () => {
      fired.push(clock.monotonicMs())
      wheel.reschedule(timer, 1000)
    })
    for (let n = 0; n < 12; n += 1) {
      clock.advance(resolutionMs)
      wheel.advance()
    }
    expect(fired).toEqual([1000, 2000, 3000])
  })

  test('run() advances the wheel until its signal is aborted', async () => {
    const stopped = new AbortController()
    const wheel = new TimerWheel({
      clock: { epochMs: Date.now, monotonicMs: () => performance.now() },
      resolutionMs: 1,
    })
    wheel.run(stopped.signal)
    await new Promise<void>((resolve) => {
      wheel.after(1, resolve)
    })
    stopped.abort()
    expect(stopped.signal.aborted).toBe(true)
  })
})

describe('secondsUntil', () => {
  test.each([
    [1000, 1],
    [1001, 2],
    [1, 1],
    [0, 1],
    [-5000, 1],
  ])('%i ms from now is %i s', (ms, seconds) => {
    expect(secondsUntil(7000 + ms, 7000)).toBe(seconds)
  })

  test('an undefined instant gives undefined', () => {
    expect(secondsUntil(undefined, 0)).toBeUndefined()
  })
})

test('a timer that throws does not stop the others, and its error is reported', () => {
  const errors: unknown[] = []
  let nowMs = 0
  const clock = { epochMs: () => nowMs, monotonicMs: () => nowMs }
  const wheel = new TimerWheel({ clock, onError: (error) => errors.push(error) })
  const fired: string[] = []
  wheel.after(1000, () => {
    throw new Error('a bug')
  })
  wheel.after(1000, () => fired.push('other'))
  nowMs = 1000
  wheel.advance()
  expect(fired).toEqual(['other'])
  expect(errors).toEqual([new Error('a bug')])
})
