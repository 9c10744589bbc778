// Installs the official Python clients in a virtual environment, unmodified and in the versions of
// requirements.txt.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exists, ownCache, provideFolder } from './cache.mjs'
import { locate, needs } from './needs.mjs'
import { inThreeTries, root, run } from './run.mjs'

const requirements = join(root, 'test/sdk/python/requirements.txt')
const installMsMax = 300_000

/** The folder of the environment depends on the Python version and on requirements.txt. */
async function environmentOf(/** @type {string} */ python) {
  const { output } = await run(python, ['-c', 'import sys; print(sys.base_prefix, sys.version)'])
  const hash = createHash('sha256')
    .update(output)
    .update(await readFile(requirements))
  return ownCache(`python-${hash.digest('hex').slice(0, 16)}`)
}

/**
 * Returns the path of the environment's Python; undefined before `providePythonClients` has run.
 * @returns {Promise<string | undefined>}
 */
export async function locatePythonClients() {
  const python = await locate(needs.python)
  if (python === undefined) return undefined
  const found = join(await environmentOf(python), 'bin/python')
  return (await exists(found)) ? found : undefined
}

/**
 * Installs what is missing, from the package index of this machine's pip configuration.
 * @returns {Promise<string>} an error message; empty when the clients are available
 */
export async function providePythonClients() {
  const python = await locate(needs.python)
  if (python === undefined) return `The tests need ${needs.python.what}.`
  return provideFolder(await environmentOf(python), async (folder) => {
    const created = await run(python, ['-m', 'venv', folder])
    if (!created.ok) return created.output
    const pip = (/** @type {string[]} */ ...args) =>
      run(join(folder, 'bin/python'), ['-m', 'pip', ...args], { deadlineMs: installMsMax })
    const { ok, output } = await inThreeTries(() =>
      // Installs only the pinned packages, and only wheels. Unlisted dependencies and local builds could
      // differ from run to run.
      pip('install', '--quiet', '--no-deps', '--only-binary', ':all:', '--requirement', requirements),
    )
    if (!ok) return `The official Python clients could not be installed:\n${output.slice(-2_000)}`
    const checked = await pip('check')
    return checked.ok ? '' : checked.output
  })
}
