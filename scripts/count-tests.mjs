// Adds up the JSON reports of all test runs and prints `tests: N passed, N failed`. Exits 1 when anything failed, was
// left out, or when nothing ran at all.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from './run.mjs'

const folder = join(root, '.test-results')
const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'))
const reports = await Promise.all(
  names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8'))),
)

/** @param {(report: Record<string, any>) => number} count */
const total = (count) => reports.reduce((sum, report) => sum + count(report), 0)

const passed = total((report) => report.numPassedTests)
const leftOut = total((report) => report.numPendingTests + report.numTodoTests)
// A file that failed before its first test, in an import or a hook, has no failed test to show for it.
const failed = total(
  (report) =>
    report.numFailedTests +
    report.testResults.filter(
      (/** @type {Record<string, any>} */ file) =>
        file.status === 'failed' &&
        file.assertionResults.every((/** @type {Record<string, any>} */ test) => test.status !== 'failed'),
    ).length,
)

if (names.length === 0) console.log('No test report was written.')
else if (passed + failed === 0) console.log('No test ran.')
if (leftOut > 0)
  console.log(`${leftOut} tests did not run: skipped, left to do, or behind a failed hook. None may be.`)
console.log(`tests: ${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && leftOut === 0 && passed > 0 ? 0 : 1
