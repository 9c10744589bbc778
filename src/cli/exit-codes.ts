// The exit codes of `parley`, as docs/reference/commands.md lists them.
import type { Command } from 'commander'

/** The command line is wrong: a missing or invalid option, or a request that cannot be met. */
export const badInputExitCode = 2

/** EX_CONFIG of sysexits: the configuration is wrong, and a restart will not help. */
export const configExitCode = 78

/**
 * EX_TEMPFAIL of sysexits: another controller leads now. A restarted process waits until it may lead again.
 */
export const temporaryExitCode = 75

/** Makes commander exit with 2 for its own errors: its default is 1, which means no in `parley can`. */
export function withDocumentedExitCodes(command: Command): Command {
  return command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : badInputExitCode))
}
