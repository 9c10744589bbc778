// One ioredis client and its only life: opened once, thrown away at the first doubt. All that ioredis would do by itself is off.
import { Redis, ReplyError, type ChainableCommander } from 'ioredis'
import { onDeadline, unlessAborted } from '../deadline.js'
import { liesElsewhere } from './routing/redirects.js'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from './link.js'
import { serverNameOf, type Address, type Login, type TlsOptions } from './url.js'

export interface ConnectionOptions {
  readonly address: Address
  readonly login: Login
  readonly tls?: TlsOptions | undefined
  readonly db?: number | undefined
  /** In Redis's CLIENT LIST. */
  readonly name: string
  /** Who can say whether the master at this address was replaced. Absent: nobody replaces it. */
  readonly watchers?: Watchers | undefined
  /**
   * For those whose everything lies in one slot of a Cluster. Called when a reply says that it lies elsewhere, or with nobody; then the
   * connection is thrown away, as when Redis is away for a moment. Absent: such replies are as others.
   */
  readonly onElsewhere?: (() => void) | undefined
}

export interface Watchers {
  /** False in doubt. */
  confirm(): Promise<boolean>
  /** Without a sign of life for so long the master may have been replaced. */
  readonly silenceMs: number
}

const defaultDeadlineMs = 2_000

/**
 * One yes of the Sentinels does not end a doubt: the one that has not seen the master recover yet may still begin to replace it, with the
 * votes of those that have. It asks the master every second, and one that was asleep for two does nothing any more (TILT).
 */
const doubtMs = 3_000

export class Connection implements LiveRedis {
  readonly client: Redis
  readonly lost: AbortSignal
  readonly #lost = new AbortController()
  /** The pipelines under way, to be settled when the connection is lost: ioredis may take its time, or never do it. */
  readonly #pending = new Set<(error: Error) => void>()
  /** Of the loss. */
  #cause: Error | undefined
  readonly #watchers: Watchers | undefined
  readonly #onElsewhere: (() => void) | undefined
  /** When the last question was put that was answered: the other side lived then, or later. */
  #aliveMs = -Infinity
  /** Since then it may be a master of the past: it was silent too long, or is new. */
  #doubtedSinceMs: number | undefined = performance.now()

