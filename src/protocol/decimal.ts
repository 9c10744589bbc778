// Decimal numbers in text, compared exactly: 0.1 is a tenth, and 9007199254740993 is not 9007199254740992. Pure.

/** Units of 10 to the −`scale`. */
export interface Decimal {
  readonly units: bigint
  readonly scale: number
}

/** At most 40 digits on each side of the point, no exponent; undefined for all else. */
export function decimalOf(text: string): Decimal | undefined {
  const [, sign, whole = '', fraction = ''] = /^([+-]?)(\d{1,40})(?:\.(\d{1,40}))?$/.exec(text) ?? []
  if (whole === '') return undefined
  const units = BigInt(whole + fraction)
  return { units: sign === '-' ? -units : units, scale: fraction.length }
}

/** `left` − `right`, in units of whichever is finer. */
export function difference(left: Decimal, right: Decimal): bigint {
  const scale = Math.max(left.scale, right.scale)
  const inUnits = (decimal: Decimal): bigint => decimal.units * 10n ** BigInt(scale - decimal.scale)
  return inUnits(left) - inUnits(right)
}
