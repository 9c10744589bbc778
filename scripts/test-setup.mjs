// Run before `npm test`: what the tests need besides npm's packages, and a program to test. With `--faults` before `npm run test:faults`.
import { setTimeout as sleep } from 'node:timers/promises'
import { provideHelm } from './helm.mjs'
import { provideKubeAssets } from './kube-assets.mjs'
import { locate, needs, onPath } from './needs.mjs'
import { providePrometheus } from './prometheus.mjs'
import { run } from './run.mjs'

/** @typedef {import('./needs.mjs').Need} Need */

const faults = process.argv.includes('--faults')

async function unmetNeeds() {
  /** @type {Need[]} */
  const all = Object.values(needs).filter((/** @type {Need} */ { only }) => only === undefined || faults)
  const files = await Promise.all(all.map(locate))
  return all.filter((_, index) => files[index] === undefined)
}

/**
 * Downloads fail now and then, and another apt may hold the lock: three tries.
 * @param {string[]} packages
 * @returns {Promise<string>} apt's own words when the last try failed
 */
async function install(packages) {
  const apt = (/** @type {string[]} */ ...args) =>
    run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      env: { DEBIAN_FRONTEND: 'noninteractive' },
    })
  for (let triesLeft = 2; ; triesLeft -= 1) {
    const update = await apt('update')
    const { ok, output } = await apt('install', '-y', '--no-install-recommends', ...packages)
    if (ok) return ''
    if (triesLeft === 0) return update.output + output
    await sleep(5_000)
  }
}

/**
 * Tests start servers of their own: what a package started is ended, and stays so at the next boot. Where nothing runs, nothing happens.
 * @param {string} service
 */
async function endService(service) {
  await run('service', [service, 'stop'])
  await run('update-rc.d', [service, 'disable'])
}

/** @returns {Promise<string>} what is still missing, in sentences; empty when the tests have all they need */
async function meetNeeds() {
  // A variable that names no program is a mistake to report: installing another would hide it.
  const installable = (await unmetNeeds()).filter(({ variable }) => !process.env[variable])
  let aptOutput = ''
  if (installable.length > 0 && process.getuid?.() === 0 && (await onPath(['apt-get']))) {
    const packages = installable.map(({ aptPackage }) => aptPackage)
    console.log(`Installing for the tests: ${packages.join(', ')}`)
    aptOutput = await install(packages)
    for (const { service } of installable) if (service !== undefined) await endService(service)
  }
  const sentences = (await unmetNeeds()).map(
    ({ what, variable, aptPackage }) =>
      `The tests need ${what}: install the package ${aptPackage}, or set ${variable} to the program's path.`,
  )
  return sentences.length > 0 ? aptOutput + sentences.join('\n') : ''
}

const problems = [
  await meetNeeds(),
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
