// Runs all static checks. Prints one line per step, and the output of a step only when it fails.
import { run } from './run.mjs'

/** @typedef {{ name: string, program: string, args: string[] }} Step */

const tsc = (/** @type {string} */ project) => ['--noEmit', '-p', project]

/** Runs first, because scripts import modules and types from dist. @type {Step} */
const build = { name: 'build', program: 'node', args: ['scripts/build.mjs'] }

/** @type {Step[]} */
const steps = [
  { name: 'lint', program: 'oxlint', args: ['-c', 'oxlint.config.mjs'] },
  { name: 'types', program: 'tsc', args: tsc('tsconfig.json') },
  { name: 'types of src/web', program: 'tsc', args: tsc('src/web/tsconfig.json') },
  { name: 'types of test', program: 'tsc', args: tsc('test/tsconfig.json') },
  { name: 'types of scripts', program: 'tsc', args: tsc('scripts/tsconfig.json') },
  { name: 'unused code', program: 'knip', args: ['--no-progress'] },
  { name: 'format', program: 'oxfmt', args: ['--check'] },
]

let failed = 0

/** @param {Iterable<Step>} queue */
async function runSteps(queue) {
  for (const { name, program, args } of queue) {
    const { ok, output, ms } = await run(program, args)
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${(ms / 1000).toFixed(1)} s)`)
    if (ok) continue
    failed += 1
    console.log(output.trimEnd().replaceAll(/^/gm, '  '))
  }
}

await runSteps([build])
// Two workers share one queue, because half of the steps use only one core.
const queue = steps.values()
await Promise.all([runSteps(queue), runSteps(queue)])
if (failed > 0) {
  console.log(`${failed} of ${steps.length + 1} steps failed. \`npm run format\` fixes the format.`)
  process.exitCode = 1
}
