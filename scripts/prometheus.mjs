// Finds or fetches Prometheus and promtool, with which the alerts and dashboards are tested.
import { readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ownCache, provideFolder } from './cache.mjs'
import { firstExecutable, locate } from './needs.mjs'
import { run } from './run.mjs'

/** @typedef {'prometheus' | 'promtool'} Program */

/** @type {Program[]} */
const programs = ['prometheus', 'promtool']

/** @type {Record<Program, string>} */
const variables = { prometheus: 'PARLEY_PROMETHEUS', promtool: 'PARLEY_PROMTOOL' }

function ownFolder() {
  return ownCache('prometheus')
}

/**
 * Finds the program. When its environment variable is set, only that file is looked at, as for every program
 * of needs.mjs.
 * @param {Program} program
 * @returns {Promise<string | undefined>} undefined when there is none
 */
export async function locatePrometheus(program) {
  const variable = variables[program]
  const found = await locate({ what: program, variable, programs: [program], aptPackage: '' })
  if (found || process.env[variable]) return found
  return firstExecutable([join(ownFolder(), 'usr/bin', program)])
}

/**
 * Fetches what is missing. Debian's package is unpacked and not installed: an installed one would start a
 * server on port 9090, where other programs listen.
 * @returns {Promise<string>} what is wrong, in a sentence; empty when both are there
 */
export async function providePrometheus() {
  const missing = await missingPrograms()
  if (missing.length === 0) return ''
  for (const program of missing)
    if (process.env[variables[program]]) return `${variables[program]} names no executable file.`
  // An incomplete folder would be taken for a finished one.
  await rm(ownFolder(), { recursive: true, force: true })
  const problem = await provideFolder(ownFolder(), fetchPackage)
  if ((await missingPrograms()).length === 0) return ''
  const named = programs.map((program) => `${variables[program]} to ${program}`).join(' and ')
  return `The tests need prometheus and promtool 2.42 or newer: put them on the PATH, set ${named}, or let apt-get reach Debian's package.\n${problem}`
}

async function missingPrograms() {
  const files = await Promise.all(programs.map(locatePrometheus))
  return programs.filter((_, index) => files[index] === undefined)
}

/**
 * @param {string} folder
 * @returns {Promise<string>} the output of the tool that failed; empty when the programs are in `folder`
 */
async function fetchPackage(folder) {
  console.log('Fetching prometheus for the tests, once')
  let fetched = await run('apt-get', ['-qq', 'download', 'prometheus'], { cwd: folder })
  if (!fetched.ok) {
    // A fresh machine has no package lists, and a package that old lists name may be gone from the archive.
    await run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', 'update'])
    fetched = await run('apt-get', ['-qq', 'download', 'prometheus'], { cwd: folder })
  }
  const file = (await readdir(folder)).find((name) => name.endsWith('.deb'))
  if (file === undefined) return fetched.output
  const unpacked = await run('dpkg', ['-x', file, 'unpacked'], { cwd: folder })
  if (!unpacked.ok) return unpacked.output
  await rename(join(folder, 'unpacked/usr'), join(folder, 'usr'))
  await Promise.all([rm(join(folder, 'unpacked'), { recursive: true }), rm(join(folder, file))])
  return ''
}
