import { expect, test } from 'vitest'
import { conditionEvents } from './condition-events.js'

const good = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'fine' } as const
const refused = { type: 'Accepted', status: 'False', reason: 'PlanNotFound', message: 'no plan' } as const
const taken = { type: 'Conflict', status: 'True', reason: 'HostnameTaken', message: 'a host' } as const
const refusal = { type: 'Warning', reason: 'PlanNotFound', message: 'no plan', action: 'Accept' }
const conflict = { type: 'Warning', reason: 'HostnameTaken', message: 'a host', action: 'Reconcile' }

test('a new failure causes an Event, with and without a previous condition', () => {
  expect(conditionEvents([], [refused, taken])).toEqual([refusal, conflict])
  expect(conditionEvents([good], [good, taken])).toEqual([conflict])
})

test('an unchanged failure and its end cause no Event', () => {
  expect(conditionEvents([refused, taken], [refused, taken])).toEqual([])
  expect(conditionEvents([refused, taken], [good])).toEqual([])
})

test('a failure with a new message causes an Event, and so does a failure that occurs again', () => {
  expect(conditionEvents([taken], [{ ...taken, message: 'another host' }])).toEqual([
    { ...conflict, message: 'another host' },
  ])
  expect(conditionEvents([good], [taken])).toEqual([conflict])
})

test('a met condition causes no Event', () => {
  expect(conditionEvents([], [good, { ...taken, status: 'False' }])).toEqual([])
})
