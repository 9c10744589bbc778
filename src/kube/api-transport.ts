// Makes calls to the API server: over few sockets, each with a deadline, throttled, and retried where a retry
// is safe.
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { arch, platform } from 'node:os'
import { pause, abortable } from '../deadline.js'
import { systemAfter, systemClock } from '../time.js'
import { ApiError, ApiUnreachableError } from './api-error.js'
import { errorOfResponse } from './api-status.js'
import type { ApiTarget } from './api-target.js'
import { CallDeadline } from './call-deadline.js'
import type { Place } from './fair-queue.js'
import { Throttle } from './throttle.js'

export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** The path with its query string. */
  readonly path: string
  /** Sent as JSON. Default: no body. */
  readonly body?: unknown
  /** Default `application/json`. */
  readonly contentType?: string
  /** The deadline for all attempts together. Default 30,000. */
  readonly deadlineMs?: number
  /** The deadline for one attempt. Default: the transport's `attemptMs`. */
  readonly attemptMs?: number
  /** Whether the call may be retried when its outcome is unknown. Default: true for every method but POST. */
  readonly retryable?: boolean
  /** Where the call waits in the throttle. Default: the priority `normal`, and the group ''. */
  readonly place?: Place
  /** Skips the throttle. For leader election. Default false. */
  readonly unthrottled?: boolean
  /** Called immediately before each attempt is sent. An error that it throws ends the call. */
  readonly beforeSend?: () => void
  /** Ends the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface TransportOptions {
  readonly target: ApiTarget
  /**
   * The user agent, which names the client in audit logs and in API priority and fairness (see
   * `userAgentOf`).
   */
  readonly userAgent: string
  /** The field manager that owns all fields this client applies, such as `example-controller`. */
  readonly fieldManager: string
  /**
   * Called after each attempt, for metrics, with the method and the HTTP status, such as `GET` and `200`. The
   * status is `<error>` when there was no response.
   */
  readonly onResponse?: (method: string, code: string) => void
  /** The sustained rate, in calls per second. Default 50. */
  readonly perSecond?: number
  /** The number of calls that may start immediately after an idle time. Default 100. */
  readonly burst?: number
  /** The maximum number of throttled calls in flight. Default 4. */
  readonly concurrency?: number
  /** Waits for the back-off before a retry. Default: a timer; tests replace it. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
  /** The deadline for one attempt, from sending to the last byte. Default 15,000. */
  readonly attemptMs?: number
}

const attemptsMax = 5
const firstBackoffMs = 100
/** Lists and watches come first: without them no change is seen. */
export const watchPlace: Place = { priority: 'urgent', group: '' }
const responseBytesMax = 64 * 1_048_576
/** Lets the kernel detect half-open connections: an idle watch carries no bytes for a minute. */
const tcpKeepAliveMs = 30_000

