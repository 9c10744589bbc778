import { expect, test } from 'vitest'
import type { Limits } from '../../tenant/policy.js'
import {
  noUsage,
  pressureOf,
  usageDueInMs,
  usageIntervalMs,
  usageToWrite,
  type WrittenUsage,
} from './usage.js'

const nowMs = Date.UTC(2026, 0, 1)
const limits: Limits = {
  connections: { max: 100, perUser: 10, connectsPerSecond: 10, commandsPerSecond: 10 },
  messages: {
    publishPerSecond: 50,
    publishBurst: 50,
    maxBytes: 1024,
    fanoutPerSecond: 100,
    readsPerSecond: 100,
    joinsPerSecond: 100,
    bytesOutPerSecond: 1_000_000,
  },
  channels: { max: 10, maxSubscribersPerChannel: 10, maxSubscriptionsPerConnection: 10, nameMaxLength: 100 },
  retention: { historyMessages: 10, historyTtlMs: 1000, presence: true, storedBytes: 1_000_000 },
  api: { requestsPerSecond: 10 },
}
const used = (connections: number) => ({ ...noUsage, connections })

function written(connections: number, agoMs: number): WrittenUsage {
  const asOf = new Date(nowMs - agoMs).toISOString()
  return { ...used(connections), peakConnections: connections, asOf }
}

const write = (previous: WrittenUsage | undefined, connections: number) =>
  usageToWrite(previous, used(connections), { limits, nowMs })

test('a tenant that was never used has no usage in status', () => {
  expect(write(undefined, 0)).toBeUndefined()
  expect(write(undefined, 3)).toMatchObject({ connections: 3, peakConnections: 3 })
})

test.each([
  [50, 51, false],
  [50, 53, true],
  [50, 47, true],
  [1, 0, true],
  [0, 1, true],
  [20, 20, false],
  // The pressure threshold is between the two values.
  [89, 91, true],
])('a change from %i to %i connections is written: %s', (from, to, isWritten) => {
  const previous = written(from, usageIntervalMs)
  const result = write(previous, to)
  expect(result !== previous).toBe(isWritten)
  expect(result?.connections).toBe(isWritten ? to : from)
})

test('a change is written after thirty seconds, not before', () => {
  const previous = written(50, usageIntervalMs - 1_000)
  expect(write(previous, 99)).toBe(previous)
  expect(usageDueInMs(previous, used(99), { limits, nowMs })).toBe(1_000)
  expect(usageDueInMs(previous, used(50), { limits, nowMs })).toBeUndefined()
  expect(write(written(50, usageIntervalMs), 99)).toMatchObject({ connections: 99 })
})

test('the peak is kept', () => {
  expect(write({ ...written(50, usageIntervalMs), peakConnections: 90 }, 10)).toMatchObject({
    connections: 10,
    peakConnections: 90,
  })
})

test('pressure begins above 90 % and ends below 85 %', () => {
  const pressed = (connections: number, before: boolean) =>
    pressureOf(used(connections), limits, { underPressure: before }) !== undefined
  expect([pressed(90, false), pressed(91, false)]).toEqual([false, true])
  expect([pressed(86, true), pressed(85, true)]).toEqual([true, false])
  expect(pressureOf({ ...noUsage, publishRate: 46 }, limits, { underPressure: false })).toEqual({
    limit: 'messages.publishPerSecond',
    used: 46,
    allowed: 50,
  })
  expect(pressureOf(undefined, limits, { underPressure: false })).toBeUndefined()
})
