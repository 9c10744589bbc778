// What several subcommands read from their command line.
import { InvalidArgumentError } from 'commander'

/** For commander: a number, or its own kind of complaint. */
export function numberOf(text: string): number {
  const number = Number(text)
  if (text.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('It must be a number.')
  return number
}