/** Returns a user agent such as `example-controller/1.2.3 (linux/x64) node/20.0.0`. */
export function userAgentOf({ name, version }: { name: string; version: string }): string {
  return `${name}/${version} (${platform()}/${arch()}) node/${process.versions.node}`
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
      concurrencyMax: options.concurrency ?? 4,
      waitingMax: 10_000,
    })
  }

  get fieldManager(): string {
    return this.#options.fieldManager
  }

  /**
   * Makes a call and returns the parsed body. Rejects with ApiError, ApiUnreachableError, the error that
   * `beforeSend` threw, or the reason of `call.signal`.
   */
  async call(call: ApiCall): Promise<unknown> {
    const { deadlineMs = 30_000 } = call
    const deadline = new CallDeadline({ ms: deadlineMs, operation: describe(call) }, call.signal)
    const { signal } = deadline
    const endsMs = systemClock.monotonicMs() + deadlineMs
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#throttled(call, signal)
        } catch (error) {
          const waitMs = retryDelayMs(error, { call, attempt })
          // When the delay exceeds the deadline, the caller gets the error, because it may have other work.
          if (waitMs === undefined || systemClock.monotonicMs() + waitMs >= endsMs) throw error
          await (this.#options.pause ?? pause)(waitMs, signal)
          signal.throwIfAborted()
        }
      }
    } finally {
      deadline.end()
    }
  }

  /**
   * Opens a watch and returns its body as a stream. Rejects as `call` does, and never retries. Aborting
   * `signal` ends the body too.
   */
  async openWatch(call: ApiCall, signal: AbortSignal): Promise<IncomingMessage> {
    await this.#throttle.acquire(signal, watchPlace)
    const opening = this.#attemptDeadline(call, signal)
    try {
      const response = await this.#send(call, { agent: 'watchAgent', signal, opening: opening.signal })
      if (response.statusCode === 200) return response
      throw this.#refusal(response.statusCode ?? 0, await readAll(response, opening.signal), response)
    } finally {
      opening.end()
      this.#throttle.release()
    }
  }

  async #throttled(call: ApiCall, signal: AbortSignal): Promise<unknown> {
    if (call.unthrottled) return this.#attempt(call, signal)
    await this.#throttle.acquire(signal, call.place)
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
        agent: 'callAgent',
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
      { ms: call.attemptMs ?? this.#options.attemptMs ?? 15_000, operation: describe(call) },
      signal,
    )
  }

  #refusal(code: number, body: string, response: IncomingMessage): ApiError {
    if (code === 401) this.#options.target.reloadCredentials()
    return errorOfResponse(code, body, response.headers)
  }

  /** Resolves when the headers have arrived. `opening` applies until then, `signal` to the body too. */
  async #send(
    call: ApiCall,
    {
      agent,
      signal,
      opening,
    }: { agent: 'callAgent' | 'watchAgent'; signal: AbortSignal; opening: AbortSignal },
  ): Promise<IncomingMessage> {
    const { target, userAgent, onResponse } = this.#options
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
        accept: 'application/json',
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
      const response = await abortable(opening, responseOf(request, body))
      onResponse?.(call.method, String(response.statusCode))
      return response
    } catch (error) {
      request.destroy()
      onResponse?.(call.method, '<error>')
      if (opening.aborted) throw opening.reason
      throw unreachable(describe(call), error)
    }
  }
}

function responseOf(request: ClientRequest, body: Buffer | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
    request.on('close', () => reject(new Error('the connection was closed without a response')))
    request.end(body)
  })
}

async function readAll(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  const destroy = () => response.destroy()
  signal.addEventListener('abort', destroy, { once: true })
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength
      if (bytes > responseBytesMax) throw new Error(`the response is longer than ${responseBytesMax} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw unreachable('reading the response', error)
  } finally {
    signal.removeEventListener('abort', destroy)
    response.destroy()
  }
  // A destroyed response ends without an error.
  if (signal.aborted) throw signal.reason
  return Buffer.concat(chunks).toString()
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    // The cause is left out: it quotes the response, which may contain a Secret.
    throw new ApiUnreachableError('the response is not JSON')
  }
}

/** Returns the delay before the next attempt, or undefined when the call is not retried. */
function retryDelayMs(
  error: unknown,
  { call, attempt }: { call: ApiCall; attempt: number },
): number | undefined {
  if (attempt >= attemptsMax) return undefined
  const retryable = call.retryable ?? call.method !== 'POST'
  const backoffMs = firstBackoffMs * 2 ** (attempt - 1) * (0.5 + Math.random())
  if (error instanceof ApiUnreachableError) return retryable ? backoffMs : undefined
  if (!(error instanceof ApiError)) return undefined
  // The call was not carried out. It is retried once, with reloaded credentials.
  if (error.code === 401) return attempt === 1 ? 0 : undefined
  // The response says that the server did nothing, and when to retry.
  if (error.retryAfterMs !== undefined && (error.code === 429 || error.code >= 500)) {
    return Math.max(error.retryAfterMs, backoffMs)
  }
  return error.code === 429 || (error.code >= 500 && retryable) ? backoffMs : undefined
}

function unreachable(operation: string, cause: unknown): ApiUnreachableError {
  const message = cause instanceof Error ? cause.message : String(cause)
  return new ApiUnreachableError(`${operation}: ${message}`, { cause })
}

/** Omits the query: selectors and continue tokens are long and not informative. */
function describe({ method, path }: ApiCall): string {
  return `${method} ${path.split('?')[0]}`
}
