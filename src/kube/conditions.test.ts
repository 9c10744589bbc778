import { expect, test } from 'vitest'
import { conditionsOf, type Finding } from './conditions.js'
import { microTimeText, timeText } from './timestamps.js'

const epochMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const ready: Finding = {
  type: 'Ready',
  status: 'True',
  reason: 'Programmed',
  message: 'all gateways have it',
}

test('P11: times are whole seconds, micro times have six digits', () => {
  expect(timeText(epochMs)).toBe('2026-01-02T03:04:05Z')
  expect(microTimeText(epochMs)).toBe('2026-01-02T03:04:05.678000Z')
  expect(microTimeText(epochMs + 0.25)).toBe('2026-01-02T03:04:05.678250Z')
})

test('P14: every outcome bears the generation that was looked at, failures too; the time moves with the status alone', () => {
  const was = conditionsOf([ready], { was: [], generation: 1, epochMs })
  expect(was).toEqual([{ ...ready, lastTransitionTime: '2026-01-02T03:04:05Z', observedGeneration: 1 }])
  const same = conditionsOf([{ ...ready, message: 'still' }], {
    was,
    generation: 2,
    epochMs: epochMs + 60_000,
  })
  expect(same).toMatchObject([
    { message: 'still', lastTransitionTime: '2026-01-02T03:04:05Z', observedGeneration: 2 },
  ])
  const failed: Finding = { ...ready, status: 'False', reason: 'PlanNotFound' }
  const after = conditionsOf([failed], { was: same, generation: 3, epochMs: epochMs + 120_000 })
  expect(after).toMatchObject([{ lastTransitionTime: '2026-01-02T03:06:05Z', observedGeneration: 3 }])
})

test('what says that something is amiss is there only while it is', () => {
  const stalled: Finding = { type: 'Stalled', status: 'True', reason: 'PlanNotFound', message: '' }
  const was = conditionsOf([ready, stalled], { was: [], generation: 1, epochMs })
  expect(was.map(({ type }) => type)).toEqual(['Ready', 'Stalled'])
  const findings: Finding[] = [ready, { ...stalled, status: 'False' }]
  expect(conditionsOf(findings, { was, generation: 1, epochMs }).map(({ type }) => type)).toEqual(['Ready'])
})

test('the same findings give the same conditions, so that nothing is written', () => {
  const was = conditionsOf([ready], { was: [], generation: 1, epochMs })
  expect(conditionsOf([ready], { was, generation: 1, epochMs: epochMs + 3_600_000 })).toEqual(was)
})
