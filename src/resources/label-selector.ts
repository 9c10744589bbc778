// Evaluates label selectors as Kubernetes documents them.
import type { LabelSelector } from './chat-plan.js'

type Labels = Readonly<Record<string, string>>

/** Returns whether `labels` fulfil all requirements of the selector. An empty selector matches everything. */
export function selectorMatches(selector: LabelSelector, labels: Labels): boolean {
  const named = Object.entries(selector.matchLabels ?? {}).every(
    ([key, value]) => valueOf(labels, key) === value,
  )
  return (
    named && (selector.matchExpressions ?? []).every((expression) => expressionMatches(expression, labels))
  )
}

type Expression = NonNullable<LabelSelector['matchExpressions']>[number]

function expressionMatches({ key, operator, values = [] }: Expression, labels: Labels): boolean {
  const value = valueOf(labels, key)
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      // In Kubernetes, a missing label fulfils NotIn.
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
  }
}

function valueOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined
}
