import { expect, test } from 'vitest'
import { newTroubles } from './condition-events.js'

const good = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'fine' } as const
const refused = { type: 'Accepted', status: 'False', reason: 'PlanNotFound', message: 'no plan' } as const
const taken = { type: 'Conflict', status: 'True', reason: 'HostnameTaken', message: 'a host' } as const
const refusal = { type: 'Warning', reason: 'PlanNotFound', message: 'no plan', action: 'Accept' }
const conflict = { type: 'Warning', reason: 'HostnameTaken', message: 'a host', action: 'Reconcile' }

test('what begins is told, from nothing or from good', () => {
  expect(newTroubles([], [refused, taken])).toEqual([refusal, conflict])
  expect(newTroubles([good], [good, taken])).toEqual([conflict])
})

test('what goes on is not told again, and neither is its end', () => {
  expect(newTroubles([refused, taken], [refused, taken])).toEqual([])
  expect(newTroubles([refused, taken], [good])).toEqual([])
})

test('what is another trouble than before is told, and so is what comes back', () => {
  expect(newTroubles([taken], [{ ...taken, message: 'another host' }])).toEqual([
    { ...conflict, message: 'another host' },
  ])
  expect(newTroubles([good], [taken])).toEqual([conflict])
})

test('what is well is no trouble', () => {
  expect(newTroubles([], [good, { ...taken, status: 'False' }])).toEqual([])
})
