// Installs the programs that are missing where that is possible, and names them where it is not.
import { locate, onPath } from './needs.mjs'
import { inThreeTries, run } from './run.mjs'

/** @typedef {import('./needs.mjs').Need} Need */

/**
 * How the machine is changed. A test passes its own.
 * @typedef {{ isRoot: boolean, run: typeof run, onPath: typeof onPath }} Machine
 */

/** @type {Machine} */
const thisMachine = { isRoot: process.getuid?.() === 0, run, onPath }

/**
 * @param {Need[]} needed
 * @param {Machine} [machine]
 * @returns {Promise<string>} what is still missing, in sentences; empty when nothing is
 */
export async function meetNeeds(needed, machine = thisMachine) {
  // A variable that names no program is an error to report: installing another program would hide it.
  const installable = (await unmetOf(needed)).filter(({ variable }) => !process.env[variable])
  let aptOutput = ''
  if (installable.length > 0 && machine.isRoot && (await machine.onPath(['apt-get']))) {
    const packages = installable.map(({ aptPackage }) => aptPackage)
    const services = installable.flatMap(({ service }) => service ?? [])
    const runningBefore = await runningOf(services, machine)
    console.log(`Installing for the tests: ${packages.join(', ')}`)
    aptOutput = await install(packages, machine)
    for (const service of services) if (!runningBefore.has(service)) await endService(service, machine)
  }
  const sentences = (await unmetOf(needed)).map(
    ({ what, variable, aptPackage }) =>
      `The tests need ${what}: install the package ${aptPackage}, or set ${variable} to the program's path.`,
  )
  return sentences.length > 0 ? aptOutput + sentences.join('\n') : ''
}

/** @param {Need[]} needed */
async function unmetOf(needed) {
  const files = await Promise.all(needed.map(locate))
  return needed.filter((_, index) => files[index] === undefined)
}

/**
 * @param {string[]} services
 * @param {Machine} machine
 * @returns {Promise<Set<string>>}
 */
async function runningOf(services, machine) {
  const running = new Set()
  for (const service of services)
    if ((await machine.run('service', [service, 'status'])).ok) running.add(service)
  return running
}

/**
 * @param {string[]} packages
 * @param {Machine} machine
 * @returns {Promise<string>} apt's output when the last try failed; empty when the packages are installed
 */
async function install(packages, machine) {
  // Another apt may hold the lock.
  const apt = (/** @type {string[]} */ ...args) =>
    machine.run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
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
 * The tests start servers of their own, so a service that the installation itself started is stopped, and
 * does not start at the next boot. A service that was running before is the user's and stays.
 * @param {string} service
 * @param {Machine} machine
 */
async function endService(service, machine) {
  await machine.run('service', [service, 'stop'])
  await machine.run('update-rc.d', [service, 'disable'])
}
