import { expect, test } from 'vitest'
import { Programming } from './rollout-latency.js'

class Rig {
  nowMs = 0
  oldestSeconds = () => Number.NaN
  readonly told: number[] = []
  readonly programming = new Programming({
    clock: { monotonicMs: () => this.nowMs },
    meter: (oldest) => {
      this.oldestSeconds = oldest
      return (seconds) => this.told.push(seconds)
    },
  })
}

test('a revision is timed from its beginning to its end, and the oldest is told meanwhile', () => {
  const rig = new Rig()
  expect(rig.oldestSeconds()).toBe(0)
  rig.programming.begun('demo/acme', 'a')
  rig.nowMs = 2_000
  rig.programming.begun('demo/globex', 'g')
  rig.programming.begun('demo/acme', 'a')
  rig.nowMs = 3_000
  expect(rig.oldestSeconds()).toBe(3)
  rig.programming.done('demo/acme', 'a')
  expect([rig.told, rig.oldestSeconds()]).toEqual([[3], 1])
})

test('another revision begins anew, and the end of the old one is not its end', () => {
  const rig = new Rig()
  rig.programming.begun('demo/acme', 'a')
  rig.nowMs = 5_000
  rig.programming.begun('demo/acme', 'b')
  rig.programming.done('demo/acme', 'a')
  rig.nowMs = 6_000
  rig.programming.done('demo/acme', 'b')
  expect(rig.told).toEqual([1])
})

test('what never began, and what was given up, is not timed', () => {
  const rig = new Rig()
  rig.programming.done('demo/acme', 'a')
  rig.programming.begun('demo/acme', 'b')
  rig.programming.forget('demo/acme')
  rig.programming.done('demo/acme', 'b')
  expect([rig.told, rig.oldestSeconds()]).toEqual([[], 0])
})
