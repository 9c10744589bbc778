// One ioredis client, which is opened once and discarded at the first error. All automatic behaviour of
// ioredis (reconnects, resubscriptions, queues) is disabled.
import { Redis, ReplyError, type ChainableCommander } from 'ioredis'
import { onDeadline, abortable } from '../deadline.js'
import { isRedirect } from './routing/redirects.js'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from './link.js'
import { serverNameOf, type Address, type Login, type RedisTlsOptions } from './url.js'

export interface RedisConnectionOptions {
  readonly address: Address
  readonly login: Login
  readonly tls?: RedisTlsOptions | undefined
  /** The number of the database. Default 0. */
  readonly db?: number | undefined
  /** The name of the connection in CLIENT LIST. Spaces become hyphens. */
  readonly name: string
  /** Checks whether the master at this address was replaced. Default: no other server can replace it. */
  readonly masterVerifier?: MasterVerifier | undefined
  /**
   * For callers whose keys are all in one slot of a Cluster. Called when a reply reports that the slot has
   * moved or that no master holds it. The connection is then discarded, so that callers see a short outage.
   * Default: such replies are returned like any other.
   */
  readonly onRedirect?: (() => void) | undefined
}

/** Checks whether a server is still the master. */
export interface MasterVerifier {
  /** Resolves with true when the server is proven to be the master. */
  confirm(): Promise<boolean>
  /** The shortest silence of the master, in milliseconds, in which a failover could have replaced it. */
  readonly failoverAfterMs: number
}

const defaultDeadlineMs = 2_000

/**
 * For this time after a silence, in milliseconds, each `confirmMaster` asks the Sentinels. One confirmation
 * is not enough: a Sentinel that has not seen the master recover may still begin a failover, with the votes
 * of Sentinels that have. A Sentinel asks the master every second, and one that was suspended for two seconds
 * starts no failover (TILT mode).
 */
const unconfirmedMsMin = 3_000

export class RedisConnection implements LiveRedis {
  readonly client: Redis
  readonly lost: AbortSignal
  readonly #lost = new AbortController()
  /**
   * The functions that reject the running pipelines when the connection is lost. ioredis may reject them late
   * or never.
   */
  readonly #pending = new Set<(error: Error) => void>()
  /** Why the connection was lost. */
  #cause: Error | undefined
  readonly #masterVerifier: MasterVerifier | undefined
  readonly #onRedirect: (() => void) | undefined
  /** When the last answered request was sent. The server was alive at that time or later. */
  #lastAliveMs = -Infinity
  /**
   * The time since which the server may be a stale master, because it was silent for too long or the
   * connection is new. Undefined: the master is confirmed.
   */
  #unconfirmedSinceMs: number | undefined = performance.now()

