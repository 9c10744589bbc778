import { expect, test } from 'vitest'
import { Health } from './health.js'
import { ManualTime } from './time.testing.js'

const reflector = (facts: object = {}) => ({
  kind: 'Widget',
  cache: { synced: true },
  unavailableReason: undefined,
  stuckMs: 0,
  ...facts,
})

test('P17: liveness fails for a reflector without progress, not for an unreachable API server', () => {
  const time = new ManualTime()
  expect(
    new Health([reflector({ unavailableReason: 'Widget: connect ECONNREFUSED' })], time).livenessProblems(),
  ).toEqual([])
  expect(new Health([reflector({ stuckMs: 299_999 })], time).livenessProblems()).toEqual([])
  expect(new Health([reflector({ stuckMs: 300_000 })], time).livenessProblems()).toEqual([
    'the watch of Widget has made no progress for 300 s',
  ])
})

test('P17: liveness fails for a stalled event loop, and for a while after the stall', () => {
  const time = new ManualTime()
  const health = new Health([], time)
  time.stall(29_000)
  expect(health.livenessProblems()).toEqual([])
  time.stall(11_000)
  expect(health.livenessProblems()).toEqual(['the event loop stalled for 40 s'])
  health.tick()
  expect(health.livenessProblems()).toEqual(['the event loop stalled for 40 s'])
  for (let second = 0; second <= 61; second += 1) {
    time.move(1_000)
    health.tick()
  }
  expect(health.livenessProblems()).toEqual([])
})

test('P17: the process is ready once all kinds were listed, and stays ready', () => {
  const time = new ManualTime()
  const unsynced = reflector({
    kind: 'Gadget',
    cache: { synced: false },
    unavailableReason: 'Gadget: Forbidden',
  })
  expect(new Health([reflector(), unsynced], time).readinessProblems()).toEqual([
    'Gadget was not listed yet: Gadget: Forbidden',
  ])
  expect(new Health([reflector({ unavailableReason: 'gone' })], time).readinessProblems()).toEqual([])
})
