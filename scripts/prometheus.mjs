// Prometheus and promtool, which the alerts and dashboards are tried with: where they lie on this machine, and how they get there.
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ownCache } from './cache.mjs'
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
 * Undefined when there is none. The variable alone counts when it is set, as for every program of needs.mjs.
 * @param {Program} program
 * @returns {Promise<string | undefined>}
 */
export async function locatePrometheus(program) {
  const variable = variables[program]
  const found = await locate({ what: program, variable, programs: [program], aptPackage: '' })
  if (found || process.env[variable]) return found
  return firstExecutable([join(ownFolder(), 'usr/bin', program)])
}

/**
 * Fetches what is missing. Debian's package is unpacked and not installed: installed it would start a server on 9090, where others listen.
 * @returns {Promise<string>} what is wrong, in a sentence; empty when both are there
 */
export async function providePrometheus() {
  const missing = await missingPrograms()
  if (missing.length === 0) return ''
  for (const program of missing)
    if (process.env[variables[program]]) return `${variables[program]} names no executable file.`
  const problem = await fetchPackage()
  if ((await missingPrograms()).length === 0) return ''
  const named = programs.map((program) => `${variables[program]} to ${program}`).join(' and ')
  return `The tests need prometheus and promtool 2.42 or newer: put them on the PATH, set ${named}, or let apt-get reach Debian's package.\n${problem}`
}

async function missingPrograms() {
  const files = await Promise.all(programs.map(locatePrometheus))
  return programs.filter((_, index) => files[index] === undefined)
}

/** @returns {Promise<string>} what the tools said when they failed */
async function fetchPackage() {
  await mkdir(ownFolder(), { recursive: true })
  const folder = await mkdtemp(join(ownFolder(), '.new-'))
  try {
    console.log('Fetching prometheus for the tests, once')
    let fetched = await run('apt-get', ['-qq', 'download', 'prometheus'], { cwd: folder })
    if (!fetched.ok) {
      // A fresh machine has no lists, and what old lists name is gone from the archive.
      await run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', 'update'])
      fetched = await run('apt-get', ['-qq', 'download', 'prometheus'], { cwd: folder })
    }
    const file = (await readdir(folder)).find((name) => name.endsWith('.deb'))
    if (file === undefined) return fetched.output
    const unpacked = await run('dpkg', ['-x', file, 'unpacked'], { cwd: folder })
    if (!unpacked.ok) return unpacked.output
    // Whoever comes second finds the place taken, and the same in it.
    await rename(join(folder, 'unpacked/usr'), join(ownFolder(), 'usr')).catch(() => {})
    return ''
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
