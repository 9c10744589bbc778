// Records the measurements of a run as lines of JSON. scripts/e2e.mjs prints them as a table.
import { appendFile, mkdir } from 'node:fs/promises'
import { expect } from 'vitest'
import { resumeTargetMs, resumedPercentTarget, slack } from './targets.js'
import type { ClientGroup } from './client-group.js'

/** Lines of JSON. The extension differs from .json, which scripts/count-tests.mjs reads as test reports. */
const measurementsFile = '.test-results/e2e-figures.jsonl'

interface Measurement {
  /** The name of the test. */
  readonly test: string
  readonly what: string
  readonly value: number
  readonly unit?: 'ms' | '%'
  /** The target: a maximum for times, a minimum for percentages. */
  readonly target?: number
}

/** Records one measurement. */
export async function recordMeasurement(one: Measurement): Promise<void> {
  const line = JSON.stringify(one)
  console.log(line)
  await mkdir('.test-results', { recursive: true })
  await appendFile(measurementsFile, `${line}\n`)
}

/** Records the time since `sinceMs`. Fails when it exceeds five times the target. */
export async function recordDuration(
  test: string,
  what: string,
  { sinceMs, targetMs }: { sinceMs: number; targetMs?: number },
) {
  const value = Math.round(performance.now() - sinceMs)
  await recordMeasurement({
    test,
    what,
    value,
    unit: 'ms',
    ...(targetMs !== undefined && { target: targetMs }),
  })
  if (targetMs !== undefined) expect(value, `${test}: ${what}`).toBeLessThanOrEqual(targetMs * slack)
}

/** Records how the group resumed since its last `resetResumption`. */
export async function reportResumption(name: string, group: ClientGroup): Promise<void> {
  const { losses, maxMs, medianMs, withinTargetPercent } = group.resumption()
  await recordMeasurement({ test: name, what: 'connections lost', value: losses })
  const what = `of them resumed within ${resumeTargetMs / 1_000} s`
  await recordMeasurement({
    test: name,
    what,
    value: withinTargetPercent,
    unit: '%',
    target: resumedPercentTarget,
  })
  await recordMeasurement({ test: name, what: 'resumed after (median)', value: medianMs, unit: 'ms' })
  await recordMeasurement({ test: name, what: 'resumed after (longest)', value: maxMs, unit: 'ms' })
}
