// Lengths of time as resources write them: `90s`, `10m`, `1h30m`. The units of Go's durations, whole numbers only.

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Also for the CRD: RE2 has no look-ahead, and needs none here. */
export const durationPattern = /^([0-9]{1,9}(ms|s|m|h))+$/

/** Milliseconds; undefined when `text` is no duration. Days are not a unit: they are not always 24 hours. */
export function parseDuration(text: string): number | undefined {
  if (!durationPattern.test(text)) return undefined
  let totalMs = 0
  for (const [, count, unit = ''] of text.matchAll(/([0-9]+)(ms|s|m|h)/g)) {
    totalMs += Number(count) * (unitMs[unit] ?? 0)
  }
  return totalMs
}

/** As short as it goes without a fraction: `90s`, `24h`. */
export function durationText(ms: number): string {
  const [unit = 'ms', size = 1] =
    Object.entries(unitMs)
      .toSorted(([, a], [, b]) => b - a)
      .find(([, unitSize]) => ms % unitSize === 0 && ms > 0) ?? []
  return `${ms / size}${unit}`
}
