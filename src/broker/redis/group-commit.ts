// Group commit: publishes of one turn share a pipeline and one WAIT, and are acknowledged when enough replicas have them all.
import { CommandError } from '../../errors.js'
import { unlessAborted } from '../../deadline.js'
import {
  RedisUnavailableError,
  type LiveRedis,
  type RedisLink,
  UnknownOutcomeError,
} from '../../redis/link.js'
import { Rounds } from '../../redis/batch-runner.js'
import { overtaken, takeOf, type Lane, type LaneReport } from '../../redis/routing/shard-router.js'
import type { Clock } from '../../time.js'
import {
  unavailable,
  unknownOutcome,
  type AnnounceBy,
  type Commit,
  type Generation,
  type HowItWent,
  type NotStored,
} from './pending-write.js'

/** What is known of generations on each connection. */
export interface GenerationsOf {
  of(live: LiveRedis, partition: number): Generation | undefined
  /** Makes them known. Gives those that lie elsewhere. Throws when the connection is of no use for them. */
  open(live: LiveRedis, partitions: ReadonlySet<number>): Promise<ReadonlySet<number>>
  /** The same where streams have refused what was known. */
  raise(
    live: LiveRedis,
    refused: readonly { readonly partition: number; readonly streamKey: string }[],
  ): Promise<ReadonlySet<number>>
}

export interface CommitOptions {
  readonly link: RedisLink
  readonly clock: Clock
  /** From then on all is given back. */
  readonly retired: AbortSignal
  readonly report: LaneReport<Commit>
  readonly generations: GenerationsOf
  /** Replicas that must have a group before it is acknowledged; 0: none, no WAIT is sent. */
  readonly waitReplicas: () => number
  readonly waitMs: number
  /** How what waits for no replicas is told of. */
  readonly announceBy: AnnounceBy
  /** A failover should look like latency: so long and so many publishes wait for a writer. */
  readonly queueMs: number
  readonly queueMax: number
  readonly groupMax: number
  readonly groupBytesMax: number
}

const triesMax = 5

/** What one command does. */
interface Command {
  readonly commits: [Commit, ...Commit[]]
  readonly generation: Generation
}

export class CommitLane implements Lane<Commit> {
  readonly #options: CommitOptions
  readonly #rounds: Rounds
  #queue: Commit[] = []

