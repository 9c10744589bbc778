// Durations as resources write them: `90s`, `10m`, `1h30m`. They have the units of Go durations and whole
// numbers only.

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** The syntax of a duration. The CRD uses it too, so it must be a valid RE2 expression. */
export const durationPattern = /^([0-9]{1,9}(ms|s|m|h))+$/

/**
 * Returns milliseconds, or undefined when `text` is not a duration. There is no unit for days, because a day
 * does not always have 24 hours.
 */
export function parseDuration(text: string): number | undefined {
  if (!durationPattern.test(text)) return undefined
  let totalMs = 0
  for (const [, count, unit = ''] of text.matchAll(/([0-9]+)(ms|s|m|h)/g)) {
    totalMs += Number(count) * (unitMs[unit] ?? 0)
  }
  return totalMs
}

/** Formats milliseconds with the largest unit that needs no fraction, such as `90s` or `24h`. */
export function durationText(ms: number): string {
  const [unit = 'ms', size = 1] =
    Object.entries(unitMs)
      .toSorted(([, a], [, b]) => b - a)
      .find(([, unitSize]) => ms % unitSize === 0 && ms > 0) ?? []
  return `${ms / size}${unit}`
}
