// Sends the calls of presence to one shard, in order, in pipelines of bounded size. The order matters: a
// refresh that was requested before a removal and executed after it would restore a session that has left.
import { CommandError } from '../../errors.js'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from '../../redis/link.js'
import type { Job } from '../../redis/routing/job.js'
import { OrderedWorker, type OrderedWorkerOptions } from '../../redis/routing/ordered-worker.js'
import { isRedirect } from '../../redis/routing/redirects.js'
import { addScript, type Argument, type Script } from '../../redis/scripts.js'

/** One call of a script. */
export interface PresenceCall<Result> {
  readonly script: Script
  readonly keys: readonly string[]
  /** Returns the arguments. Called when the script is sent, so that waiting calls use little memory. */
  args(): readonly Argument[]
  /** The number of sessions that the call names or returns. It counts towards the limit of a pipeline. */
  readonly sessions: number
  /** Parses the reply. Throws when the reply is malformed. */
  read(reply: unknown): Result
}

/**
 * A call on its way to Redis. It fails with BROKER_UNAVAILABLE when Redis is unavailable: whether the script
 * ran is then unknown.
 */
export interface PresenceJob extends Job {
  readonly call: PresenceCall<unknown>
  /** Ends the job with the script's reply. Throws when the reply is malformed. */
  complete(reply: unknown): void
}

export interface PresenceWorkerOptions extends Omit<
  OrderedWorkerOptions<PresenceJob>,
  'waiting' | 'spacingMs'
> {
  /** How long a call waits for a connection, in milliseconds. */
  readonly waitMs: number
  /** The deadline for the replies of a pipeline, in milliseconds. */
  readonly replyMs: number
}

/**
 * The limits of one pipeline. A full pipeline takes about 10 ms of Redis's time, and Redis serves other
 * clients between its scripts. The limits also bound the size of the replies.
 */
const pipelineSessionsMax = 1_000
const pipelineBytesMax = 262_144

export class PresenceWorker extends OrderedWorker<PresenceJob> {
  readonly #options: PresenceWorkerOptions
  /** The arguments of the calls that `batchLength` has measured for the next pipeline. */
  #nextArgs: (readonly Argument[])[] = []

  constructor(options: PresenceWorkerOptions) {
    super({ ...options, waiting: { kind: 'failFast', patienceMs: options.waitMs } })
    this.#options = options
  }

  protected override batchLength(queue: readonly PresenceJob[]): number {
    let sessions = 0
    let bytes = 0
    this.#nextArgs = []
    for (const { call } of queue) {
      const full = sessions + call.sessions > pipelineSessionsMax || bytes >= pipelineBytesMax
      if (full && this.#nextArgs.length > 0) break
      const args = call.args()
      this.#nextArgs.push(args)
      sessions += call.sessions
      for (const arg of args) bytes += typeof arg === 'number' ? 8 : arg.length
    }
    return this.#nextArgs.length
  }

  protected override async runBatch(live: LiveRedis, batch: readonly PresenceJob[]): Promise<void> {
    const pipeline = live.client.pipeline()
    batch.forEach(({ call: { keys, script } }, index) =>
      addScript(pipeline, script, { keys, args: this.#nextArgs[index] ?? [] }),
    )
    let replies: unknown[]
    try {
      replies = await live.run(pipeline, { deadlineMs: this.#options.replyMs })
    } catch (error) {
      if (error instanceof RedisUnavailableError) return this.#retryInTime(batch, error)
      throw error instanceof UnknownOutcomeError
        ? presenceUnavailable('the connection to Redis was lost', error)
        : error
    }
    this.#settleAll(
      live,
      batch.map((job, index) => ({ job, reply: replies[index] })),
    )
  }

  #settleAll(
    live: LiveRedis,
    answered: readonly { readonly job: PresenceJob; readonly reply: unknown }[],
  ): void {
    const undone: PresenceJob[] = []
    const moved = new Set<number>()
    const failed = new Set<PresenceJob>()
    for (const { job, reply } of answered) {
      if (reply instanceof Error) failed.add(job)
      if (isRedirect(reply)) moved.add(job.partition)
      if (isRedirect(reply) || isRefusedByNode(reply)) undone.push(job)
      else if (reply instanceof Error) this.reject(job, errorOf(reply))
      else this.#complete(job, reply)
    }
    const batch = answered.map(({ job }) => job)
    const retriable = this.refuseOutOfOrder(batch, undone, (job) => !failed.has(job))
    const here = retriable.filter(({ partition }) => !moved.has(partition))
    if (here.length > 0) {
      // The node was demoted or has lost its scripts. The next connection goes to another node or loads the
      // scripts.
      const reason = 'the node refused the scripts of presence'
      live.discard(reason)
      this.#retryInTime(here, new Error(reason))
    }
    this.reroute(retriable.filter(({ partition }) => moved.has(partition)))
  }

  #complete(job: PresenceJob, reply: unknown): void {
    this.settle(job)
    try {
      job.complete(reply)
    } catch (error) {
      job.reject(error)
    }
  }

  /** Retries calls of which nothing was executed, unless they have waited for `waitMs`. */
  #retryInTime(jobs: readonly PresenceJob[], cause: Error): void {
    const { clock, waitMs } = this.#options
    const limitMs = clock.monotonicMs() - waitMs
    for (const job of jobs)
      if (job.sinceMs <= limitMs) this.reject(job, presenceUnavailable(cause.message, cause))
    this.retry(jobs.filter(({ sinceMs }) => sinceMs > limitMs))
  }
}

function isRefusedByNode(reply: unknown): boolean {
  return reply instanceof Error && /^(NOSCRIPT|READONLY)/.test(reply.message)
}

/**
 * Converts an error reply. OOM, NOREPLICAS, MISCONF, BUSY and similar errors are temporary; ERR and WRONGTYPE
 * are bugs of Parley.
 */
function errorOf(reply: Error): Error {
  const kind = /^[A-Z]+/.exec(reply.message)?.[0] ?? 'ERR'
  return kind === 'ERR' || kind === 'WRONGTYPE' ? reply : presenceUnavailable(`Redis answered ${kind}`, reply)
}

/** The error of a call that Redis did not execute, or whose outcome is unknown. */
export function presenceUnavailable(reason: string, cause?: unknown): CommandError {
  return new CommandError(
    'BROKER_UNAVAILABLE',
    `The presence of this channel is not known at the moment: ${reason}. Try again`,
    { retryAfterMs: 1_000, cause },
  )
}
