// Calls to the API server: over few sockets, each with a deadline, repeated where repeating is safe, never more than the server can take.
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { arch, platform } from 'node:os'
import { pause, abortable } from '../deadline.js'
import { systemAfter, systemClock } from '../time.js'
import { ApiError, ApiUnreachableError } from './api-error.js'
import { errorOfAnswer } from './api-status.js'
import type { ApiTarget } from './api-target.js'
import { CallDeadline } from './call-deadline.js'
import { Throttle } from './throttle.js'

export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With the query. */
  readonly path: string
  readonly body?: unknown
  /** Default `application/json`. */
  readonly contentType?: string
  readonly accept?: string
  /** For all attempts together. Default 30,000. */
  readonly deadlineMs?: number
  /** For one of them. Default: the transport's. */
  readonly attemptMs?: number
  /** Once again does no harm: not for a plain create. Default: all but POST. */
  readonly repeatable?: boolean
  /** Waits for nobody: the lease. */
  readonly urgent?: boolean
  /** Called at the last moment before each attempt is sent; what it throws ends the call. */
  readonly beforeSend?: () => void
  readonly signal?: AbortSignal
}

export interface TransportOptions {
  readonly target: ApiTarget
  readonly userAgent: string
  /** Hears of each answer: 'GET' and '200', or '<error>' when none came. */
  readonly onAnswer?: (method: string, code: string) => void
  /** Default 50 calls per second, 100 at once in a burst. */
  readonly perSecond?: number
  readonly burst?: number
  /** For tests: how back-off waits. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
  /** For one attempt, from sending to the last byte. Default 15,000. */
  readonly attemptMs?: number
}

const attemptsMax = 5
const firstBackoffMs = 100
const answerBytesMax = 64 * 1_048_576
/** Half-open connections are found out by the kernel: a watch that is idle says nothing for a minute. */
const tcpKeepAliveMs = 30_000

/** Audit logs and priority-and-fairness see who calls. */
export function userAgentOf(version: string): string {
  return `parley-controller/${version} (${platform()}/${arch()}) node/${process.versions.node}`
}

export class ApiTransport {
  readonly #options: TransportOptions
  readonly #throttle: Throttle

