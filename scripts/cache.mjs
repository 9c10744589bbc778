// Keeps what the tests need outside the tree, where the next clone finds it.
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/** The user's cache folder. Other projects keep builds of the same sources here, and they are used too. */
export function cacheFolder() {
  return process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
}

/**
 * A folder of Parley's own in the cache.
 * @param {string} name
 */
export function ownCache(name) {
  return join(cacheFolder(), 'parley', name)
}

/**
 * Makes a folder unless it is there. A run that fails half-way, or two runs at once, leave either nothing in
 * place or everything: the contents are made in a new folder beside it, which is then renamed.
 * @param {string} folder
 * @param {(folder: string) => Promise<string>} make fills the new folder; returns why it could not, or an
 * empty string
 * @returns {Promise<string>} what is wrong; empty when the folder is there
 */
export async function provideFolder(folder, make) {
  if (await exists(folder)) return ''
  await mkdir(dirname(folder), { recursive: true })
  const made = await mkdtemp(join(dirname(folder), '.new-'))
  try {
    const problem = await make(made)
    if (problem === '') await rename(made, folder)
    return problem
  } catch (error) {
    // Another run was faster.
    if (await exists(folder)) return ''
    return error instanceof Error ? error.message : String(error)
  } finally {
    await rm(made, { recursive: true, force: true })
  }
}

/** @param {string} path */
export function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  )
}
