// Writes generated files that are not up to date. With --check it only reports them.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { root } from './run.mjs'

const check = process.argv.includes('--check')

/**
 * Writes or removes one file if it is not up to date. With --check it writes nothing and sets the exit code
 * 1.
 * @param {string} path relative to the root
 * @param {string | undefined} text undefined: the file should not exist
 * @param {string} command the command that generates the file
 */
export async function putGenerated(path, text, command) {
  const file = join(root, path)
  const written = await readFile(file, 'utf8').catch(() => undefined)
  if (written === text) return
  if (check) {
    console.error(`${path} is not up to date: run "${command}" and commit the result`)
    process.exitCode = 1
    return
  }
  await mkdir(dirname(file), { recursive: true })
  await (text === undefined ? rm(file) : writeFile(file, text))
  console.log(`${text === undefined ? 'removed' : 'wrote'} ${path}`)
}
