// Promises with a time: asserted with five times the bar, so that a busy machine is slow and not wrong; the time itself is written down
// for the table that `npm run test:faults` prints, where the bar is judged.
import { appendFile, mkdir } from 'node:fs/promises'
import { expect } from 'vitest'

/** Lines of JSON; no report of tests, so its name ends otherwise. */
const measuresFile = '.test-results/faults-measures.jsonl'

export const slack = 5

export interface Measure {
  readonly fault: string
  readonly what: string
  readonly ms: number
  readonly barMs?: number | undefined
}

export async function measured(measure: Measure): Promise<void> {
  await mkdir('.test-results', { recursive: true })
  await appendFile(measuresFile, `${JSON.stringify({ ...measure, ms: Math.round(measure.ms) })}\n`)
  if (measure.barMs !== undefined)
    expect(measure.ms, `${measure.fault}: ${measure.what}`).toBeLessThanOrEqual(measure.barMs * slack)
}
