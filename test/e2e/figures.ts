// What a run found out: one line of JSON each, which scripts/e2e.mjs makes a table of.
import { appendFile, mkdir } from 'node:fs/promises'
import { expect } from 'vitest'
import { resumeBarMs, resumedPercentBar, slack } from './bars.js'
import type { Crowd } from './crowd.js'

/** Lines of JSON; no report of tests, so its name ends otherwise. */
const figuresFile = '.test-results/e2e-figures.jsonl'

interface Figure {
  /** The name of the test. */
  readonly test: string
  readonly what: string
  readonly value: number
  readonly unit?: 'ms' | '%'
  /** What was promised: at most so much; in percent: at least. */
  readonly bar?: number
}

export async function figure(one: Figure): Promise<void> {
  const line = JSON.stringify(one)
  console.log(line)
  await mkdir('.test-results', { recursive: true })
  await appendFile(figuresFile, `${line}\n`)
}

/** What took so long from `sinceMs` until now. */
export async function took(
  test: string,
  what: string,
  { sinceMs, barMs }: { sinceMs: number; barMs?: number },
) {
  const value = Math.round(performance.now() - sinceMs)
  await figure({ test, what, value, unit: 'ms', ...(barMs !== undefined && { bar: barMs }) })
  if (barMs !== undefined) expect(value, `${test}: ${what}`).toBeLessThanOrEqual(barMs * slack)
}

/** How the crowd came back since its last `forgetResumes`. */
export async function reportResumption(name: string, crowd: Crowd): Promise<void> {
  const { losses, maxMs, medianMs, withinBarPercent } = crowd.resumption()
  await figure({ test: name, what: 'connections lost', value: losses })
  const what = `of them resumed within ${resumeBarMs / 1_000} s`
  await figure({ test: name, what, value: withinBarPercent, unit: '%', bar: resumedPercentBar })
  await figure({ test: name, what: 'resumed after (median)', value: medianMs, unit: 'ms' })
  await figure({ test: name, what: 'resumed after (longest)', value: maxMs, unit: 'ms' })
}
