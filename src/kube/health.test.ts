import { expect, test } from 'vitest'
import { Health } from './health.js'
import { ManualTime } from './time.testing.js'

const reflector = (facts: object = {}) => ({
  kind: 'ChatTenant',
  cache: { synced: true },
  trouble: undefined,
  stuckMs: 0,
  ...facts,
})

test('P17: a reflector that makes no progress is a reason to restart; an API server that is away is none', () => {
  const time = new ManualTime()
  expect(new Health([reflector({ trouble: 'ChatTenant: connect ECONNREFUSED' })], time).dead()).toEqual([])
  expect(new Health([reflector({ stuckMs: 299_999 })], time).dead()).toEqual([])
  expect(new Health([reflector({ stuckMs: 300_000 })], time).dead()).toEqual([
    'the watch of ChatTenant is stuck for 300 s',
  ])
})

test('P17: an event loop that stands still is one, also for a while after it has gone on', () => {
  const time = new ManualTime()
  const health = new Health([], time)
  time.standStill(29_000)
  expect(health.dead()).toEqual([])
  time.standStill(11_000)
  expect(health.dead()).toEqual(['the event loop stood still for 40 s'])
  health.tick()
  expect(health.dead()).toEqual(['the event loop stood still for 40 s'])
  for (let second = 0; second <= 61; second += 1) {
    time.move(1_000)
    health.tick()
  }
  expect(health.dead()).toEqual([])
})

test('P17: it is ready when all kinds were read once, and stays so', () => {
  const time = new ManualTime()
  const unsynced = reflector({ kind: 'ChatPlan', cache: { synced: false }, trouble: 'ChatPlan: Forbidden' })
  expect(new Health([reflector(), unsynced], time).unready()).toEqual([
    'ChatPlan was not read yet: ChatPlan: Forbidden',
  ])
  expect(new Health([reflector({ trouble: 'gone' })], time).unready()).toEqual([])
})
