// Adds up the JSON reports of all test runs, names what failed, and prints `tests: N passed, N failed`. Exits 1 when
// anything failed, was left out, or when nothing ran at all.
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
 * What failed in one file, each with why. A file that failed before its first test, in an import or
 * a hook, has no failed test to show for it.
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
 * Without the stack. Where a property fails, its second line has the seed and its third the counterexample.
 * @param {string | undefined} message
 */
function reason(message) {
  const lines = message?.trim().split('\n') ?? ['no reason was given']
  return lines
    .filter((line) => !/^\s+at /u.test(line))
    .slice(0, 3)
    .join('\n  ')
}

const passed = total((report) => report.numPassedTests)
const leftOut = total((report) => report.numPendingTests + report.numTodoTests)
const failures = reports.flatMap((report) => report.testResults.flatMap(failuresIn))
const failed = failures.length

// A log's middle may be cut where it is read: here, at the end, they are found.
for (const failure of failures) console.log(`failed: ${failure}`)
if (names.length === 0) console.log('No test report was written.')
else if (passed + failed === 0) console.log('No test ran.')
if (leftOut > 0)
  console.log(`${leftOut} tests did not run: skipped, left to do, or behind a failed hook. None may be.`)
console.log(`tests: ${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && leftOut === 0 && passed > 0 ? 0 : 1
