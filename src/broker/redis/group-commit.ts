// Group commit: the publishes of one turn of the event loop share a pipeline and one WAIT, and are
// acknowledged when enough replicas have all of them.
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from '../../redis/link.js'
import { OrderedWorker, type OrderedWorkerOptions } from '../../redis/routing/ordered-worker.js'
import { timeStamp } from '../envelope.js'
import {
  unknownOutcome,
  type AddResult,
  type Generation,
  type NotStored,
  type PendingWrite,
  type PubSubCommand,
} from './pending-write.js'

type Write = PendingWrite<unknown>

/** The generations that each connection has learned. */
export interface ConnectionGenerations {
  /** Returns the generation of a partition, or undefined when the connection has not opened it. */
  of(live: LiveRedis, partition: number): Generation | undefined
  /**
   * Opens partitions: the connection learns their generations. Returns the partitions that another shard
   * holds. Throws when the connection cannot be used for the partitions.
   */
  open(live: LiveRedis, partitions: ReadonlySet<number>): Promise<ReadonlySet<number>>
  /** Does the same as `open` for partitions in which a stream has refused the known generation. */
  raise(
    live: LiveRedis,
    refused: readonly { readonly partition: number; readonly streamKey: string }[],
  ): Promise<ReadonlySet<number>>
}

export interface GroupCommitOptions extends Omit<OrderedWorkerOptions<Write>, 'waiting' | 'spacingMs'> {
  readonly generations: ConnectionGenerations
  /** The number of replicas that must have a group before it is acknowledged. With 0 no WAIT is sent. */
  readonly waitReplicas: () => number
  /** The timeout of a WAIT, in milliseconds. */
  readonly waitMs: number
  /** Returns the time by the clock of the master, in milliseconds since the Unix epoch. */
  readonly nowMs: () => number
  /** The command by which Redis publishes the messages of writes that wait for no replicas. */
  readonly publishBy: PubSubCommand
  /**
   * How long a write waits for a writer connection, in milliseconds. Clients then see a failover as latency.
   */
  readonly queueMs: number
  /** The most writes in one group. */
  readonly groupMax: number
  /** The most bytes in one group, unless a single write is larger. */
  readonly groupBytesMax: number
}

/** How often a write is tried again when nothing of it was stored. */
const triesMax = 5

/** One command of a pipeline, and the writes that share it. */
interface WriteCommand {
  readonly writes: [Write, ...Write[]]
  readonly generation: Generation
}

export class GroupCommit extends OrderedWorker<Write> {
  readonly #options: GroupCommitOptions

  constructor(options: GroupCommitOptions) {
    super({ ...options, waiting: { kind: 'refuseLate', patienceMs: options.queueMs } })
    this.#options = options
  }

  protected override batchLength(queue: readonly Write[]): number {
    const { groupBytesMax, groupMax } = this.#options
    let bytes = 0
    let count = 0
    for (const write of queue) {
      bytes += write.bytes
      if (count === groupMax || (count > 0 && bytes > groupBytesMax)) break
      count += 1
    }
    return count
  }

