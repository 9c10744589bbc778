// The official clients for Python, in an environment of their own: as their package says, unmodified, in the versions of requirements.txt.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exists, ownCache, provideFolder } from './cache.mjs'
import { locate, needs } from './needs.mjs'
import { inThreeTries, root, run } from './run.mjs'

const requirements = join(root, 'test/sdk/python/requirements.txt')
const installMsMax = 300_000

/** Another Python or other versions are another environment. */
async function environmentOf(/** @type {string} */ python) {
  const { output } = await run(python, ['-c', 'import sys; print(sys.base_prefix, sys.version)'])
  const hash = createHash('sha256')
    .update(output)
    .update(await readFile(requirements))
  return ownCache(`python-${hash.digest('hex').slice(0, 16)}`)
}

/**
 * The Python that finds the clients; undefined when `providePythonClients` has not been here.
 * @returns {Promise<string | undefined>}
 */
export async function locatePythonClients() {
  const python = await locate(needs.python)
  if (python === undefined) return undefined
  const found = join(await environmentOf(python), 'bin/python')
  return (await exists(found)) ? found : undefined
}

/**
 * Fetches what is missing, from where pip is told to on this machine.
 * @returns {Promise<string>} what is wrong; empty when the clients are there
 */
export async function providePythonClients() {
  const python = await locate(needs.python)
  if (python === undefined) return `The tests need ${needs.python.what}.`
  return provideFolder(await environmentOf(python), async (folder) => {
    const made = await run(python, ['-m', 'venv', folder])
    if (!made.ok) return made.output
    const pip = (/** @type {string[]} */ ...args) =>
      run(join(folder, 'bin/python'), ['-m', 'pip', ...args], { deadlineMs: installMsMax })
    const { ok, output } = await inThreeTries(() =>
      // What the file does not name is not fetched, and what has no wheel is not built: both would be another version one day.
      pip('install', '--quiet', '--no-deps', '--only-binary', ':all:', '--requirement', requirements),
    )
    if (!ok) return `The official Python clients could not be installed:\n${output.slice(-2_000)}`
    const whole = await pip('check')
    return whole.ok ? '' : whole.output
  })
}
