// Rules that the API server itself holds objects to, written in CEL beside the zod check that they mirror. Lists that a rule stands in or goes
// through need a bound, or its worst case is over the API server's budget.

/** One entry of `x-kubernetes-validations`. In `rule`, `self` is the value that it is attached to. */
export interface CelRule {
  /** True where all is well. It may refer to `oldSelf`: then it is asked on changes only. */
  readonly rule: string
  /** A whole sentence. */
  readonly message?: string
  /** CEL that makes the sentence, where it should quote what was found: text of a bounded length, or it is over the budget. */
  readonly messageExpression?: string
  /** From `self` to the field that is at fault, as `.secretName`. */
  readonly fieldPath?: string
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired'
}

/** For `.meta()`: they pass through zod's JSON Schema into the CRD. */
export function celRules(rules: readonly CelRule[]): Record<string, unknown> {
  return { 'x-kubernetes-validations': rules }
}

/** A CEL string that takes the backslashes of a regular expression as they are. It must have no single quote. */
export function celRaw(text: string): string {
  return `r'${text}'`
}
