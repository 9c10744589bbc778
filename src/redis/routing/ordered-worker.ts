// The worker of one shard. It executes the jobs of a tenant in order, one pipeline at a time; the tenants
// take turns. Writes, presence calls and pub/sub messages each have a subclass, which decides how many jobs
// form a pipeline, sends it and reads its replies. This class handles the bounded queue, the wait for a
// connection, and the jobs that were not executed.
import { abortable, pause } from '../../deadline.js'
import type { Clock } from '../../time.js'
import { batchSpacingMs } from '../batch-runner.js'
import { RedisUnavailableError, type LiveRedis, type RedisLink } from '../link.js'
import { inTurns } from './in-turns.js'
import type { Job, ShardWorker, WorkerReport } from './job.js'

/**
 * The handling of jobs while there is no connection.
 * - `refuseLate`: a job waits up to `patienceMs` milliseconds, including the wait for jobs before it, and is
 *   then refused. Clients see a short outage as latency.
 * - `failFast`: after one job has waited `patienceMs` milliseconds without a connection, all jobs are refused
 *   immediately until the link opens.
 * - `keepNewest`: jobs wait without a time limit. A full queue drops its oldest job instead of refusing the
 *   new one.
 */
export type WaitPolicy =
  | { readonly kind: 'refuseLate' | 'failFast'; readonly patienceMs: number }
  | { readonly kind: 'keepNewest' }

export interface OrderedWorkerOptions<Work extends Job> {
  readonly link: RedisLink
  readonly clock: Clock
  /** Aborted when the shard holds no partition any more. After that every job is rerouted. */
  readonly retired: AbortSignal
  readonly report: WorkerReport<Work>
  readonly waiting: WaitPolicy
  /** The most jobs that wait. */
  readonly queueMax: number
  /**
   * The time between the starts of two pipelines under load, in milliseconds. Default `batchSpacingMs`. With
   * 0 there is no spacing.
   */
  readonly spacingMs?: number
}

export abstract class OrderedWorker<Work extends Job> implements ShardWorker<Work> {
  readonly #options: OrderedWorkerOptions<Work>
  #queue: Work[] = []
  #running = false
  /**
   * Used with `failFast` only: since the link was last open, a job has waited without getting a connection.
   */
  #unreachable = false
  /** The next pipeline is sent after this. */
  #spacing: Promise<void> | undefined

