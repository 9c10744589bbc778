// Exact decimal numbers, for comparing tags: 0.1 is exactly a tenth, and 9007199254740993 differs from
// 9007199254740992.

/** The number `units` × 10^−`scale`. */
export interface Decimal {
  readonly units: bigint
  readonly scale: number
}

/**
 * Parses a decimal number with at most 40 digits on each side of the point and no exponent. Returns undefined
 * for other text.
 */
export function parseDecimal(text: string): Decimal | undefined {
  const [, sign, whole = '', fraction = ''] = /^([+-]?)(\d{1,40})(?:\.(\d{1,40}))?$/.exec(text) ?? []
  if (whole === '') return undefined
  const units = BigInt(whole + fraction)
  return { units: sign === '-' ? -units : units, scale: fraction.length }
}

/** Returns `left` − `right`, in units of the finer scale of the two. Only its sign compares across calls. */
export function subtractDecimals(left: Decimal, right: Decimal): bigint {
  const scale = Math.max(left.scale, right.scale)
  const unitsOf = (decimal: Decimal): bigint => decimal.units * 10n ** BigInt(scale - decimal.scale)
  return unitsOf(left) - unitsOf(right)
}
