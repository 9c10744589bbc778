// The options of the scripts that developers call.
import { parseArgs } from 'node:util'

/**
 * Parses the command line. With an unknown or malformed option it prints the usage and ends the process
 * with 2.
 * @template {NonNullable<import('node:util').ParseArgsConfig['options']>} Options
 * @param {Options} options
 * @param {string} usage
 */
export function parseOptions(options, usage) {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    return exitWithUsage(usage)
  }
}

/**
 * @param {string} usage
 * @returns {never}
 */
export function exitWithUsage(usage) {
  console.error(usage)
  process.exit(2)
}
