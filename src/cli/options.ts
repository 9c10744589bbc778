// Options that several subcommands have, and their parsers. Each parser takes the text of the command line
// and returns a value, or throws an InvalidArgumentError whose sentence commander prints.
import { type Command, InvalidArgumentError } from 'commander'
import { PublicUrl } from '../controller/credentials/endpoints.js'

const windowMaxS = 3600

/** Adds the options for credentials of Redis that are in files: see `RedisOptions` in redis-links.ts. */
export function withRedisFiles(command: Command): Command {
  return command
    .option('--redis-password-file <file>', 'file that contains only the password')
    .option('--redis-ca-file <file>', 'certificate authorities (PEM) for Redis, instead of the public ones')
    .option('--redis-cert-file <file>', 'client certificate (PEM) for Redis and its Sentinels')
    .option('--redis-key-file <file>', 'private key of the client certificate (PEM)')
}

export function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new InvalidArgumentError('A port is a whole number from 0 (any free port) to 65535.')
}

export function parseWindow(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) <= windowMaxS) return Number(text)
  throw new InvalidArgumentError(`The value is a number of seconds from 0 to ${windowMaxS}.`)
}

export function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Number(text)
  throw new InvalidArgumentError('The value is a whole number of at least 1.')
}

/** Returns a parser of whole numbers from `min` to `max`. */
export function parseBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    if (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text)
    throw new InvalidArgumentError(`The value is a whole number from ${min} to ${max}.`)
  }
}

/** Parses the name of an installation, which becomes part of Redis keys, between colons. */
export function parseInstallation(text: string): string {
  if (/^[a-z0-9][a-z0-9./-]{0,126}$/.test(text)) return text
  throw new InvalidArgumentError(
    'The name has lower-case letters, digits, dots, slashes and hyphens, as in namespace/release.',
  )
}

export function parsePublicUrl(text: string): PublicUrl {
  const url = PublicUrl.parse(text)
  if (url) return url
  throw new InvalidArgumentError(
    'The value is the address that clients connect to, as in wss://chat.example.com.',
  )
}
