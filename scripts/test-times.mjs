// `node scripts/test-times.mjs` after `npm test`: prints the number of tests and the seconds of each folder.
// The seconds are the sum over the files; two files run at a time.
import { readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { table } from './docs/table.mjs'
import { root } from './run.mjs'

/** @typedef {{ name: string, startTime: number, endTime: number, assertionResults: unknown[] }} FileResult */

const report = await readFile(join(root, '.test-results/vitest.json'), 'utf8').catch(() => undefined)
if (report === undefined) {
  console.error('There is no .test-results/vitest.json: run `npm test` first.')
  process.exit(2)
}

/** @type {Map<string, { tests: number, ms: number }>} */
const folders = new Map()
for (const file of /** @type {{ testResults: FileResult[] }} */ (JSON.parse(report)).testResults) {
  const folder = dirname(relative(root, file.name)).split('/').slice(0, 2).join('/')
  const name = folder.startsWith('src') ? 'src' : folder
  const sum = folders.get(name) ?? { tests: 0, ms: 0 }
  folders.set(name, {
    tests: sum.tests + file.assertionResults.length,
    ms: sum.ms + file.endTime - file.startTime,
  })
}
const rows = [...folders]
  .toSorted(([a], [b]) => a.localeCompare(b, 'en'))
  .map(([name, { ms, tests }]) => [name, String(tests), String(Math.round(ms / 1000))])
console.log(table(['folder', 'tests', 'seconds'], rows))
