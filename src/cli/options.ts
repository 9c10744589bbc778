// What several subcommands read from their command line: text in, a value or a sentence out.
import { type Command, InvalidArgumentError } from 'commander'
import { PublicUrl } from '../controller/credentials/endpoints.js'

const windowMaxS = 3600

/** What of Redis's access is in files. See `RedisOptions`. */
export function withRedisFiles(command: Command): Command {
  return command
    .option('--redis-password-file <file>', 'holds the password alone')
    .option('--redis-ca-file <file>', 'who signs Redis’s certificates, in place of the public authorities')
    .option('--redis-cert-file <file>', 'the certificate that Redis and its Sentinels ask for')
    .option('--redis-key-file <file>', 'its key')
}

export function portOf(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new InvalidArgumentError('Ports are whole numbers from 0 (any that is free) to 65535.')
}

export function windowOf(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) <= windowMaxS) return Number(text)
  throw new InvalidArgumentError(`It is a number of seconds from 0 to ${windowMaxS}.`)
}

export function countOf(text: string): number {
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Number(text)
  throw new InvalidArgumentError('It is a whole number from 1.')
}

/** It becomes part of Redis keys, between colons. */
export function installationOf(text: string): string {
  if (/^[a-z0-9][a-z0-9./-]{0,126}$/.test(text)) return text
  throw new InvalidArgumentError(
    'It has lower-case letters, digits and the marks . / -, as in namespace/release.',
  )
}

export function publicUrlOf(text: string): PublicUrl {
  const url = PublicUrl.parse(text)
  if (url) return url
  throw new InvalidArgumentError('It is the address that clients connect to, as in wss://chat.example.com.')
}
