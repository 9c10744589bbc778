import { expect, test } from 'vitest'
import { selectorMatches } from './label-selector.js'
import type { LabelSelector } from './chat-plan.js'

const labels = { tier: 'gold', region: 'eu' }

test.each<[LabelSelector, boolean]>([
  [{}, true],
  [{ matchLabels: { tier: 'gold' } }, true],
  [{ matchLabels: { tier: 'gold', region: 'us' } }, false],
  [{ matchLabels: { constructor: 'x' } }, false],
  [{ matchExpressions: [{ key: 'tier', operator: 'In', values: ['gold', 'silver'] }] }, true],
  [{ matchExpressions: [{ key: 'team', operator: 'In', values: ['a'] }] }, false],
  [{ matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['gold'] }] }, false],
  [{ matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['a'] }] }, true],
  [{ matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, true],
  [{ matchExpressions: [{ key: 'toString', operator: 'Exists' }] }, false],
  [{ matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] }, true],
  [{ matchLabels: { tier: 'gold' }, matchExpressions: [{ key: 'region', operator: 'DoesNotExist' }] }, false],
])('%j: %s', (selector, expected) => {
  expect(selectorMatches(selector, labels)).toBe(expected)
})