  constructor(options: CommitOptions) {
    this.#options = options
    this.#rounds = new Rounds({
      waiting: () => this.#queue.length,
      round: () => this.#commitSome(),
      failed: (error) => {
        for (const commit of this.#queue.splice(0)) this.#reject(commit, error)
      },
    })
  }

  /** Rejects with CommandError: NOT_REPLICATED (outcome unknown), BROKER_UNAVAILABLE (nothing was stored), or what the entry refuses with. */
  send(commit: Commit): void {
    const { queueMax } = this.#options
    if (this.#queue.length >= queueMax) {
      return this.#reject(
        commit,
        new CommandError(
          'BROKER_UNAVAILABLE',
          `Nothing was stored: ${queueMax} publishes wait for Redis already`,
          { retryAfterMs: 1_000 },
        ),
      )
    }
    this.#queue.push(commit)
    this.#rounds.begin()
  }

  async #commitSome(): Promise<void> {
    const live = await this.#writer()
    this.#refuseLate()
    if (this.#options.retired.aborted) this.#giveBack(this.#queue.splice(0))
    if (!live) return
    const group = this.#takeGroup()
    try {
      await this.#commit(live, group)
    } catch (error) {
      for (const commit of group) this.#reject(commit, error)
    }
  }

  /** Undefined: none came while the oldest could wait, or none will. */
  async #writer(): Promise<LiveRedis | undefined> {
    const { clock, link, queueMs, retired } = this.#options
    const current = link.current
    if (current) return current
    const oldest = this.#queue[0]
    const leftMs = oldest ? oldest.sinceMs + queueMs - clock.monotonicMs() : 0
    try {
      if (leftMs > 0) return await unlessAborted(retired, link.ready(leftMs))
    } catch (error) {
      if (!retired.aborted && !(error instanceof RedisUnavailableError)) throw error
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
    for (const commit of over)
      this.#reject(commit, unavailable(link.trouble ?? 'too many publishes wait for replicas'))
  }

  #takeGroup(): Commit[] {
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

  async #commit(live: LiveRedis, taken: readonly Commit[]): Promise<void> {
    const { waitMs } = this.#options
    const group = await this.#opened(live, taken)
    if (group.length === 0) return
    const replicas = this.#options.waitReplicas()
    const pipeline = live.client.pipeline()
    const commands = this.#commandsOf(live, group)
    const announceBy = replicas > 0 ? undefined : this.#options.announceBy
    for (const { commits, generation } of commands) {
      const [{ entry }, ...others] = commits
      entry.add(pipeline, generation, {
        behind: others.flatMap((other) => other.entry.part ?? []),
        announceBy,
      })
    }
    if (replicas > 0) pipeline.call('WAIT', replicas, waitMs)
    let replies: unknown[]
    try {
      replies = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
    } catch (error) {
      if (error instanceof RedisUnavailableError) return this.#requeue(group)
      if (!(error instanceof UnknownOutcomeError)) throw error
      for (const commit of group)
        this.#reject(commit, unknownOutcome('the connection to Redis was lost before it answered', error))
      return
    }
    const reached = replicas > 0 ? replies.at(commands.length) : 0
    const short = replicas > 0 && !(typeof reached === 'number' && reached >= replicas)
    // What replicas of the past confirm to a master of the past is lost with it.
    const stands = replicas === 0 || short || (await live.stands())
    const doubt = short
      ? `${String(reached)} of ${replicas} replicas confirmed it within ${waitMs} ms`
      : stands
        ? undefined
        : 'another master may have taken over meanwhile'
    if (!stands) live.discard('nobody stands by this master')
    const again = this.#settle(commands, replies, { doubt, announced: announceBy !== undefined })
    await this.#retry(live, again)
  }

  /** Those that follow each other in a stream share a command where they can. */
  #commandsOf(live: LiveRedis, group: readonly Commit[]): Command[] {
    const commands: Command[] = []
    const last = new Map<string, Command>()
    for (const commit of group) {
      const before = last.get(commit.key)
      if (before && share(before, commit)) {
        before.commits.push(commit)
        continue
      }
      const generation = this.#options.generations.of(live, commit.partition)
      if (!generation) throw new Error('a partition was opened, and its generation is not known')
      const command: Command = { commits: [commit], generation }
      commands.push(command)
      last.set(commit.key, command)
    }
    return commands
  }

  /** Those whose partition is known on this connection, or has become so; the others have gone where they belong. */
  async #opened(live: LiveRedis, group: readonly Commit[]): Promise<readonly Commit[]> {
    const { generations } = this.#options
    const unknown = new Set<number>()
    for (const { partition } of group) if (!generations.of(live, partition)) unknown.add(partition)
    if (unknown.size === 0) return group
    try {
      const elsewhere = await generations.open(live, unknown)
      this.#giveBack(group.filter(({ partition }) => elsewhere.has(partition)))
      return group.filter(({ partition }) => !elsewhere.has(partition))
    } catch (error) {
      live.discard(String(error))
      this.#requeue(group)
      return []
    }
  }

  /** Tells the callers what there is to tell. Gives those to which nothing happened, in order. `doubt`: why nothing is acknowledged. */
  #settle(
    commands: readonly Command[],
    replies: readonly unknown[],
    { announced, doubt }: { announced: boolean; doubt: string | undefined },
  ): { job: Commit; wants: NotStored }[] {
    const again: { job: Commit; wants: NotStored }[] = []
    const nothing = new Set<Commit>()
    const settle = (job: Commit, reply: unknown, how: HowItWent): void => {
      try {
        const outcome = job.read(reply, how)
        if (typeof outcome === 'string') again.push({ job, wants: outcome })
        else if (doubt === undefined) this.#accept(job, outcome)
        else this.#reject(job, unknownOutcome(doubt))
      } catch (error) {
        nothing.add(job)
        this.#reject(job, error)
      }
    }
    commands.forEach(({ commits }, index) => {
      commits.forEach((job, nth) => settle(job, replies[index], { nth, announced }))
    })
    if (again.length === 0) return again
    for (const { job } of again) nothing.add(job)
    const jobs = commands.flatMap(({ commits }) => commits)
    const late = overtaken(jobs.map((job) => ({ job, happened: !nothing.has(job) })))
    return again.filter(({ job }) => {
      if (late.has(job)) this.#reject(job, unavailable('a later one was stored before it'))
      return !late.has(job)
    })
  }

  async #retry(live: LiveRedis, again: readonly { job: Commit; wants: NotStored }[]): Promise<void> {
    if (again.length === 0) return
    const partitionsOf = (wanted: NotStored) =>
      new Set(again.filter(({ wants }) => wants === wanted).map(({ job }) => job.partition))
    const elsewhere = new Set(partitionsOf('elsewhere'))
    const refused = again.filter(({ job, wants }) => wants === 'fenced' && !elsewhere.has(job.partition))
    if (again.some(({ wants }) => wants === 'again')) {
      // Demoted or without its scripts: the next connection finds out afresh what it is.
      live.discard('its writes were refused')
    } else if (refused.length > 0) {
      const streams = new Map(refused.map(({ job: { key, partition } }) => [key, partition]))
      try {
        const moved = await this.#options.generations.raise(
          live,
          [...streams].map(([streamKey, partition]) => ({ partition, streamKey })),
        )
        for (const partition of moved) elsewhere.add(partition)
      } catch (error) {
        live.discard(String(error))
      }
    }
    this.#requeue(again.map(({ job }) => job).filter(({ partition }) => !elsewhere.has(partition)))
    this.#giveBack(again.map(({ job }) => job).filter(({ partition }) => elsewhere.has(partition)))
  }

  #accept(commit: Commit, tell: () => void): void {
    this.#options.report.settled(commit)
    tell()
  }

  #reject(commit: Commit, error: unknown): void {
    this.#options.report.settled(commit)
    commit.reject(error)
  }

  /** They lie elsewhere, and what waits behind them with them. */
  #giveBack(commits: readonly Commit[]): void {
    const behind = takeOf(this.#queue, new Set(commits.map(({ partition }) => partition)))
    for (const commit of [...commits, ...behind]) this.#options.report.elsewhere(commit)
  }

  /** In front, in order: nothing of them was stored. */
  #requeue(group: readonly Commit[]): void {
    const worth = group.filter((commit) => {
      commit.tries += 1
      if (commit.tries <= triesMax) return true
      this.#reject(commit, unavailable(`refused ${triesMax} times`))
      return false
    })
    this.#queue = [...worth, ...this.#queue]
  }
}

function share({ commits: [first], generation }: Command, next: Commit): boolean {
  const one = first.entry.part
  const other = next.entry.part
  return one?.store === generation.store && other?.store === one.store && other.size === one.size
}
