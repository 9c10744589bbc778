// Sends each job to the shard that holds its partition. This folder (`routing/`) sends work to the right
// master while partitions move in a Cluster; it imports the leaves and the rest of src/redis. Start with
// job.ts, then read this file and ordered-worker.ts. While a partition moves, all jobs that were sent to the
// old shard must end before the router sends a job to the new shard. The requests of one caller for one
// channel are therefore executed in their order, even across shards.
import type { After, Clock } from '../../time.js'
import { partitionCount } from '../keys.js'
import type { Shard, ShardMap } from '../topology/shards.js'
import type { Job, ShardWorker, WorkerReport } from './job.js'
import { PerShard, type PerShardOptions } from './per-shard.js'
import { redirectPauseMs } from './redirects.js'

export interface ShardRouterOptions<Work extends Job> extends PerShardOptions {
  readonly shards: ShardMap
  readonly clock: Clock
  readonly after: After
  /** Creates the worker of a shard. It reports its jobs to `report`. */
  readonly createWorker: (shard: Shard, report: WorkerReport<Work>) => ShardWorker<Work>
  /** How long a job may wait for a shard that holds its partition, in milliseconds. */
  readonly patienceMs: number
  /** The most jobs that wait for a shard. Further jobs are refused. */
  readonly waitingMax: number
}

/** The jobs of one partition. */
interface PartitionQueue<Work> {
  readonly partition: number
  /** The shard to which the jobs in flight were sent. */
  shard: Shard | undefined
  /** The number of jobs that were sent to `shard` and have not been reported. */
  inFlight: number
  /** The jobs that the worker rerouted. They are sent before the waiting jobs. */
  rerouted: Work[]
  waiting: Work[]
  /** Rerouted jobs are not sent to the same shard again before this time. */
  retryAtMs: number
}

export class ShardRouter<Work extends Job> implements WorkerReport<Work> {
  readonly #options: ShardRouterOptions<Work>
  readonly #workers: PerShard<ShardWorker<Work>>
  readonly #queues: readonly PartitionQueue<Work>[]
  /** The queues in which a job waits. */
  readonly #blocked = new Set<PartitionQueue<Work>>()
  /** The number of waiting jobs in all queues. */
  #waiting = 0
  /** The number of jobs that have not ended. */
  #open = 0
  readonly #idle: (() => void)[] = []
  #cancelRetry: (() => void) | undefined
  readonly #unsubscribe: () => void

  constructor(options: ShardRouterOptions<Work>) {
    this.#options = options
    this.#queues = Array.from({ length: partitionCount }, (_, partition) => ({
      partition,
      shard: undefined,
      inFlight: 0,
      rerouted: [],
      waiting: [],
      retryAtMs: 0,
    }))
    this.#workers = new PerShard(options.shards, (shard) => options.createWorker(shard, this), options)
    this.#unsubscribe = options.shards.onChange(() => this.#proceedAll())
  }

  /** Sends a job to the shard that holds its partition, or lets it wait for that shard. */
  send(job: Work): void {
    const queue = this.#queueOf(job)
    this.#open += 1
    const shard = this.#options.shards.holderOf(job.partition)
    const nothingWaits = queue.waiting.length === 0 && queue.rerouted.length === 0
    if (shard && nothingWaits && (queue.inFlight === 0 || queue.shard === shard)) {
      queue.shard = shard
      queue.inFlight += 1
      return this.#workers.of(shard).send(job)
    }
    const { waitingMax } = this.#options
    if (this.#waiting >= waitingMax)
      return this.#refuse(
        job,
        `${waitingMax} requests are already waiting for a shard that holds their partition`,
      )
    queue.waiting.push(job)
    this.#waiting += 1
    this.#proceed(queue)
  }

  settled(job: Work): void {
    const queue = this.#queueOf(job)
    queue.inFlight -= 1
    this.#jobEnded()
    if (queue.inFlight === 0 && (queue.rerouted.length > 0 || queue.waiting.length > 0)) this.#proceed(queue)
  }

  rerouted(job: Work): void {
    const { clock, shards } = this.#options
    const queue = this.#queueOf(job)
    queue.rerouted.push(job)
    this.#waiting += 1
    queue.inFlight -= 1
    queue.retryAtMs = clock.monotonicMs() + redirectPauseMs
    shards.refresh()
    this.#proceed(queue)
  }

  /** Resolves when all jobs that were sent have ended. */
  idle(): Promise<void> {
    if (this.#open === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Refuses the jobs that are still waiting for a shard. */
  close(): void {
    this.#unsubscribe()
    this.#cancelRetry?.()
    this.#workers.close()
    for (const queue of [...this.#blocked])
      for (const job of this.#takeAll(queue)) this.#refuse(job, 'this gateway is shutting down')
    this.#blocked.clear()
  }

  /**
   * Sends all waiting jobs in order if no job is in flight and a shard holds the partition. Rerouted jobs are
   * sent to the same shard again only after a pause.
   */
  #proceed(queue: PartitionQueue<Work>): void {
    this.#blocked.add(queue)
    if (queue.inFlight > 0) return
    this.#refuseLate(queue)
    const { clock, shards } = this.#options
    const shard = shards.holderOf(queue.partition)
    const tooEarly =
      shard === queue.shard && queue.rerouted.length > 0 && clock.monotonicMs() < queue.retryAtMs
    if (!shard || tooEarly) return this.#retryLater()
    const jobs = this.#takeAll(queue)
    this.#blocked.delete(queue)
    queue.shard = shard
    queue.inFlight = jobs.length
    const worker = this.#workers.of(shard)
    for (const job of jobs) worker.send(job)
  }

  #refuseLate(queue: PartitionQueue<Work>): void {
    const { clock, patienceMs } = this.#options
    const limitMs = clock.monotonicMs() - patienceMs
    const late = [...queue.rerouted, ...queue.waiting].filter(({ sinceMs }) => sinceMs <= limitMs)
    if (late.length === 0) return
    queue.rerouted = queue.rerouted.filter(({ sinceMs }) => sinceMs > limitMs)
    queue.waiting = queue.waiting.filter(({ sinceMs }) => sinceMs > limitMs)
    this.#waiting -= late.length
    for (const job of late)
      this.#refuse(
        job,
        'no shard is known to hold its partition, or the partition is moving to another shard',
      )
  }

  #refuse(job: Work, reason: string): void {
    this.#jobEnded()
    job.refuse(reason)
  }

  #jobEnded(): void {
    this.#open -= 1
    if (this.#open === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #takeAll(queue: PartitionQueue<Work>): Work[] {
    const jobs = [...queue.rerouted, ...queue.waiting]
    this.#waiting -= jobs.length
    queue.rerouted = []
    queue.waiting = []
    return jobs
  }

  #proceedAll(): void {
    for (const queue of [...this.#blocked]) this.#proceed(queue)
  }

  #retryLater(): void {
    this.#cancelRetry ??= this.#options.after(redirectPauseMs, () => {
      this.#cancelRetry = undefined
      this.#proceedAll()
    })
  }

  #queueOf({ partition }: Job): PartitionQueue<Work> {
    const queue = this.#queues[partition]
    if (!queue) throw new Error(`there is no partition ${partition}`)
    return queue
  }
}
