// The logger. This is the only file that imports pino. It is a leaf (see errors.ts). Tokens must never reach
// a log line: this file redacts known keys and token-shaped text, and callers pass URLs through
// loggableUrl(). A line that one request of a client or tenant can cause is written through `LimitedLog`.
import { pino, type Logger } from 'pino'

export type Log = Logger

const secretKeys = [
  'token',
  'access_token',
  'guest_token',
  'authorization',
  'secret',
  'password',
  'ticket',
  'api_key',
]

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/**
 * Creates a logger that writes JSON lines to standard error. Standard output is reserved for the output of
 * commands.
 */
export function createLog(options: {
  level: LogLevel
  name: string
  /**
   * Writes one line, which includes its newline. Default: standard error. It must be synchronous, or the line
   * about a crash is lost with the process.
   */
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

/** The time for which a `LimitedLog` writes no second line with the same key, in milliseconds. */
export const limitedLogMs = 10_000
/** The most keys that a `LimitedLog` remembers. Beyond them it forgets the one that was written first. */
const limitedKeysMax = 10_000

/**
 * Writes lines that clients can cause, at most one per key and ten seconds. Otherwise one client could fill
 * the disk of a node, or hide other lines. A line reports in `suppressed` how many lines with its key were
 * left out since the last one.
 */
export class LimitedLog {
  readonly #log: Log
  readonly #clock: { monotonicMs(): number }
  /** By key, in the order in which lines were written. */
  readonly #written = new Map<string, { readonly atMs: number; suppressed: number }>()

  constructor(log: Log, clock: { monotonicMs(): number }) {
    this.#log = log
    this.#clock = clock
  }

  /** Lines with the same `key` count as repetitions; it names the cause, for example a tenant and a code. */
  warn(key: string, fields: object, message: string): void {
    this.#write('warn', key, fields, message)
  }

  /**
   * Writes a line about a bug. Errors from one place in the code count as repetitions within a `scope`,
   * because their messages may quote the client.
   */
  bug(
    scope: string,
    fields: { readonly err: unknown; readonly [name: string]: unknown },
    message: string,
  ): void {
    const { err } = fields
    const [place = ''] = /^\s+at .*$/m.exec((err instanceof Error && err.stack) || '') ?? []
    this.#write('error', `${scope} ${place}`, fields, message)
  }

  #write(level: 'warn' | 'error', key: string, fields: object, message: string): void {
    const nowMs = this.#clock.monotonicMs()
    const last = this.#written.get(key)
    if (last && nowMs - last.atMs < limitedLogMs) {
      last.suppressed += 1
      return
    }
    this.#written.delete(key)
    if (this.#written.size >= limitedKeysMax) {
      const [oldest] = this.#written.keys()
      if (oldest !== undefined) this.#written.delete(oldest)
    }
    this.#written.set(key, { atMs: nowMs, suppressed: 0 })
    const suppressed = last && last.suppressed > 0 ? { suppressed: last.suppressed } : {}
    this.#log[level]({ ...fields, ...suppressed }, message)
  }
}

/**
 * Serializes an error as type, message, stack and code only. Libraries attach requests, connections and
 * commands with all their arguments to their errors, and those may contain secrets.
 */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { message, stack, type } = pino.stdSerializers.err(error)
  return { type, message, stack, code: 'code' in error ? error.code : undefined }
}

/** Matches a JWT or a guest token, in case one appears in the message of an error. */
const token = /eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?|guest\.[\w-]{11}\.[\w.-]+/g

/**
 * Matches characters that JSON leaves unescaped but that terminals act on: DEL and C1 controls, line
 * separators and bidirectional controls.
 */
const unescaped = /[\u007F-\u009F\u2028\u2029\p{Bidi_Control}]/gu

function escapeText(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/**
 * Returns `url` in a form that may be logged: without its query, which may contain a token, and cut to 200
 * characters. Control characters need no treatment here, because pino escapes them.
 */
export function loggableUrl(url: string): string {
  const query = url.indexOf('?')
  const path = query === -1 ? url : `${url.slice(0, query)}?…`
  return path.length > 200 ? `${path.slice(0, 200)}…` : path
}
