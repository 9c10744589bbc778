// `npm run test:faults -- --rounds N [--only PATTERN]`: runs every fault N times, then prints a table of the
// measured times and their targets.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { exitWithUsage, parseOptions } from './parse-options.mjs'
import { root, show } from './run.mjs'

const usage = `usage: npm run test:faults -- [--rounds N] [--only PATTERN]

  --rounds N  the number of times that each fault runs, a positive integer; default 1`
const values = parseOptions({ rounds: { type: 'string', default: '1' }, only: { type: 'string' } }, usage)
if (!/^[1-9]\d*$/.test(values.rounds)) exitWithUsage(usage)

const measurements = join(root, '.test-results/faults-measurements.jsonl')
await rm(measurements, { force: true })

const only = values.only === undefined ? [] : ['-t', values.only]
process.exitCode =
  (await show('node', ['scripts/build.mjs'])) ||
  (await show('node', ['node_modules/vitest/vitest.mjs', 'run', '-c', 'vitest.faults.config.ts', ...only], {
    PARLEY_FAULTS_ROUNDS: values.rounds,
  }))

const lines = (await readFile(measurements, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
/** @type {Map<string, { targetMs: number | undefined, ms: number[] }>} */
const rows = new Map()
for (const line of lines) {
  /** @type {{ fault: string, what: string, ms: number, targetMs?: number }} */
  const { targetMs, fault, ms, what } = JSON.parse(line)
  const name = `${fault} | ${what}`
  const row = rows.get(name) ?? { targetMs, ms: [] }
  row.ms.push(ms)
  rows.set(name, row)
}

/** @param {readonly number[]} sorted @param {number} fraction */
const quantile = (sorted, fraction) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? 0

console.log('\n| fault | measured | times | min | median | p99 | max | target |')
console.log('| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |')
for (const [name, { targetMs, ms }] of rows) {
  const sorted = ms.toSorted((a, b) => a - b)
  const numbers = [quantile(sorted, 0), quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1) ?? 0]
  // A name that ends with a unit in parentheses does not measure milliseconds.
  const cells = numbers.map((one) => (/\(\w+\)$/.test(name) ? one : `${one} ms`))
  console.log(`| ${name} | ${sorted.length} | ${cells.join(' | ')} | ${targetMs ?? '—'} |`)
}
