// The one door to pino. Tokens never reach a log line: they are redacted by key here and cut from URLs by whoever logs one.
import { pino, type Logger } from 'pino'

export type Log = Logger

const secretKeys = ['token', 'access_token', 'authorization', 'secret', 'password', 'ticket', 'api_key']

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** JSON lines on standard error: standard output belongs to what a command prints for people and pipes. */
export function createLog(options: {
  level: LogLevel
  name: string
  /** One line with its end. Default: standard error. Synchronous: a line about a crash must not die with the process. */
  write?: (line: string) => void
}): Log {
  const write = options.write ?? ((line: string) => void process.stderr.write(line))
  return pino(
    {
      name: options.name,
      level: options.level,
      serializers: { err: describeError },
      redact: {
        paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
        censor: '[redacted]',
      },
    },
    { write: (line: string) => write(line.replaceAll(token, '[token]').replaceAll(unescaped, escapeText)) },
  )
}

/** What helps and no more: libraries hang requests, connections and commands with all their arguments on their errors. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { message, stack, type } = pino.stdSerializers.err(error)
  return { type, message, stack, code: 'code' in error ? error.code : undefined }
}

/** For the token that got into an error's message all the same. */
const token = /eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?/g

/** JSON lets these stand as they are, and terminals obey them or break the line: C1 controls, separators, directions of writing. */
const unescaped = /[\u007F-\u009F\u2028\u2029\p{Bidi_Control}]/gu

function escapeText(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** A URL fit for a log: the query, where tokens travel, is cut off; control characters cannot forge a second line (pino escapes them). */
export function loggableUrl(url: string): string {
  const query = url.indexOf('?')
  const path = query === -1 ? url : `${url.slice(0, query)}?…`
  return path.length > 200 ? `${path.slice(0, 200)}…` : path
}
