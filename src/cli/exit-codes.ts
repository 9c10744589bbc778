// What the exit codes of `parley` mean (docs/reference/commands.md), and commander taught to keep to them.
import type { Command } from 'commander'

/** What was typed cannot be done. */
export const badInputExitCode = 2

/** EX_CONFIG of sysexits: what the process was given to run with is at fault, and a restart will not help. */
export const configExitCode = 78

/** EX_TEMPFAIL of sysexits: what the process did is another's to do now. Start it again, and it waits for its turn. */
export const temporaryExitCode = 75

/** Commander's own errors would end with 1, which means no to whoever asked `parley can`. */
export function endsByTheList(command: Command): Command {
  return command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : badInputExitCode))
}
