// A file that somebody named on the command line is missing more often than not: it deserves a sentence.
import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.js'

/** `what` is the file's part in the sentence, as "password file". Throws ConfigError. */
export function readNamedFile(what: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    throw new ConfigError([`The ${what} "${file}" cannot be read: ${code}`])
  }
}
