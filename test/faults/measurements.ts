// Records measured times. A test fails only above five times the target, so that a busy machine does not fail
// it. `npm run test:faults` prints a table that compares the measured times with the targets.
import { appendFile, mkdir } from 'node:fs/promises'
import { expect } from 'vitest'

/** Lines of JSON. The extension differs from .json, which scripts/count-tests.mjs reads as test reports. */
const measurementsFile = '.test-results/faults-measurements.jsonl'

/** Factor between a target and the time at which a test fails. */
export const slack = 5

export interface Measurement {
  readonly fault: string
  readonly what: string
  readonly ms: number
  readonly targetMs?: number | undefined
}

/** Writes the measurement to the file of the run. Fails when it exceeds five times its target. */
export async function recordMeasurement(measurement: Measurement): Promise<void> {
  await mkdir('.test-results', { recursive: true })
  await appendFile(
    measurementsFile,
    `${JSON.stringify({ ...measurement, ms: Math.round(measurement.ms) })}\n`,
  )
  if (measurement.targetMs !== undefined)
    expect(measurement.ms, `${measurement.fault}: ${measurement.what}`).toBeLessThanOrEqual(
      measurement.targetMs * slack,
    )
}
