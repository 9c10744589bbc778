// What the tests need is kept outside the tree, where the next clone finds it again.
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/** The user's cache: what others built from the same sources is looked for here too. */
export function cacheFolder() {
  return process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
}

/**
 * A folder of this project's own.
 * @param {string} name
 */
export function ownCache(name) {
  return join(cacheFolder(), 'parley', name)
}

/**
 * Makes the folder unless it is there. Whatever fails half-way, or runs twice at once, leaves either nothing in place or everything.
 * @param {string} folder
 * @param {(folder: string) => Promise<string>} make fills another one, which is then moved there; or says why not
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