  constructor({ address, db, login, name, onElsewhere, tls, watchers }: ConnectionOptions) {
    this.lost = this.#lost.signal
    this.#watchers = watchers
    this.#onElsewhere = onElsewhere
    this.client = new Redis({
      host: address.host,
      port: address.port,
      ...(login.username === undefined ? {} : { username: login.username }),
      ...(login.password === undefined ? {} : { password: login.password }),
      ...(tls && { tls: { servername: serverNameOf(address.host), ...tls } }),
      db: db ?? 0,
      connectionName: name.replaceAll(' ', '-'),
      // RESP3 lets a subscriber send PING and anything else.
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
    // Any error is the end: a refused SELECT, for one, would leave ioredis going in the wrong database.
    this.client.on('error', (error: Error) => this.#end(withoutArguments(error)))
    this.client.on('close', () => this.#end(new Error('the connection was closed')))
  }

  /** Throws RedisUnavailableError; its cause is the system's error (ECONNREFUSED), Redis's reply (WRONGPASS), or a missed deadline. */
  async open(deadlineMs = defaultDeadlineMs): Promise<void> {
    const cancel = onDeadline(deadlineMs, () => this.discard(`no connection within ${deadlineMs} ms`))
    try {
      await unlessAborted(this.lost, this.client.connect())
    } catch (error) {
      // ioredis rejects with "Connection is closed." and tells the reason by its event.
      this.#end(asError(error))
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
    const askedMs = performance.now()
    const results = await this.#settled(pipeline, deadlineMs)
    const replies = results.map(([error, reply]) => (error ? withoutArguments(error) : reply))
    this.#heard(askedMs, replies.find(isNoSignOfHealth))
    this.#lookElsewhere(replies)
    const broken = replies.find((reply) => reply instanceof Error && !(reply instanceof ReplyError))
    if (!broken) return replies
    this.discard('the connection was closed')
    if (results.every(([error]) => error?.message.startsWith("Stream isn't writeable"))) {
      throw new RedisUnavailableError(this.#reason)
    }
    throw new UnknownOutcomeError(this.#reason)
  }

  async stands(): Promise<boolean> {
    const sinceMs = this.#doubtedSinceMs
    if (!this.#watchers || sinceMs === undefined) return true
    const askedMs = performance.now()
    const stands = await this.#watchers.confirm()
    if (!stands) this.#doubt()
    // Doubts that came up meanwhile stay.
    else if (askedMs - sinceMs >= doubtMs && this.#doubtedSinceMs === sinceMs)
      this.#doubtedSinceMs = undefined
    return stands
  }

  discard(reason: string): void {
    this.#end(new Error(reason))
  }

  /**
   * Asks for a sign of life until the connection is lost, and throws it away when none comes: at most two intervals and a deadline after
   * the last one. Any byte is a sign: under a flood the PONG comes late. While pipelines are under way, their deadlines do the same.
   */
  watch({ deadlineMs, intervalMs }: { intervalMs: number; deadlineMs: number }): void {
    if (this.lost.aborted) return
    const { stream } = this.client
    let asked = false
    const interval = setInterval(() => {
      if (asked || this.#pending.size > 0) return
      asked = true
      const askedMs = performance.now()
      const read = stream.bytesRead
      const cancel = onDeadline(deadlineMs, () => {
        asked = false
        if (stream.bytesRead === read) this.discard(`no answer to PING within ${deadlineMs} ms`)
      })
      const answered = (error?: unknown) => {
        cancel()
        asked = false
        this.#heard(askedMs, error)
      }
      this.client.ping().then(() => answered(), answered)
    }, intervalMs)
    this.lost.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  #settled(pipeline: ChainableCommander, deadlineMs: number): Promise<[Error | null, unknown][]> {
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

  /** An answer. Between the question before and now the other side may have been silent all the time; some answers are as bad as none. */
  #heard(askedMs: number, trouble: unknown): void {
    if (trouble !== undefined) return this.#doubt()
    if (performance.now() - this.#aliveMs >= (this.#watchers?.silenceMs ?? Infinity)) this.#doubt()
    this.#aliveMs = Math.max(this.#aliveMs, askedMs)
  }

  #lookElsewhere(replies: readonly unknown[]): void {
    if (!this.#onElsewhere) return
    const told = replies.find(liesElsewhere)
    if (told === undefined) return
    this.#onElsewhere()
    this.discard(`what was asked for is not here: ${describeError(told)}`)
  }

  #doubt(): void {
    this.#doubtedSinceMs = performance.now()
  }

  get #reason(): string {
    return describeError(this.#cause)
  }

  #end(cause: Error): void {
    if (this.lost.aborted) return
    this.#cause = cause
    this.#lost.abort(new RedisUnavailableError(this.#reason, { cause }))
    for (const fail of this.#pending) fail(new UnknownOutcomeError(this.#reason))
    // Nothing is heard any more, not even what lies in the same chunk of bytes.
    for (const event of messageEvents) this.client.removeAllListeners(event)
    this.client.disconnect()
    // Undefined until the first attempt, whatever its type says.
    ;(this.client.stream as Redis['stream'] | undefined)?.destroy()
  }
}

/** Who hears BUSY goes on by itself, but Sentinels count it as silence. */
function isNoSignOfHealth(reply: unknown): boolean {
  return reply instanceof Error && reply.message.startsWith('BUSY')
}

const messageEvents = ['message', 'messageBuffer', 'pmessage', 'pmessageBuffer', 'smessage', 'smessageBuffer']

/** ioredis hangs the command with its arguments on errors, and Redis repeats those of unknown commands: payloads and passwords. */
function withoutArguments(error: Error): Error {
  if ('command' in error) delete error.command
  error.message = error.message.replace(/, with args beginning with:.*/s, '')
  return error
}

/** For logs and troubles. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describeError).join('; ')
  if (error instanceof Error) return error.message || error.name
  return String(error)
}

/** Refused for what we said, not for what happens to Redis: the same again will not help. */
export function refusalOf(error: unknown): 'noPassword' | 'wrongPassword' | 'noDatabase' | undefined {
  const reply = error instanceof RedisUnavailableError ? error.cause : error
  const text = reply instanceof ReplyError ? describeError(reply) : ''
  if (text.startsWith('NOAUTH')) return 'noPassword'
  if (text.startsWith('WRONGPASS') || text === 'ERR invalid password') return 'wrongPassword'
  return text.startsWith('ERR DB index is out of range') ? 'noDatabase' : undefined
}

function asError(error: unknown): Error {
  return error instanceof Error ? withoutArguments(error) : new Error(String(error))
}
