// Runs before `npm test`: provides the programs that the tests need besides npm packages, and builds dist.
// `npm run test:faults` runs it with `--faults`.
import { provideHelm } from './helm.mjs'
import { provideKubeAssets } from './kube-assets.mjs'
import { meetNeeds } from './meet-needs.mjs'
import { needs } from './needs.mjs'
import { providePrometheus } from './prometheus.mjs'
import { run } from './run.mjs'

/** @typedef {import('./needs.mjs').Need} Need */

const faults = process.argv.includes('--faults')

/** @type {Need[]} */
const required = Object.values(needs).filter(
  (/** @type {Need} */ { only }) => only === undefined || (only === 'faults' && faults),
)

const problems = [
  await meetNeeds(required),
  await provideKubeAssets(),
  await provideHelm(),
  await providePrometheus(),
]
  .filter(Boolean)
  .join('\n')
const outcome = problems === '' ? await run('node', ['scripts/build.mjs']) : { ok: false, output: problems }
if (!outcome.ok) {
  console.error(outcome.output)
  process.exitCode = 1
}
