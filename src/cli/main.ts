#!/usr/bin/env node
// `parley`: runs one subcommand, and prints the problems of its configuration as sentences.
import { ConfigError } from '../errors.js'
import { configExitCode } from './exit-codes.js'
import { createProgram } from './program.js'

try {
  await createProgram().parseAsync()
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  for (const problem of error.problems) process.stderr.write(`parley: ${problem}\n`)
  process.exitCode = configExitCode
}
