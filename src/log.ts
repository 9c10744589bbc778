// The one door to pino. Tokens never reach a log line: they are redacted by key here and cut from URLs by whoever logs one.
import { pino, type Logger } from 'pino'

export type Log = Logger

const secretKeys = ['token', 'access_token', 'authorization', 'secret', 'password', 'ticket', 'api_key']

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** JSON lines on standard error: standard output belongs to what a command prints for people and pipes. */
export function createLog(options: { level: LogLevel; name: string }): Log {
  return pino(
    {
      name: options.name,
      level: options.level,
      redact: {
        paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
        censor: '[redacted]',
      },
    },
    // Synchronous: a line about a crash must not die with the process.
    { write: (line: string) => void process.stderr.write(line) },
  )
}

/** A URL fit for a log: the query, where tokens travel, is cut off; control characters cannot forge a second line (pino escapes them). */
export function loggableUrl(url: string): string {
  const query = url.indexOf('?')
  const path = query === -1 ? url : `${url.slice(0, query)}?…`
  return path.length > 200 ? `${path.slice(0, 200)}…` : path
}
