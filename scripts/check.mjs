// Everything that judges the code without running it. One line per step; what a step says is shown only when it fails.
import { run } from './run.mjs'

const tsc = (/** @type {string} */ project) => ['--noEmit', '-p', project]

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
const queue = steps.values()

/** Lanes share the queue: two of them keep two cores busy, as half of the steps use one. */
async function lane() {
  for (const { name, program, args } of queue) {
    const { ok, output, ms } = await run(program, args)
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${(ms / 1000).toFixed(1)} s)`)
    if (ok) continue
    failed += 1
    console.log(output.trimEnd().replaceAll(/^/gm, '  '))
  }
}

await Promise.all([lane(), lane()])
if (failed > 0) {
  console.log(`${failed} of ${steps.length} steps failed. \`npm run format\` repairs the format.`)
  process.exitCode = 1
}
