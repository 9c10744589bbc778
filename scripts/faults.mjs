// `npm run test:faults -- --rounds N [--only PATTERN]`: every fault N times, then a table of the times that were promised.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root, show } from './run.mjs'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '1' }, only: { type: 'string' } },
})
if (!/^[1-9]\d*$/.test(values.rounds)) {
  console.error('--rounds is how often each fault is tried: a number from 1')
  process.exit(2)
}

const measures = join(root, '.test-results/faults-measures.jsonl')
await rm(measures, { force: true })

const only = values.only === undefined ? [] : ['-t', values.only]
process.exitCode =
  (await show('node', ['scripts/build.mjs'])) ||
  (await show('node', ['node_modules/vitest/vitest.mjs', 'run', '-c', 'vitest.faults.config.ts', ...only], {
    PARLEY_FAULTS_ROUNDS: values.rounds,
  }))

const lines = (await readFile(measures, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
/** @type {Map<string, { barMs: number | undefined, ms: number[] }>} */
const rows = new Map()
for (const line of lines) {
  /** @type {{ fault: string, what: string, ms: number, barMs?: number }} */
  const { barMs, fault, ms, what } = JSON.parse(line)
  const name = `${fault} | ${what}`
  const row = rows.get(name) ?? { barMs, ms: [] }
  row.ms.push(ms)
  rows.set(name, row)
}

/** @param {readonly number[]} sorted @param {number} part */
const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0

console.log('\n| fault | measured | times | min | median | p99 | max | bar |')
console.log('| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |')
for (const [name, { barMs, ms }] of rows) {
  const sorted = ms.toSorted((a, b) => a - b)
  const numbers = [quantile(sorted, 0), quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1) ?? 0]
  console.log(
    `| ${name} | ${sorted.length} | ${numbers.map((one) => (/\(\w+\)$/.test(name) ? one : `${one} ms`)).join(' | ')} | ${barMs ?? '—'} |`,
  )
}
