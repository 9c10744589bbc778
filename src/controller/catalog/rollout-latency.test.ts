import { expect, test } from 'vitest'
import { RolloutLatency } from './rollout-latency.js'

class Rig {
  nowMs = 0
  oldestSeconds = () => Number.NaN
  readonly recorded: number[] = []
  readonly latency = new RolloutLatency({
    clock: { monotonicMs: () => this.nowMs },
    meter: (oldest) => {
      this.oldestSeconds = oldest
      return (seconds) => this.recorded.push(seconds)
    },
  })
}

test('a revision is timed from start to finish, and the age of the oldest is reported meanwhile', () => {
  const rig = new Rig()
  expect(rig.oldestSeconds()).toBe(0)
  rig.latency.start('demo/acme', 'a')
  rig.nowMs = 2_000
  rig.latency.start('demo/globex', 'g')
  rig.latency.start('demo/acme', 'a')
  rig.nowMs = 3_000
  expect(rig.oldestSeconds()).toBe(3)
  rig.latency.finish('demo/acme', 'a')
  expect([rig.recorded, rig.oldestSeconds()]).toEqual([[3], 1])
})

test('a newer revision restarts the time, and finishing the old one does not finish it', () => {
  const rig = new Rig()
  rig.latency.start('demo/acme', 'a')
  rig.nowMs = 5_000
  rig.latency.start('demo/acme', 'b')
  rig.latency.finish('demo/acme', 'a')
  rig.nowMs = 6_000
  rig.latency.finish('demo/acme', 'b')
  expect(rig.recorded).toEqual([1])
})

test('a revision that was never started or was forgotten is not recorded', () => {
  const rig = new Rig()
  rig.latency.finish('demo/acme', 'a')
  rig.latency.start('demo/acme', 'b')
  rig.latency.forget('demo/acme')
  rig.latency.finish('demo/acme', 'b')
  expect([rig.recorded, rig.oldestSeconds()]).toEqual([[], 0])
})
