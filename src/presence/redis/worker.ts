// The way of presence's calls to one shard: in order, one pipeline at a time, each of bounded size. Order matters: a refresh that overtook a
// removal would bring somebody back who has left.
import { CommandError } from '../../errors.js'
import { unlessAborted } from '../../deadline.js'
import { liesElsewhere } from '../../redis/routing/redirects.js'
import {
  RedisUnavailableError,
  UnknownOutcomeError,
  type LiveRedis,
  type RedisLink,
} from '../../redis/link.js'
import { Rounds } from '../../redis/batch-runner.js'
import { overtaken, takeOf, type Job, type Lane, type LaneReport } from '../../redis/routing/shard-router.js'
import { addScript, type Argument, type Script } from '../../redis/scripts.js'
import type { Clock } from '../../time.js'

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

/** A call under way. */
export interface CallJob extends Job {
  readonly call: PresenceCall<unknown>
  /** Throws when the reply makes no sense. */
  take(reply: unknown): void
  fail(error: unknown): void
}

export interface PresenceLaneOptions {
  readonly link: RedisLink
  readonly clock: Clock
  /** From then on all is given back. */
  readonly retired: AbortSignal
  readonly report: LaneReport<CallJob>
  /** How long a call waits for a connection. */
  readonly waitMs: number
  readonly replyMs: number
  readonly callsMax: number
}

/** Of one pipeline: about 10 ms of Redis's time, and others get their turn between its scripts. Replies are bounded with it. */
const pipelineSessionsMax = 1_000
const pipelineBytesMax = 262_144

export class PresenceLane implements Lane<CallJob> {
  readonly #options: PresenceLaneOptions
  readonly #rounds: Rounds
  #queue: CallJob[] = []
  /** A call has waited in vain since the link was last open: others need not try the same. */
  #away = false

  constructor(options: PresenceLaneOptions) {
    this.#options = options
    this.#rounds = new Rounds({
      waiting: () => this.#queue.length,
      round: () => this.#send(),
      failed: (error) => {
        for (const job of this.#queue.splice(0)) this.#fail(job, error)
      },
    })
    options.link.onOpen(() => {
      this.#away = false
    })
  }

  /** Fails with BROKER_UNAVAILABLE when Redis is away: at once when it has been for a while. Whether it happened is not known then. */
  send(job: CallJob): void {
    const { callsMax } = this.#options
    if (this.#queue.length >= callsMax)
      return this.#fail(job, unavailable(`${callsMax} calls wait for Redis already`))
    this.#queue.push(job)
    this.#rounds.begin()
  }

  async #send(): Promise<void> {
    if (this.#options.retired.aborted) return this.#giveBack(this.#queue.splice(0))
    const { link, replyMs } = this.#options
    const live = link.current ?? (await this.#opened())
    if (!live) return
    const pipeline = live.client.pipeline()
    const group = this.#takeGroup((call, args) => addScript(pipeline, call.script, { keys: call.keys, args }))
    try {
      const replies = await live.run(pipeline, { deadlineMs: replyMs })
      this.#settle(
        live,
        group.map((job, index) => ({ job, reply: replies[index] })),
      )
    } catch (error) {
      if (error instanceof RedisUnavailableError) return this.#again(group, error)
      const refusal =
        error instanceof UnknownOutcomeError ? unavailable('the connection was lost', error) : error
      for (const job of group) this.#fail(job, refusal)
    }
  }

  /** Undefined: there is none, and everybody was told, or none will come. */
  async #opened(): Promise<LiveRedis | undefined> {
    const { clock, link, retired, waitMs } = this.#options
    const sinceMs = this.#queue[0]?.sinceMs ?? 0
    const leftMs = this.#away ? 0 : Math.max(0, sinceMs + waitMs - clock.monotonicMs())
    try {
      return await unlessAborted(retired, link.ready(leftMs))
    } catch (error) {
      if (retired.aborted) return undefined
      this.#away = true
      const refusal = unavailable(link.trouble ?? 'there is no connection', error)
      for (const job of this.#queue.splice(0)) this.#fail(job, refusal)
      return undefined
    }
  }

  /** At least one. */
  #takeGroup(add: (call: PresenceCall<unknown>, args: readonly Argument[]) => void): CallJob[] {
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

  #settle(live: LiveRedis, answered: readonly { job: CallJob; reply: unknown }[]): void {
    const nothing = answered.filter(({ reply }) => isRefusedBefore(reply) || liesElsewhere(reply))
    const late = overtaken(
      nothing.length === 0
        ? []
        : answered.map(({ job, reply }) => ({ job, happened: !(reply instanceof Error) })),
    )
    for (const { job, reply } of answered) {
      if (late.has(job)) this.#fail(job, unavailable('a later call was done before it'))
      else if (reply instanceof Error && !nothing.some((one) => one.job === job))
        this.#fail(job, refusalOf(reply))
      else if (!(reply instanceof Error)) this.#take(job, reply)
    }
    const again = nothing.filter(({ job }) => !late.has(job))
    if (again.length === 0) return
    const elsewhere = new Set(
      again.filter(({ reply }) => liesElsewhere(reply)).map(({ job }) => job.partition),
    )
    const here = again.map(({ job }) => job).filter(({ partition }) => !elsewhere.has(partition))
    if (here.length > 0) {
      // Demoted, or without its scripts: the next connection is to another, or brings them.
      live.discard('it refused the scripts of presence')
      this.#again(here, new Error('it refused the scripts of presence'))
    }
    this.#giveBack(again.map(({ job }) => job).filter(({ partition }) => elsewhere.has(partition)))
  }

  #take(job: CallJob, reply: unknown): void {
    this.#options.report.settled(job)
    try {
      job.take(reply)
    } catch (error) {
      job.fail(error)
    }
  }

  #fail(job: CallJob, error: unknown): void {
    this.#options.report.settled(job)
    job.fail(error)
  }

  /** They lie elsewhere, and what waits behind them with them. */
  #giveBack(jobs: readonly CallJob[]): void {
    const behind = takeOf(this.#queue, new Set(jobs.map(({ partition }) => partition)))
    for (const job of [...jobs, ...behind]) this.#options.report.elsewhere(job)
  }

  /** Nothing of them happened: in front, in order, as long as they may wait. */
  #again(group: readonly CallJob[], cause: Error): void {
    const overMs = this.#options.clock.monotonicMs() - this.#options.waitMs
    for (const job of group) if (job.sinceMs <= overMs) this.#fail(job, unavailable(cause.message, cause))
    this.#queue = [...group.filter(({ sinceMs }) => sinceMs > overMs), ...this.#queue]
  }
}

function isRefusedBefore(reply: unknown): boolean {
  return reply instanceof Error && /^(NOSCRIPT|READONLY)/.test(reply.message)
}

/** OOM, NOREPLICAS, MISCONF, BUSY and their like pass; an ERR is a fault of ours. */
function refusalOf(reply: Error): Error {
  const kind = /^[A-Z]+/.exec(reply.message)?.[0] ?? 'ERR'
  return kind === 'ERR' || kind === 'WRONGTYPE' ? reply : unavailable(`Redis answered ${kind}`, reply)
}

export function unavailable(why: string, cause?: unknown): CommandError {
  return new CommandError('BROKER_UNAVAILABLE', `Who is here is not known at the moment: ${why}. Try again`, {
    retryAfterMs: 1_000,
    cause,
  })
}
