// Group commit: publishes of one turn share a pipeline and one WAIT, and are acknowledged when enough replicas have them all.
import { CommandError } from '../errors.js'
import { RedisUnavailableError, type LiveRedis, type RedisLink, UnknownOutcomeError } from '../redis/live.js'
import type { Clock } from '../time.js'
import type { Pipeline } from '../redis/scripts.js'

/** One write. It adds exactly one command, and reads that command's reply. */
export interface CommitEntry<Result> {
  readonly bytes: number
  /** Adds the command for the connection's present generation. */
  add(pipeline: Pipeline, generation: Generation): void
  /** `again`: nothing was stored, and the entry wants another try (it was fenced out, or its stream is gone). Throws a CommandError when refused for good. */
  read(reply: unknown): { readonly done: Result } | 'again'
}

/** Which life of the data a writer's connection belongs to. */
export interface Generation {
  readonly number: number
  readonly store: string
}

export interface CommitOptions {
  readonly link: RedisLink
  readonly clock: Clock
  generationOf(live: LiveRedis): Generation
  /** Replicas that must have a group before it is acknowledged; 0: none, no WAIT is sent. */
  readonly waitReplicas: () => number
  readonly waitMs: number
  /** A failover should look like latency: so long and so many publishes wait for a writer. */
  readonly queueMs: number
  readonly queueMax: number
  readonly groupMax: number
  readonly groupBytesMax: number
}

interface Queued {
  readonly entry: Pick<CommitEntry<unknown>, 'add' | 'bytes'>
  readonly sinceMs: number
  tries: number
  /** Gives how to tell the caller of it. */
  read(reply: unknown): (() => void) | 'again'
  reject(error: unknown): void
}

const triesMax = 5

export class CommitLane {
  readonly #options: CommitOptions
  #queue: Queued[] = []
  #running = false

  constructor(options: CommitOptions) {
    this.#options = options
  }

  /** Rejects with CommandError: NOT_REPLICATED (outcome unknown), BROKER_UNAVAILABLE (nothing was stored), or what the entry refuses with. */
  submit<Result>(entry: CommitEntry<Result>): Promise<Result> {
    const { clock, queueMax } = this.#options
    if (this.#queue.length >= queueMax) {
      return Promise.reject(
        new CommandError(
          'BROKER_UNAVAILABLE',
          `Nothing was stored: ${queueMax} publishes wait for Redis already`,
          { retryAfterMs: 1_000 },
        ),
      )
    }
    return new Promise<Result>((resolve, reject) => {
      const read = (reply: unknown): (() => void) | 'again' => {
        const result = entry.read(reply)
        return result === 'again' ? result : () => resolve(result.done)
      }
      this.#queue.push({ entry, sinceMs: clock.monotonicMs(), tries: 0, read, reject })
      if (!this.#running) {
        this.#running = true
        // What else this turn of the event loop brings goes along.
        setImmediate(() => this.#run())
      }
    })
  }

  #run(): void {
    this.#commitAll()
      .catch((error: unknown) => {
        for (const queued of this.#queue.splice(0)) queued.reject(error)
      })
      .finally(() => {
        this.#running = false
        if (this.#queue.length > 0) {
          this.#running = true
          this.#run()
        }
      })
  }

  async #commitAll(): Promise<void> {
    while (this.#queue.length > 0) {
      const live = await this.#writer()
      this.#refuseLate()
      if (!live) continue
      const group = this.#takeGroup()
      if (group.length === 0) continue
      try {
        await this.#commit(live, group)
      } catch (error) {
        for (const queued of group) queued.reject(error)
      }
    }
  }

  /** Undefined: none came while the oldest could wait. */
  async #writer(): Promise<LiveRedis | undefined> {
    const { clock, link, queueMs } = this.#options
    const current = link.current
    if (current) return current
    const oldest = this.#queue[0]
    const leftMs = oldest ? oldest.sinceMs + queueMs - clock.monotonicMs() : 0
    try {
      if (leftMs > 0) return await link.ready(leftMs)
    } catch (error) {
      if (!(error instanceof RedisUnavailableError)) throw error
    }
    return undefined
  }

  /** Whatever holds the queue up, no writer or one whose replicas do not answer: so long and no longer. */
  #refuseLate(): void {
    const { clock, link, queueMs } = this.#options
    const overMs = clock.monotonicMs() - queueMs
    const over = this.#queue.filter(({ sinceMs }) => sinceMs <= overMs)
    if (over.length === 0) return
    this.#queue = this.#queue.filter(({ sinceMs }) => sinceMs > overMs)
    for (const queued of over)
      queued.reject(unavailable(link.trouble ?? 'too many publishes wait for replicas'))
  }

  #takeGroup(): Queued[] {
    const { groupBytesMax, groupMax } = this.#options
    let bytes = 0
    let count = 0
    for (const { entry } of this.#queue) {
      bytes += entry.bytes
      if (count === groupMax || (count > 0 && bytes > groupBytesMax)) break
      count += 1
    }
    return this.#queue.splice(0, count)
  }

  async #commit(live: LiveRedis, group: readonly Queued[]): Promise<void> {
    const { waitMs } = this.#options
    const replicas = this.#options.waitReplicas()
    const generation = this.#options.generationOf(live)
    const pipeline = live.client.pipeline()
    for (const { entry } of group) entry.add(pipeline, generation)
    if (replicas > 0) pipeline.call('WAIT', replicas, waitMs)
    let replies: unknown[]
    try {
      replies = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
    } catch (error) {
      if (error instanceof RedisUnavailableError) return this.#requeue(group)
      if (!(error instanceof UnknownOutcomeError)) throw error
      for (const queued of group)
        queued.reject(unknownOutcome('the connection to Redis was lost before it answered', error))
      return
    }
    const reached = replicas > 0 ? replies.at(group.length) : 0
    const short = replicas > 0 && !(typeof reached === 'number' && reached >= replicas)
    // What replicas of the past confirm to a master of the past is lost with it.
    const stands = replicas === 0 || short || (await live.stands())
    const again: Queued[] = []
    group.forEach((queued, index) => {
      try {
        const accept = queued.read(replies[index])
        if (accept === 'again') again.push(queued)
        else if (short)
          queued.reject(
            unknownOutcome(`${String(reached)} of ${replicas} replicas confirmed it within ${waitMs} ms`),
          )
        else if (!stands) queued.reject(unknownOutcome('another master may have taken over meanwhile'))
        else accept()
      } catch (error) {
        queued.reject(error)
      }
    })
    if (!stands) live.discard('the Sentinels do not stand by this master')
    if (again.length === 0) return
    // Fenced out, demoted or without its scripts: the next connection finds out afresh what it is.
    live.discard('its writes were refused')
    this.#requeue(again)
  }

  /** In front, in order: nothing of them was stored. */
  #requeue(group: readonly Queued[]): void {
    const worth = group.filter((queued) => {
      queued.tries += 1
      if (queued.tries <= triesMax) return true
      queued.reject(unavailable(`refused ${triesMax} times`))
      return false
    })
    this.#queue = [...worth, ...this.#queue]
  }
}

function unavailable(trouble: string | undefined): CommandError {
  return new CommandError(
    'BROKER_UNAVAILABLE',
    `Nothing was stored: Redis takes no writes at the moment (${trouble ?? 'no master is known'}). Try again`,
    {
      retryAfterMs: 1_000,
    },
  )
}

function unknownOutcome(why: string, cause?: unknown): CommandError {
  return new CommandError(
    'NOT_REPLICATED',
    `It may or may not be stored: ${why}. Send it again with the same key`,
    { retryAfterMs: 1_000, cause },
  )
}