  constructor(options: OrderedWorkerOptions<Work>) {
    this.#options = options
    options.link.onOpen(() => {
      this.#unreachable = false
      this.#start()
    })
    options.retired.addEventListener('abort', () => this.#start(), { once: true })
  }

  send(job: Work): void {
    const { queueMax, waiting } = this.#options
    if (this.#queue.length >= queueMax) {
      const reason = `${queueMax} requests are already waiting for Redis`
      if (waiting.kind !== 'keepNewest') return this.refuse(job, reason)
      for (const oldest of this.#queue.splice(0, 1)) this.refuse(oldest, reason)
    }
    this.#queue.push(job)
    this.#start()
  }

  /**
   * Returns how many jobs from the front of the queue form the next pipeline: at least 1. `runBatch` is
   * called with them in the same turn.
   */
  protected abstract batchLength(queue: readonly Work[]): number

  /**
   * Sends a pipeline for these jobs. It ends each job, or passes it to `retry` or `reroute`. When it throws,
   * all jobs of the batch are rejected.
   */
  protected abstract runBatch(live: LiveRedis, batch: readonly Work[]): Promise<void>

  /** Reports that the job has ended. The subclass then delivers the result to the caller. */
  protected settle(job: Work): void {
    this.#options.report.settled(job)
  }

  protected refuse(job: Work, reason: string): void {
    this.#options.report.settled(job)
    job.refuse(reason)
  }

  protected reject(job: Work, error: unknown): void {
    this.#options.report.settled(job)
    job.reject(error)
  }

  /** Puts jobs of which nothing was executed back at the front of the queue, in their order. */
  protected retry(jobs: readonly Work[]): void {
    if (jobs.length === 0) return
    this.#queue = [...jobs, ...this.#queue]
  }

  /**
   * Returns jobs of which nothing was executed to the router, with all jobs of their partitions that wait
   * after them.
   */
  protected reroute(jobs: readonly Work[]): void {
    if (jobs.length === 0) return
    const behind = takePartitions(this.#queue, new Set(jobs.map(({ partition }) => partition)))
    for (const job of [...jobs, ...behind]) this.#options.report.rerouted(job)
  }

  /**
   * Returns the jobs of `undone` that may be tried again. `undone` contains the jobs of one batch of which
   * nothing was executed. Refuses the other jobs: a later job with the same key was executed, so a retry
   * would change the order.
   */
  protected refuseOutOfOrder(
    batch: readonly Work[],
    undone: readonly Work[],
    isDone: (job: Work) => boolean,
  ): readonly Work[] {
    if (undone.length === 0) return undone
    const late = outOfOrder(batch.map((job) => ({ job, done: isDone(job) })))
    for (const job of undone) if (late.has(job)) this.refuse(job, 'a later request was executed before it')
    return undone.filter((job) => !late.has(job))
  }

  /** Starts to send. The first pipeline is sent at the end of this turn of the event loop. */
  #start(): void {
    if (this.#running || this.#queue.length === 0) return
    this.#running = true
    setImmediate(() => {
      this.#run()
        .catch((error: unknown) => {
          for (const job of this.#queue.splice(0)) this.reject(job, error)
        })
        .finally(() => {
          this.#running = false
          const { link, retired, waiting } = this.#options
          // With `keepNewest` the worker waits for the link to open; the listener then calls `#start` again.
          if (waiting.kind !== 'keepNewest' || link.current !== undefined || retired.aborted) this.#start()
        })
    })
  }

  async #run(): Promise<void> {
    const { link, retired, spacingMs = batchSpacingMs, waiting } = this.#options
    while (this.#queue.length > 0) {
      await this.#spacing
      this.#spacing = spacingMs > 0 && this.#queue.length > 1 ? pause(spacingMs) : undefined
      const live = link.current ?? (await this.#nextConnection())
      if (retired.aborted) return this.reroute(this.#queue.splice(0))
      if (!live && waiting.kind === 'keepNewest') return
      this.#refuseWaiting(live)
      if (!live || this.#queue.length === 0) continue
      this.#queue = inTurns(this.#queue, keyOf)
      const batch = this.#queue.splice(0, this.batchLength(this.#queue))
      try {
        await this.runBatch(live, batch)
      } catch (error) {
        for (const job of batch) this.reject(job, error)
      }
    }
  }

  /**
   * Resolves with the next connection, or with undefined when none opens while the oldest job may wait or
   * when the shard is retired.
   */
  async #nextConnection(): Promise<LiveRedis | undefined> {
    const { clock, link, retired, waiting } = this.#options
    if (waiting.kind === 'keepNewest' || this.#unreachable) return undefined
    const oldestMs = this.#queue.reduce((least, { sinceMs }) => Math.min(least, sinceMs), Infinity)
    const leftMs = oldestMs + waiting.patienceMs - clock.monotonicMs()
    if (leftMs <= 0) return undefined
    try {
      return await abortable(retired, link.ready(leftMs))
    } catch (error) {
      if (retired.aborted || error instanceof RedisUnavailableError) return undefined
      throw error
    }
  }

  #refuseWaiting(live: LiveRedis | undefined): void {
    const { clock, link, waiting } = this.#options
    if (waiting.kind === 'failFast' && !live) {
      this.#unreachable = true
      const reason = link.unavailableReason ?? 'there is no connection'
      for (const job of this.#queue.splice(0)) this.refuse(job, reason)
    }
    if (waiting.kind !== 'refuseLate') return
    const limitMs = clock.monotonicMs() - waiting.patienceMs
    if (!this.#queue.some(({ sinceMs }) => sinceMs <= limitMs)) return
    const late = this.#queue.filter(({ sinceMs }) => sinceMs <= limitMs)
    this.#queue = this.#queue.filter(({ sinceMs }) => sinceMs > limitMs)
    const reason = link.unavailableReason ?? 'the requests before it took too long'
    for (const job of late) this.refuse(job, reason)
  }
}

const keyOf = ({ key }: Job): string => key

/** Takes the jobs of the given partitions out of a queue, in order. */
export function takePartitions<Work extends Job>(queue: Work[], partitions: ReadonlySet<number>): Work[] {
  const taken = queue.filter(({ partition }) => partitions.has(partition))
  if (taken.length > 0)
    queue.splice(0, queue.length, ...queue.filter(({ partition }) => !partitions.has(partition)))
  return taken
}

export interface JobOutcome<Work extends Job> {
  readonly job: Work
  /** False: Redis refused the job, and nothing of it was executed. */
  readonly done: boolean
}

/**
 * Returns the jobs of one pipeline that were not executed although a later job with the same key was. This
 * happens when the cause of a refusal ends in the middle of a pipeline. `outcomes` are in order.
 */
export function outOfOrder<Work extends Job>(outcomes: readonly JobOutcome<Work>[]): Set<Work> {
  const doneKeys = new Set<string>()
  const late = new Set<Work>()
  for (const { done, job } of outcomes.toReversed()) {
    if (done) doneKeys.add(job.key)
    else if (doneKeys.has(job.key)) late.add(job)
  }
  return late
}
