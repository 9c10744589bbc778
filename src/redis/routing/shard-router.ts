// Sends jobs to whoever holds their partition. While a partition moves, what was sent must have come to its end before anything of it is
// sent to another: so what one caller asks of one channel happens in the order in which it was asked for, wherever it happens.
import type { After, Clock } from '../../time.js'
import { elsewherePauseMs } from './redirects.js'
import { partitionCount } from '../keys.js'
import type { Shard, ShardMap } from '../topology/shards.js'

export interface Job {
  readonly partition: number
  /** Jobs of one key keep their order: a channel. */
  readonly key: string
  /** When it was asked for, by the monotonic clock. */
  readonly sinceMs: number
  /** Nothing of it happened, and it can wait no longer. */
  refuse(trouble: string): void
}

/** Of one shard: does jobs in the order in which they come. */
export interface Lane<Work extends Job> {
  send(job: Work): void
}

/** What a lane tells of its jobs: of each exactly once, and of those that it gives back in their order. */
export interface LaneReport<Work extends Job> {
  /** It has come to an end, whichever. */
  settled(job: Work): void
  /** Nothing of it happened, since it lies elsewhere; of its partition nothing is left in the lane. */
  elsewhere(job: Work): void
}

export interface RouterOptions<Work extends Job> {
  readonly shards: ShardMap
  readonly clock: Clock
  readonly after: After
  readonly laneOf: (shard: Shard) => Lane<Work>
  /** How long a job may wait for a holder. */
  readonly patienceMs: number
  /** So many may wait; more are refused. */
  readonly waitingMax: number
}

/** The jobs of one partition. */
interface Line<Work> {
  readonly partition: number
  /** Where those under way are. */
  shard: Shard | undefined
  underWay: number
  /** Given back: they go before those that wait. */
  back: Work[]
  waiting: Work[]
  /** Nobody else holds it: not tried again before. */
  againAtMs: number
}

export class Router<Work extends Job> implements LaneReport<Work> {
  readonly #options: RouterOptions<Work>
  readonly #lines: readonly Line<Work>[]
  /** Lines in which somebody waits. */
  readonly #stuck = new Set<Line<Work>>()
  #waiting = 0
  /** Sent or waiting, and not at its end. */
  #open = 0
  readonly #idle: (() => void)[] = []
  #cancelLook: (() => void) | undefined
  readonly #deaf: () => void

  constructor(options: RouterOptions<Work>) {
    this.#options = options
    this.#lines = Array.from({ length: partitionCount }, (_, partition) => ({
      partition,
      shard: undefined,
      underWay: 0,
      back: [],
      waiting: [],
      againAtMs: 0,
    }))
    this.#deaf = options.shards.onChange(() => this.#look())
  }

  send(job: Work): void {
    const line = this.#lineOf(job)
    this.#open += 1
    const shard = this.#options.shards.holderOf(job.partition)
    const free = line.waiting.length === 0 && line.back.length === 0
    if (shard && free && (line.underWay === 0 || line.shard === shard)) {
      line.shard = shard
      line.underWay += 1
      return this.#options.laneOf(shard).send(job)
    }
    if (this.#waiting >= this.#options.waitingMax)
      return this.#refuse(job, `${this.#options.waitingMax} wait already until it is known who holds what`)
    line.waiting.push(job)
    this.#waiting += 1
    this.#proceed(line)
  }

  settled(job: Work): void {
    const line = this.#lineOf(job)
    line.underWay -= 1
    this.#ended()
    if (line.underWay === 0 && (line.back.length > 0 || line.waiting.length > 0)) this.#proceed(line)
  }

  elsewhere(job: Work): void {
    const { clock, shards } = this.#options
    const line = this.#lineOf(job)
    line.back.push(job)
    this.#waiting += 1
    line.underWay -= 1
    line.againAtMs = clock.monotonicMs() + elsewherePauseMs
    shards.refresh()
    this.#proceed(line)
  }

  /** Resolves when all that was sent has come to its end. */
  idle(): Promise<void> {
    if (this.#open === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Whoever still waits is refused. */
  close(): void {
    this.#deaf()
    this.#cancelLook?.()
    for (const line of [...this.#stuck])
      for (const job of this.#takeAll(line)) this.#refuse(job, 'this gateway ends')
    this.#stuck.clear()
  }

  /** All that waits is sent, in order, as soon as nothing is under way and somebody (else, or after a pause) holds it. */
  #proceed(line: Line<Work>): void {
    this.#stuck.add(line)
    if (line.underWay > 0) return
    this.#refuseLate(line)
    const { clock, laneOf, shards } = this.#options
    const shard = shards.holderOf(line.partition)
    const tooEarly = shard === line.shard && line.back.length > 0 && clock.monotonicMs() < line.againAtMs
    if (!shard || tooEarly) return this.#lookLater()
    const jobs = this.#takeAll(line)
    this.#stuck.delete(line)
    line.shard = shard
    line.underWay = jobs.length
    const lane = laneOf(shard)
    for (const job of jobs) lane.send(job)
  }

  #refuseLate(line: Line<Work>): void {
    const { clock, patienceMs } = this.#options
    const overMs = clock.monotonicMs() - patienceMs
    const late = [...line.back, ...line.waiting].filter(({ sinceMs }) => sinceMs <= overMs)
    if (late.length === 0) return
    line.back = line.back.filter(({ sinceMs }) => sinceMs > overMs)
    line.waiting = line.waiting.filter(({ sinceMs }) => sinceMs > overMs)
    this.#waiting -= late.length
    for (const job of late) this.#refuse(job, 'it is not known who holds it, or it is on its way to another')
  }

  #refuse(job: Work, trouble: string): void {
    this.#ended()
    job.refuse(trouble)
  }

  #ended(): void {
    this.#open -= 1
    if (this.#open === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #takeAll(line: Line<Work>): Work[] {
    const jobs = [...line.back, ...line.waiting]
    this.#waiting -= jobs.length
    line.back = []
    line.waiting = []
    return jobs
  }

  #look(): void {
    for (const line of [...this.#stuck]) this.#proceed(line)
  }

  #lookLater(): void {
    this.#cancelLook ??= this.#options.after(elsewherePauseMs, () => {
      this.#cancelLook = undefined
      this.#look()
    })
  }

  #lineOf({ partition }: Job): Line<Work> {
    const line = this.#lines[partition]
    if (!line) throw new Error(`there is no partition ${partition}`)
    return line
  }
}

/** Takes out of a lane's queue, in order, what may not go before something that was given back. */
export function takeOf<Work extends Job>(queue: Work[], partitions: ReadonlySet<number>): Work[] {
  const taken = queue.filter(({ partition }) => partitions.has(partition))
  if (taken.length > 0)
    queue.splice(0, queue.length, ...queue.filter(({ partition }) => !partitions.has(partition)))
  return taken
}

/**
 * Of the jobs of one pipeline, in order: those to which nothing happened although a later one of the same key happened (its refusal ended
 * in between). They must not be tried again: the order would be another.
 */
export function overtaken<Work extends Job>(
  outcomes: readonly { readonly job: Work; readonly happened: boolean }[],
): Set<Work> {
  const happened = new Set<string>()
  const late = new Set<Work>()
  for (const outcome of outcomes.toReversed()) {
    if (outcome.happened) happened.add(outcome.job.key)
    else if (happened.has(outcome.job.key)) late.add(outcome.job)
  }
  return late
}
