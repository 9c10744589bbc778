#!/usr/bin/env node
// `parley`: reads the command line, runs one subcommand, and says in sentences what is wrong with it.
import { Command } from 'commander'
import { ConfigError } from '../errors.js'
import { canCommand } from './can.js'
import { devCommand } from './dev.js'
import { tokenCommand } from './token.js'
import { version } from './version.js'

/** EX_CONFIG of sysexits: the configuration is at fault, a restart will not help. */
const exitConfig = 78

const program = new Command('parley')
  .description('Real-time chat for every team of a Kubernetes cluster.')
  .version(version)
  .addCommand(devCommand())
  .addCommand(tokenCommand())
  .addCommand(canCommand())
  .showHelpAfterError('(parley --help lists the commands)')

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  for (const problem of error.problems) process.stderr.write(`parley: ${problem}\n`)
  process.exitCode = exitConfig
}
