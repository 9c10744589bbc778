#!/usr/bin/env node
// `parley`: runs one subcommand, and says in sentences what is wrong with its configuration.
import { ConfigError } from '../errors.js'
import { createProgram } from './program.js'

/** EX_CONFIG of sysexits: a restart will not help. */
const exitConfig = 78

try {
  await createProgram().parseAsync()
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  for (const problem of error.problems) process.stderr.write(`parley: ${problem}\n`)
  process.exitCode = exitConfig
}
