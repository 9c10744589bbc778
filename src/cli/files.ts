// Reads a file that an option names, and reports why it cannot be read.
import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.js'

/**
 * Reads a text file. `what` names it in the error, as in "password file". @throws ConfigError when it cannot
 * be read.
 */
export function readNamedFile(what: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    throw new ConfigError([`The ${what} "${file}" cannot be read: ${code}`])
  }
}