  constructor({ address, db, login, name, onRedirect, tls, masterVerifier }: RedisConnectionOptions) {
    this.lost = this.#lost.signal
    this.#masterVerifier = masterVerifier
    this.#onRedirect = onRedirect
    this.client = new Redis({
      host: address.host,
      port: address.port,
      ...(login.username === undefined ? {} : { username: login.username }),
      ...(login.password === undefined ? {} : { password: login.password }),
      ...(tls && { tls: { servername: serverNameOf(address.host), ...tls } }),
      db: db ?? 0,
      connectionName: name.replaceAll(' ', '-'),
      // With RESP3 a subscriber can send PING and all other commands.
      protocol: 3,
      disableClientInfo: true,
      lazyConnect: true,
      retryStrategy: () => null,
      enableOfflineQueue: false,
      enableReadyCheck: false,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: null,
      disconnectTimeout: 0,
    })
    // Any error ends the connection. After a rejected SELECT, for example, ioredis would continue in the
    // wrong database.
    this.client.on('error', (error: Error) => this.#close(withoutArguments(error)))
    this.client.on('close', () => this.#close(new Error('the connection was closed')))
  }

  /**
   * Connects. Throws RedisUnavailableError; its cause is the error of the system (ECONNREFUSED), the reply of
   * Redis (WRONGPASS), or a missed deadline. `deadlineMs`: default 2,000.
   */
  async open(deadlineMs = defaultDeadlineMs): Promise<void> {
    const cancel = onDeadline(deadlineMs, () => this.discard(`no connection within ${deadlineMs} ms`))
    try {
      await abortable(this.lost, this.client.connect())
    } catch (error) {
      // ioredis rejects with "Connection is closed." and reports the reason by an `error` event.
      this.#close(asError(error))
    } finally {
      cancel()
    }
    this.lost.throwIfAborted()
  }

  async run(pipeline: ChainableCommander, { deadlineMs = defaultDeadlineMs } = {}): Promise<unknown[]> {
    if (this.lost.aborted) throw new RedisUnavailableError(this.#reason)
    if (this.client.status !== 'ready') {
      this.discard('the connection was closed')
      throw new RedisUnavailableError(this.#reason)
    }
    const sentMs = performance.now()
    const results = await this.#execute(pipeline, deadlineMs)
    const replies = results.map(([error, reply]) => (error ? withoutArguments(error) : reply))
    this.#recordAnswer(sentMs, replies.find(isBusy))
    this.#checkRedirect(replies)
    const broken = replies.find((reply) => reply instanceof Error && !(reply instanceof ReplyError))
    if (!broken) return replies
    this.discard('the connection was closed')
    if (results.every(([error]) => error?.message.startsWith("Stream isn't writeable"))) {
      throw new RedisUnavailableError(this.#reason)
    }
    throw new UnknownOutcomeError(this.#reason)
  }

  async confirmMaster(): Promise<boolean> {
    const sinceMs = this.#unconfirmedSinceMs
    if (!this.#masterVerifier || sinceMs === undefined) return true
    const sentMs = performance.now()
    const confirmed = await this.#masterVerifier.confirm()
    if (!confirmed) this.#markUnconfirmed()
    // The master stays unconfirmed when it was silent again during the confirmation.
    else if (sentMs - sinceMs >= unconfirmedMsMin && this.#unconfirmedSinceMs === sinceMs)
      this.#unconfirmedSinceMs = undefined
    return confirmed
  }

  discard(reason: string): void {
    this.#close(new Error(reason))
  }

  /**
   * Sends PING until the connection is lost, and discards the connection when the server sends no byte for
   * too long: at most two intervals and a deadline. Any received byte counts, because the PONG is late when
   * the server sends much data. While pipelines are running no PING is sent, because their deadlines serve
   * the same purpose.
   */
  watch({ deadlineMs, intervalMs }: { intervalMs: number; deadlineMs: number }): void {
    if (this.lost.aborted) return
    const { stream } = this.client
    let waiting = false
    const interval = setInterval(() => {
      if (waiting || this.#pending.size > 0) return
      waiting = true
      const sentMs = performance.now()
      const read = stream.bytesRead
      const cancel = onDeadline(deadlineMs, () => {
        waiting = false
        if (stream.bytesRead === read) this.discard(`no answer to PING within ${deadlineMs} ms`)
      })
      const answered = (error?: unknown) => {
        cancel()
        waiting = false
        this.#recordAnswer(sentMs, error)
      }
      this.client.ping().then(() => answered(), answered)
    }, intervalMs)
    this.lost.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  #execute(pipeline: ChainableCommander, deadlineMs: number): Promise<[Error | null, unknown][]> {
    return new Promise((resolve, reject) => {
      const cancel = onDeadline(deadlineMs, () => this.discard(`no reply within ${deadlineMs} ms`))
      const fail = (error: Error) => {
        cancel()
        this.#pending.delete(fail)
        reject(error)
      }
      this.#pending.add(fail)
      pipeline.exec().then(
        (results) => {
          cancel()
          this.#pending.delete(fail)
          resolve(results ?? [])
        },
        (error: unknown) => fail(new UnknownOutcomeError(describeError(error))),
      )
    })
  }

  /**
   * Records an answer to the request sent at `sentMs`. The server may have been silent since the previous
   * request; an error reply such as BUSY counts as silence.
   */
  #recordAnswer(sentMs: number, error: unknown): void {
    if (error !== undefined) return this.#markUnconfirmed()
    if (performance.now() - this.#lastAliveMs >= (this.#masterVerifier?.failoverAfterMs ?? Infinity))
      this.#markUnconfirmed()
    this.#lastAliveMs = Math.max(this.#lastAliveMs, sentMs)
  }

  #checkRedirect(replies: readonly unknown[]): void {
    if (!this.#onRedirect) return
    const redirect = replies.find(isRedirect)
    if (redirect === undefined) return
    this.#onRedirect()
    this.discard(`the slot is not served here: ${describeError(redirect)}`)
  }

  #markUnconfirmed(): void {
    this.#unconfirmedSinceMs = performance.now()
  }

  get #reason(): string {
    return describeError(this.#cause)
  }

  #close(cause: Error): void {
    if (this.lost.aborted) return
    this.#cause = cause
    this.#lost.abort(new RedisUnavailableError(this.#reason, { cause }))
    for (const fail of this.#pending) fail(new UnknownOutcomeError(this.#reason))
    // Without listeners the client emits no further message, not even from the bytes that it is parsing.
    for (const event of messageEvents) this.client.removeAllListeners(event)
    this.client.disconnect()
    // The stream is undefined until the first attempt, contrary to its type.
    ;(this.client.stream as Redis['stream'] | undefined)?.destroy()
  }
}

/**
 * Returns whether the reply is BUSY. A client may continue after BUSY, but Sentinels count BUSY as silence.
 */
function isBusy(reply: unknown): boolean {
  return reply instanceof Error && reply.message.startsWith('BUSY')
}

const messageEvents = ['message', 'messageBuffer', 'pmessage', 'pmessageBuffer', 'smessage', 'smessageBuffer']

/**
 * Removes payloads and passwords from an error: ioredis attaches the command with its arguments, and Redis
 * repeats the arguments of unknown commands.
 */
function withoutArguments(error: Error): Error {
  if ('command' in error) delete error.command
  error.message = error.message.replace(/, with args beginning with:.*/s, '')
  return error
}

/** Returns the message of an error, for logs and reasons. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describeError).join('; ')
  if (error instanceof Error) return error.message || error.name
  return String(error)
}

/**
 * Classifies a rejection that is caused by the configuration, so that trying again does not help. Returns
 * undefined for any other error.
 */
export function rejectionOf(error: unknown): 'noPassword' | 'wrongPassword' | 'noDatabase' | undefined {
  const reply = error instanceof RedisUnavailableError ? error.cause : error
  const text = reply instanceof ReplyError ? describeError(reply) : ''
  if (text.startsWith('NOAUTH')) return 'noPassword'
  if (text.startsWith('WRONGPASS') || text === 'ERR invalid password') return 'wrongPassword'
  return text.startsWith('ERR DB index is out of range') ? 'noDatabase' : undefined
}

function asError(error: unknown): Error {
  return error instanceof Error ? withoutArguments(error) : new Error(String(error))
}
