import { expect, test } from 'vitest'
import { PublishBudget } from './publish-budget.js'

test('publishes wait above the limit, and continue when others end', () => {
  const budget = new PublishBudget(1_000)
  const resumed: string[] = []
  const waiter = (name: string) => ({ proceed: () => void resumed.push(name) })
  expect(budget.allows(900, waiter('a'))).toBe(true)
  budget.begin(900)
  expect(budget.allows(200, waiter('b'))).toBe(false)
  expect(budget.allows(200, waiter('c'))).toBe(false)
  expect(budget.allows(100, waiter('d'))).toBe(true)
  budget.begin(100)
  budget.end(100)
  expect(resumed).toEqual(['b', 'c'])
})

test('a publish that is larger than the limit may begin alone', () => {
  const budget = new PublishBudget(1_000)
  const waiter = { proceed() {} }
  expect(budget.allows(5_000, waiter)).toBe(true)
  budget.begin(5_000)
  expect(budget.allows(1, waiter)).toBe(false)
})

test('a waiter that was forgotten is not called', () => {
  const budget = new PublishBudget(10)
  let calls = 0
  const waiter = { proceed: () => void (calls += 1) }
  budget.begin(10)
  budget.allows(5, waiter)
  budget.forget(waiter)
  budget.end(10)
  expect(calls).toBe(0)
})
