// Adds up the JSON reports of all test runs, lists the failures, and prints `tests: N passed, N failed`.
// Exits with 1 when a test failed or was skipped, or when no test ran.
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { root } from './run.mjs'

const folder = join(root, '.test-results')
const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'))
const reports = await Promise.all(
  names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8'))),
)

/** @param {(report: Record<string, any>) => number} count */
const total = (count) => reports.reduce((sum, report) => sum + count(report), 0)

/**
 * Lists the failures of one file with their reasons. A file that failed before its first test, in an import
 * or a hook, has no failed test, so the file itself is listed.
 * @param {Record<string, any>} file
 */
function failuresIn(file) {
  const where = relative(root, file.name)
  const tests = file.assertionResults.filter(
    (/** @type {Record<string, any>} */ test) => test.status === 'failed',
  )
  if (tests.length === 0) return file.status === 'failed' ? [`${where}: ${reason(file.message)}`] : []
  return tests.map(
    (/** @type {Record<string, any>} */ test) =>
      `${where} > ${test.fullName}: ${reason(test.failureMessages?.[0])}`,
  )
}

/**
 * Returns the first lines of a message without the stack. For a failed property, the second line has the seed
 * and the third the counterexample.
 * @param {string | undefined} message
 */
function reason(message) {
  const lines = message?.trim().split('\n') ?? ['no message']
  return lines
    .filter((line) => !/^\s+at /u.test(line))
    .slice(0, 3)
    .join('\n  ')
}

const passed = total((report) => report.numPassedTests)
const skipped = total((report) => report.numPendingTests + report.numTodoTests)
const failures = reports.flatMap((report) => report.testResults.flatMap(failuresIn))
const failed = failures.length

// CI systems may truncate the middle of a log, so the failures are repeated at the end.
for (const failure of failures) console.log(`failed: ${failure}`)
if (names.length === 0) console.log('No test report was written.')
else if (passed + failed === 0) console.log('No test ran.')
if (skipped > 0)
  console.log(
    `${skipped} tests did not run: they were skipped, marked as todo, or followed a failed hook. Every test must run.`,
  )
console.log(`tests: ${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && skipped === 0 && passed > 0 ? 0 : 1
