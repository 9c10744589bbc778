// The way of presence's calls to Redis: in order, one pipeline at a time, each of bounded size. Order matters: a refresh that overtook a
// removal would bring somebody back who has left.
import { CommandError } from '../errors.js'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis, type RedisLink } from '../redis/live.js'
import { addScript, type Argument, type Script } from '../redis/scripts.js'
import type { Clock } from '../time.js'

/** One script's run. */
export interface PresenceCall<Result> {
  readonly script: Script
  readonly keys: readonly string[]
  /** Asked for when it is sent: what waits should be small. */
  args(): readonly Argument[]
  /** Sessions that it names or brings, for the size of a pipeline. */
  readonly sessions: number
  /** Throws when the reply makes no sense. */
  read(reply: unknown): Result
}

export interface PresenceLaneOptions {
  readonly link: RedisLink
  readonly clock: Clock
  /** How long a call waits for a connection. */
  readonly waitMs: number
  readonly replyMs: number
  readonly callsMax: number
}

interface Queued {
  readonly call: PresenceCall<unknown>
  readonly sinceMs: number
  readonly take: (reply: unknown) => void
  readonly fail: (error: unknown) => void
}

/** Of one pipeline: about 10 ms of Redis's time, and others get their turn between its scripts. Replies are bounded with it. */
const pipelineSessionsMax = 1_000
const pipelineBytesMax = 262_144

export class PresenceLane {
  readonly #options: PresenceLaneOptions
  #queue: Queued[] = []
  #running: Promise<void> | undefined
  /** A call has waited in vain since the link was last open: others need not try the same. */
  #away = false
  #closed = false

  constructor(options: PresenceLaneOptions) {
    this.#options = options
    options.link.onOpen(() => {
      this.#away = false
    })
  }

  /** Rejects with BROKER_UNAVAILABLE when Redis is away: at once when it has been for a while. Whether it happened is not known then. */
  submit<Result>(call: PresenceCall<Result>): Promise<Result> {
    const { callsMax, clock } = this.#options
    if (this.#closed)
      return Promise.reject(new CommandError('INTERNAL', 'Presence is closed: this gateway is shutting down'))
    if (this.#queue.length >= callsMax)
      return Promise.reject(unavailable(`${callsMax} calls wait for Redis already`))
    return new Promise((resolve, reject) => {
      const take = (reply: unknown): void => resolve(call.read(reply))
      this.#queue.push({ call, sinceMs: clock.monotonicMs(), take, fail: reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when all that was submitted is done or refused: within a wait and a reply. Nothing more is taken. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #run(): Promise<void> {
    // What else this turn of the event loop brings goes along.
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    while (this.#queue.length > 0) {
      try {
        await this.#sendNext()
      } catch (error) {
        for (const { fail } of this.#queue.splice(0)) fail(error)
      }
    }
    this.#running = undefined
  }

  async #sendNext(): Promise<void> {
    const { link, replyMs } = this.#options
    const live = link.current ?? (await this.#opened())
    const pipeline = live.client.pipeline()
    const group = this.#takeGroup((call, args) => addScript(pipeline, call.script, { keys: call.keys, args }))
    try {
      const replies = await live.run(pipeline, { deadlineMs: replyMs })
      this.#settle(
        live,
        group.map((queued, index) => ({ queued, reply: replies[index] })),
      )
    } catch (error) {
      if (error instanceof RedisUnavailableError) return this.#again(group, error)
      const refusal =
        error instanceof UnknownOutcomeError ? unavailable('the connection was lost', error) : error
      for (const { fail } of group) fail(refusal)
    }
  }

  async #opened(): Promise<LiveRedis> {
    const { clock, link, waitMs } = this.#options
    const sinceMs = this.#queue[0]?.sinceMs ?? 0
    const leftMs = this.#away ? 0 : Math.max(0, sinceMs + waitMs - clock.monotonicMs())
    try {
      return await link.ready(leftMs)
    } catch (error) {
      this.#away = true
      throw unavailable(link.trouble ?? 'there is no connection', error)
    }
  }

  /** At least one. */
  #takeGroup(add: (call: PresenceCall<unknown>, args: readonly Argument[]) => void): Queued[] {
    let sessions = 0
    let bytes = 0
    let count = 0
    for (const { call } of this.#queue) {
      if (count > 0 && (sessions + call.sessions > pipelineSessionsMax || bytes >= pipelineBytesMax)) break
      const args = call.args()
      add(call, args)
      sessions += call.sessions
      for (const arg of args) bytes += typeof arg === 'number' ? 8 : arg.length
      count += 1
    }
    return this.#queue.splice(0, count)
  }

  #settle(live: LiveRedis, answered: readonly { queued: Queued; reply: unknown }[]): void {
    const again: Queued[] = []
    for (const { queued, reply } of answered) {
      try {
        if (!(reply instanceof Error)) queued.take(reply)
        else if (/^(NOSCRIPT|READONLY)/.test(reply.message)) again.push(queued)
        else queued.fail(refusalOf(reply))
      } catch (error) {
        queued.fail(error)
      }
    }
    if (again.length === 0) return
    // Demoted, or without its scripts: the next connection is to another, or brings them.
    live.discard('it refused the scripts of presence')
    this.#again(again, new Error('it refused the scripts of presence'))
  }

  /** Nothing of them happened: in front, in order, as long as they may wait. */
  #again(group: readonly Queued[], cause: Error): void {
    const overMs = this.#options.clock.monotonicMs() - this.#options.waitMs
    for (const { fail, sinceMs } of group) if (sinceMs <= overMs) fail(unavailable(cause.message, cause))
    this.#queue = [...group.filter(({ sinceMs }) => sinceMs > overMs), ...this.#queue]
  }
}

/** OOM, NOREPLICAS, MISCONF, BUSY and their like pass; an ERR is a fault of ours. */
function refusalOf(reply: Error): Error {
  const kind = /^[A-Z]+/.exec(reply.message)?.[0] ?? 'ERR'
  return kind === 'ERR' || kind === 'WRONGTYPE' ? reply : unavailable(`Redis answered ${kind}`, reply)
}

function unavailable(why: string, cause?: unknown): CommandError {
  return new CommandError('BROKER_UNAVAILABLE', `Who is here is not known at the moment: ${why}. Try again`, {
    retryAfterMs: 1_000,
    cause,
  })
}
