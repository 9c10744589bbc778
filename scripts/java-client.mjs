// The official client for Java and its driver, compiled against it: unmodified, in the version of pom.xml.
import { createHash } from 'node:crypto'
import { readdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { exists, ownCache, provideFolder } from './cache.mjs'
import { locate, needs } from './needs.mjs'
import { inThreeTries, root, run } from './run.mjs'

const project = join(root, 'test/sdk/java')
const sources = join(project, 'src/main/java/parley')
const buildMsMax = 300_000

/** Another version or another driver is another folder; any JDK makes the same. */
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
 * The command that starts the driver; undefined when `provideJavaClient` has not been here.
 * @returns {Promise<string[] | undefined>}
 */
export async function locateJavaDriver() {
  const home = await javaHome()
  const folder = await driverFolder()
  if (home === undefined || !(await exists(folder))) return undefined
  const classPath = [join(folder, 'classes'), join(folder, 'lib/*')].join(':')
  // Small and short: what a long life gains by compiling is lost here.
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
 * Fetches and compiles what is missing, from where Maven is told to on this machine.
 * @returns {Promise<string>} what is wrong; empty when the driver is there
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
    // What was fetched once needs no network.
    if ((await build('--offline')).ok) return ''
    const { ok, output } = await inThreeTries(() => build())
    return ok
      ? ''
      : `The official Java client could not be fetched, or its driver not compiled:\n${output.slice(-2_000)}`
  })
}