  protected override async runBatch(live: LiveRedis, batch: readonly Write[]): Promise<void> {
    const { nowMs, publishBy, waitMs, waitReplicas } = this.#options
    const group = this.#hasGenerations(live, batch) ? batch : await this.#openGenerations(live, batch)
    if (group.length === 0) return
    const replicas = waitReplicas()
    const pipeline = live.client.pipeline()
    const commands = this.#commandsOf(live, group)
    const options = { publishBy: replicas > 0 ? undefined : publishBy, time: timeStamp(nowMs()) }
    for (const { generation, writes } of commands) {
      const [first, ...others] = writes
      first.add(pipeline, generation, { ...options, behind: others.flatMap(({ shared }) => shared ?? []) })
    }
    if (replicas > 0) pipeline.call('WAIT', replicas, waitMs)
    let replies: unknown[]
    try {
      replies = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
    } catch (error) {
      if (error instanceof RedisUnavailableError) return this.#retryAtMost(group)
      if (!(error instanceof UnknownOutcomeError)) throw error
      for (const write of group)
        this.reject(write, unknownOutcome('the connection to Redis was lost before it answered', error))
      return
    }
    const unconfirmedReason =
      replicas > 0 ? await this.#unconfirmedReason(live, replies.at(commands.length), replicas) : undefined
    const { refused, undone } = this.#settleAll(commands, replies, {
      unconfirmedReason,
      published: replicas === 0,
    })
    if (undone.size === 0) return
    const isDone = (write: Write): boolean => !undone.has(write) && !refused.has(write)
    await this.#retryUndone(live, this.refuseOutOfOrder(group, [...undone.keys()], isDone), undone)
  }

  /**
   * Returns the reason why the writes of a pipeline cannot be acknowledged, given the reply to its WAIT.
   * Returns undefined when they can.
   */
  async #unconfirmedReason(live: LiveRedis, reached: unknown, replicas: number): Promise<string | undefined> {
    if (!(typeof reached === 'number' && reached >= replicas))
      return `${String(reached)} of ${replicas} replicas confirmed it within ${this.#options.waitMs} ms`
    // Writes that stale replicas confirm to a replaced master are lost with it.
    if (await live.confirmMaster()) return undefined
    live.discard('the Sentinels do not confirm this master')
    return 'another master may have taken over meanwhile'
  }

  #hasGenerations(live: LiveRedis, group: readonly Write[]): boolean {
    const { generations } = this.#options
    return group.every(({ partition }) => generations.of(live, partition) !== undefined)
  }

  /**
   * Opens the partitions whose generations are missing. Reroutes the writes whose partition another shard
   * holds, and returns the others.
   */
  async #openGenerations(live: LiveRedis, group: readonly Write[]): Promise<readonly Write[]> {
    const { generations } = this.#options
    const unknown = new Set<number>()
    for (const { partition } of group) if (!generations.of(live, partition)) unknown.add(partition)
    try {
      const moved = await generations.open(live, unknown)
      this.reroute(group.filter(({ partition }) => moved.has(partition)))
      return group.filter(({ partition }) => !moved.has(partition))
    } catch (error) {
      live.discard(String(error))
      this.#retryAtMost(group)
      return []
    }
  }

  /** Returns the commands of a group. Consecutive writes to one stream share a command where possible. */
  #commandsOf(live: LiveRedis, group: readonly Write[]): WriteCommand[] {
    const commands: WriteCommand[] = []
    const last = new Map<string, WriteCommand>()
    for (const write of group) {
      const before = last.get(write.key)
      if (before && canShare(before, write)) {
        before.writes.push(write)
        continue
      }
      const generation = this.#options.generations.of(live, write.partition)
      if (!generation)
        throw new Error(`the generation of partition ${write.partition} is not known after opening it`)
      const command: WriteCommand = { writes: [write], generation }
      commands.push(command)
      last.set(write.key, command)
    }
    return commands
  }

  /**
   * Ends the writes that Redis has stored or permanently refused. Returns the others in order, each with the
   * action that is needed before another attempt. `unconfirmedReason`: the reason why stored writes cannot be
   * acknowledged.
   */
  #settleAll(
    commands: readonly WriteCommand[],
    replies: readonly unknown[],
    { unconfirmedReason, published }: { unconfirmedReason: string | undefined; published: boolean },
  ): { undone: Map<Write, NotStored>; refused: Set<Write> } {
    const undone = new Map<Write, NotStored>()
    const refused = new Set<Write>()
    commands.forEach(({ generation, writes }, at) => {
      writes.forEach((write, index) => {
        const outcome = this.#settleOne(write, replies[at], {
          generation,
          index,
          published,
          unconfirmedReason,
        })
        if (outcome === 'refused') refused.add(write)
        else if (outcome !== 'stored') undone.set(write, outcome)
      })
    })
    return { undone, refused }
  }

  #settleOne(
    write: Write,
    reply: unknown,
    result: AddResult & { unconfirmedReason: string | undefined },
  ): 'stored' | 'refused' | NotStored {
    try {
      const outcome = write.read(reply, result)
      if (typeof outcome === 'string') return outcome
      if (result.unconfirmedReason !== undefined) this.reject(write, unknownOutcome(result.unconfirmedReason))
      else {
        this.settle(write)
        write.resolve(outcome.result)
      }
      return 'stored'
    } catch (error) {
      this.reject(write, error)
      return 'refused'
    }
  }

  async #retryUndone(
    live: LiveRedis,
    writes: readonly Write[],
    needs: ReadonlyMap<Write, NotStored>,
  ): Promise<void> {
    const thatNeed = (need: NotStored) => writes.filter((write) => needs.get(write) === need)
    const moved = new Set(thatNeed('moved').map(({ partition }) => partition))
    const fenced = thatNeed('fenced').filter(({ partition }) => !moved.has(partition))
    if (thatNeed('reconnect').length > 0) {
      // The node was demoted or has lost its scripts. The next connection checks the role and loads the
      // scripts.
      live.discard('the node refused writes')
    } else if (fenced.length > 0) {
      const partitionOf = new Map(fenced.map(({ key, partition }) => [key, partition]))
      const streams = [...partitionOf].map(([streamKey, partition]) => ({ partition, streamKey }))
      try {
        for (const partition of await this.#options.generations.raise(live, streams)) moved.add(partition)
      } catch (error) {
        live.discard(String(error))
      }
    }
    this.#retryAtMost(writes.filter(({ partition }) => !moved.has(partition)))
    this.reroute(writes.filter(({ partition }) => moved.has(partition)))
  }

  /** Retries writes of which nothing was stored, each at most `triesMax` times. */
  #retryAtMost(writes: readonly Write[]): void {
    const retriable = writes.filter((write) => {
      write.tries += 1
      if (write.tries <= triesMax) return true
      this.refuse(write, `Redis refused the write ${triesMax} times`)
      return false
    })
    this.retry(retriable)
  }
}

function canShare({ generation, writes: [first] }: WriteCommand, next: Write): boolean {
  const one = first.shared
  const other = next.shared
  return one?.store === generation.store && other?.store === one.store && other.size === one.size
}
