// Downloads the official Java client, unmodified and in the version of pom.xml, and compiles its driver.
import { createHash } from 'node:crypto'
import { readdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { exists, ownCache, provideFolder } from './cache.mjs'
import { locate, needs } from './needs.mjs'
import { inThreeTries, root, run } from './run.mjs'

const project = join(root, 'test/sdk/java')
const sources = join(project, 'src/main/java/parley')
const buildMsMax = 300_000

/** The folder depends on the version of the client and on the sources of the driver, but not on the JDK. */
async function driverFolder() {
  const files = (await readdir(sources)).toSorted().map((name) => join(sources, name))
  const hash = createHash('sha256')
  for (const file of [join(project, 'pom.xml'), ...files]) hash.update(await readFile(file))
  return ownCache(`java-${hash.digest('hex').slice(0, 16)}`)
}

/** @returns {Promise<string | undefined>} */
async function javaHome() {
  const javac = await locate(needs.javac)
  return javac && dirname(dirname(await realpath(javac)))
}

/**
 * Returns the command that starts the driver; undefined before `provideJavaClient` has run.
 * @returns {Promise<string[] | undefined>}
 */
export async function locateJavaDriver() {
  const home = await javaHome()
  const folder = await driverFolder()
  if (home === undefined || !(await exists(folder))) return undefined
  const classPath = [join(folder, 'classes'), join(folder, 'lib/*')].join(':')
  // The driver runs for a short time, so a fast start matters more than optimized code.
  return [
    join(home, 'bin/java'),
    '-XX:TieredStopAtLevel=1',
    '-XX:+UseSerialGC',
    '-cp',
    classPath,
    'parley.Driver',
  ]
}

/**
 * Downloads and compiles what is missing, from the repositories of this machine's Maven configuration.
 * @returns {Promise<string>} an error message; empty when the driver is available
 */
export async function provideJavaClient() {
  const maven = await locate(needs.maven)
  if (maven === undefined) return `The tests need ${needs.maven.what}.`
  const home = await javaHome()
  if (home === undefined) return `The tests need ${needs.javac.what}.`
  return provideFolder(await driverFolder(), async (folder) => {
    const build = (/** @type {string[]} */ ...args) =>
      run(maven, ['--quiet', '--batch-mode', ...args, `-Dout=${folder}`, 'process-classes'], {
        cwd: project,
        env: { JAVA_HOME: home },
        deadlineMs: buildMsMax,
      })
    // Packages in the local repository need no network.
    if ((await build('--offline')).ok) return ''
    const { ok, output } = await inThreeTries(() => build())
    return ok
      ? ''
      : `Cannot download the official Java client, or cannot compile its driver:\n${output.slice(-2_000)}`
  })
}