  constructor(options: TransportOptions) {
    this.#options = options
    this.#throttle = new Throttle({
      clock: systemClock,
      after: systemAfter,
      perSecond: options.perSecond ?? 50,
      burst: options.burst ?? 100,
      atOnceMax: 4,
      waitingMax: 10_000,
    })
  }

  /** The parsed body. Rejects with ApiError, ApiUnreachableError, or what `beforeSend` threw; with the signal's reason when that ends first. */
  async call(call: ApiCall): Promise<unknown> {
    const { deadlineMs = 30_000 } = call
    const deadline = new CallDeadline({ ms: deadlineMs, what: describe(call) }, call.signal)
    const { signal } = deadline
    const endsMs = systemClock.monotonicMs() + deadlineMs
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#inTurn(call, signal)
        } catch (error) {
          const waitMs = waitBefore(error, { call, attempt })
          // A wait beyond the deadline is the caller's to make: it may have better to do.
          if (waitMs === undefined || systemClock.monotonicMs() + waitMs >= endsMs) throw error
          await (this.#options.pause ?? pause)(waitMs, signal)
          signal.throwIfAborted()
        }
      }
    } finally {
      deadline.end()
    }
  }

  /** A watch: resolves with a body to be read as it comes. Rejects like `call`; never repeats. Ending `signal` ends the body too. */
  async open(call: ApiCall, signal: AbortSignal): Promise<IncomingMessage> {
    await this.#throttle.enter(signal)
    const opening = this.#attemptDeadline(call, signal)
    try {
      const response = await this.#send(call, { agent: 'watches', signal, opening: opening.signal })
      if (response.statusCode === 200) return response
      throw this.#refusal(response.statusCode ?? 0, await readAll(response, opening.signal), response)
    } finally {
      opening.end()
      this.#throttle.release()
    }
  }

  async #inTurn(call: ApiCall, signal: AbortSignal): Promise<unknown> {
    if (call.urgent) return this.#attempt(call, signal)
    await this.#throttle.enter(signal)
    try {
      return await this.#attempt(call, signal)
    } finally {
      this.#throttle.release()
    }
  }

  async #attempt(call: ApiCall, signal: AbortSignal): Promise<unknown> {
    const deadline = this.#attemptDeadline(call, signal)
    try {
      const response = await this.#send(call, {
        agent: 'calls',
        signal: deadline.signal,
        opening: deadline.signal,
      })
      const body = await readAll(response, deadline.signal)
      const { statusCode: code = 0 } = response
      if (code < 200 || code > 299) throw this.#refusal(code, body, response)
      return parse(body)
    } finally {
      deadline.end()
    }
  }

  #attemptDeadline(call: ApiCall, signal: AbortSignal): CallDeadline {
    return new CallDeadline(
      { ms: call.attemptMs ?? this.#options.attemptMs ?? 15_000, what: describe(call) },
      signal,
    )
  }

  #refusal(code: number, body: string, response: IncomingMessage): ApiError {
    if (code === 401) this.#options.target.distrust()
    return errorOfAnswer(code, body, response.headers)
  }

  /** Resolves with the headers. `opening` guards until then, `signal` for good. */
  async #send(
    call: ApiCall,
    { agent, signal, opening }: { agent: 'calls' | 'watches'; signal: AbortSignal; opening: AbortSignal },
  ): Promise<IncomingMessage> {
    const { target, userAgent, onAnswer } = this.#options
    const access = await abortable(opening, target.access()).catch((error: unknown) => {
      throw signal.aborted || error instanceof ApiUnreachableError ? error : unreachable('credentials', error)
    })
    opening.throwIfAborted()
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body))
    const url = new URL(target.url)
    url.pathname = url.pathname.replace(/\/$/, '')
    call.beforeSend?.()
    const request = (url.protocol === 'http:' ? requestHttp : requestHttps)({
      protocol: url.protocol,
      hostname: url.hostname.replaceAll(/^\[|\]$/g, ''),
      port: url.port,
      path: url.pathname.replace(/^\/$/, '') + call.path,
      method: call.method,
      agent: access[agent],
      signal,
      headers: {
        accept: call.accept ?? 'application/json',
        'user-agent': userAgent,
        ...access.headers,
        ...(body && {
          'content-type': call.contentType ?? 'application/json',
          'content-length': body.byteLength,
        }),
      },
    })
    request.on('socket', (socket) => socket.setKeepAlive(true, tcpKeepAliveMs))
    try {
      const response = await abortable(opening, answerOf(request, body))
      onAnswer?.(call.method, String(response.statusCode))
      return response
    } catch (error) {
      request.destroy()
      onAnswer?.(call.method, '<error>')
      if (opening.aborted) throw opening.reason
      throw unreachable(describe(call), error)
    }
  }
}

function answerOf(request: ClientRequest, body: Buffer | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
    request.on('close', () => reject(new Error('the connection ended without an answer')))
    request.end(body)
  })
}

async function readAll(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  const cut = () => response.destroy()
  signal.addEventListener('abort', cut, { once: true })
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength
      if (bytes > answerBytesMax) throw new Error(`the answer is longer than ${answerBytesMax} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw unreachable('reading the answer', error)
  } finally {
    signal.removeEventListener('abort', cut)
    response.destroy()
  }
  // Cut short without an error, that is how a destroyed answer ends.
  if (signal.aborted) throw signal.reason
  return Buffer.concat(chunks).toString()
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    // Without the cause: it quotes the answer, which may be a Secret.
    throw new ApiUnreachableError('the answer is not JSON')
  }
}

/** Undefined: do not repeat. */
function waitBefore(
  error: unknown,
  { call, attempt }: { call: ApiCall; attempt: number },
): number | undefined {
  if (attempt >= attemptsMax) return undefined
  const repeatable = call.repeatable ?? call.method !== 'POST'
  const backoffMs = firstBackoffMs * 2 ** (attempt - 1) * (0.5 + Math.random())
  if (error instanceof ApiUnreachableError) return repeatable ? backoffMs : undefined
  if (!(error instanceof ApiError)) return undefined
  // Not let in, whatever it was: once more with credentials read anew.
  if (error.code === 401) return attempt === 1 ? 0 : undefined
  // The server says itself that it did nothing and when to come back.
  if (error.retryAfterMs !== undefined && (error.code === 429 || error.code >= 500)) {
    return Math.max(error.retryAfterMs, backoffMs)
  }
  return error.code === 429 || (error.code >= 500 && repeatable) ? backoffMs : undefined
}

function unreachable(what: string, cause: unknown): ApiUnreachableError {
  const message = cause instanceof Error ? cause.message : String(cause)
  return new ApiUnreachableError(`${what}: ${message}`, { cause })
}

/** Selectors and continue tokens are long and say little. */
function describe({ method, path }: ApiCall): string {
  return `${method} ${path.split('?')[0]}`
}
