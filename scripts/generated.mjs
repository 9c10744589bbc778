// Files that are made from something else: written where they are not current, or, with --check, only told of.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { root } from './run.mjs'

const check = process.argv.includes('--check')

/**
 * With --check nothing is written, and the process ends with 1.
 * @param {string} path from the root
 * @param {string | undefined} text undefined: it should not be there
 * @param {string} command that writes it
 */
export async function putGenerated(path, text, command) {
  const file = join(root, path)
  const written = await readFile(file, 'utf8').catch(() => undefined)
  if (written === text) return
  if (check) {
    console.error(`${path} is not current: run "${command}" and commit it`)
    process.exitCode = 1
    return
  }
  await mkdir(dirname(file), { recursive: true })
  await (text === undefined ? rm(file) : writeFile(file, text))
  console.log(`${text === undefined ? 'removed' : 'wrote'} ${path}`)
}
