import { expect, test } from 'vitest'
import { conditionsOf, type Finding } from './conditions.js'
import { microTimestamp, timestamp } from './timestamps.js'

const epochMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const ready: Finding = {
  type: 'Ready',
  status: 'True',
  reason: 'Programmed',
  message: 'all nodes have it',
}

test('P11: a timestamp has whole seconds, a micro timestamp has six decimals', () => {
  expect(timestamp(epochMs)).toBe('2026-01-02T03:04:05Z')
  expect(microTimestamp(epochMs)).toBe('2026-01-02T03:04:05.678000Z')
  expect(microTimestamp(epochMs + 0.25)).toBe('2026-01-02T03:04:05.678250Z')
})

test('P14: every condition has the checked generation; its time changes only with its status', () => {
  const previous = conditionsOf([ready], { previous: [], generation: 1, epochMs })
  expect(previous).toEqual([{ ...ready, lastTransitionTime: '2026-01-02T03:04:05Z', observedGeneration: 1 }])
  const same = conditionsOf([{ ...ready, message: 'still' }], {
    previous,
    generation: 2,
    epochMs: epochMs + 60_000,
  })
  expect(same).toMatchObject([
    { message: 'still', lastTransitionTime: '2026-01-02T03:04:05Z', observedGeneration: 2 },
  ])
  const failed: Finding = { ...ready, status: 'False', reason: 'ClassNotFound' }
  const after = conditionsOf([failed], { previous: same, generation: 3, epochMs: epochMs + 120_000 })
  expect(after).toMatchObject([{ lastTransitionTime: '2026-01-02T03:06:05Z', observedGeneration: 3 }])
})

test('a condition of an abnormal type is present only while its status is True', () => {
  const stalled: Finding = { type: 'Stalled', status: 'True', reason: 'ClassNotFound', message: '' }
  const previous = conditionsOf([ready, stalled], { previous: [], generation: 1, epochMs })
  expect(previous.map(({ type }) => type)).toEqual(['Ready', 'Stalled'])
  const findings: Finding[] = [ready, { ...stalled, status: 'False' }]
  expect(conditionsOf(findings, { previous, generation: 1, epochMs }).map(({ type }) => type)).toEqual([
    'Ready',
  ])
})

test('the caller can name the abnormal types', () => {
  const findings: Finding[] = [{ ...ready, type: 'Degraded', status: 'False' }]
  const options = { previous: [], generation: 1, epochMs }
  expect(conditionsOf(findings, options)).toHaveLength(1)
  expect(conditionsOf(findings, { ...options, abnormalTypes: ['Degraded'] })).toEqual([])
})

test('equal findings give equal conditions, so that nothing is written', () => {
  const previous = conditionsOf([ready], { previous: [], generation: 1, epochMs })
  expect(conditionsOf([ready], { previous, generation: 1, epochMs: epochMs + 3_600_000 })).toEqual(previous)
})
