// Programs that are missing are installed where that is possible, and named where it is not.
import { locate, onPath } from './needs.mjs'
import { inThreeTries, run } from './run.mjs'

/** @typedef {import('./needs.mjs').Need} Need */

/**
 * @param {Need[]} wanted
 * @returns {Promise<string>} what is still missing, in sentences; empty when all is there
 */
export async function meetNeeds(wanted) {
  // A variable that names no program is a mistake to report: installing another would hide it.
  const installable = (await unmetOf(wanted)).filter(({ variable }) => !process.env[variable])
  let aptOutput = ''
  if (installable.length > 0 && process.getuid?.() === 0 && (await onPath(['apt-get']))) {
    const packages = installable.map(({ aptPackage }) => aptPackage)
    console.log(`Installing for the tests: ${packages.join(', ')}`)
    aptOutput = await install(packages)
    for (const { service } of installable) if (service !== undefined) await endService(service)
  }
  const sentences = (await unmetOf(wanted)).map(
    ({ what, variable, aptPackage }) =>
      `The tests need ${what}: install the package ${aptPackage}, or set ${variable} to the program's path.`,
  )
  return sentences.length > 0 ? aptOutput + sentences.join('\n') : ''
}

/** @param {Need[]} wanted */
async function unmetOf(wanted) {
  const files = await Promise.all(wanted.map(locate))
  return wanted.filter((_, index) => files[index] === undefined)
}

/**
 * @param {string[]} packages
 * @returns {Promise<string>} apt's own words when the last try failed
 */
async function install(packages) {
  // Another apt may hold the lock.
  const apt = (/** @type {string[]} */ ...args) =>
    run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      env: { DEBIAN_FRONTEND: 'noninteractive' },
    })
  const { ok, output } = await inThreeTries(async () => {
    const update = await apt('update')
    const installed = await apt('install', '-y', '--no-install-recommends', ...packages)
    return { ok: installed.ok, output: update.output + installed.output }
  })
  return ok ? '' : output
}

/**
 * Tests start servers of their own: what a package started is ended, and stays so at the next boot. Where nothing runs, nothing happens.
 * @param {string} service
 */
async function endService(service) {
  await run('service', [service, 'stop'])
  await run('update-rc.d', [service, 'disable'])
}
