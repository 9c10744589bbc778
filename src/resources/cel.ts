// Validation rules in CEL, which the API server evaluates. Each rule is next to the zod check that it
// repeats. A list that contains a rule, or that a rule iterates over, needs a bound; otherwise the estimated
// cost of the rule exceeds the budget of the API server.

/** One entry of `x-kubernetes-validations`. In `rule`, `self` is the value to which the entry is attached. */
export interface CelRule {
  /**
   * A CEL expression that is true for a valid value. A rule that refers to `oldSelf` is evaluated on updates
   * only.
   */
  readonly rule: string
  /** The error message, a full sentence. */
  readonly message?: string
  /**
   * A CEL expression that returns the error message, for messages that quote the value. The value must have a
   * bounded length because of the budget.
   */
  readonly messageExpression?: string
  /** The path from `self` to the invalid field, such as `.secretName`. */
  readonly fieldPath?: string
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired'
}

/** Returns the rules as metadata for `.meta()`: zod's JSON Schema copies them into the CRD. */
export function celRules(rules: readonly CelRule[]): Record<string, unknown> {
  return { 'x-kubernetes-validations': rules }
}

/**
 * Returns a raw CEL string, in which the backslashes of a regular expression need no escape. `text` must not
 * contain a single quote.
 */
export function celRaw(text: string): string {
  return `r'${text}'`
}
