// The shard map of a Cluster. It polls all nodes for the slots that each master holds, and applies the
// answers if they come from a majority of the masters.
import type { Log } from '../../log.js'
import { describeError } from '../connection.js'
import { pause } from '../../deadline.js'
import {
  fetchView,
  quorumOf,
  dataNodesIn,
  holdersOf,
  confirmsMaster,
  typicalDataNodes,
  votersIn,
  type ClusterView,
  type Holder,
  type Holders,
} from './cluster-view.js'
import { partitionSlots } from '../keys.js'
import type { Locator } from './locator.js'
import type { Shard, ShardMap } from './shards.js'
import { slotOf } from '../slots.js'
import { Poller, type PollFailure, type PollTiming } from './poller.js'
import { formatAddress, type Address, type ClusterTarget } from '../url.js'

const defaultTiming: PollTiming = { intervalMs: 1_000, deadlineMs: 1_000, confirmMs: 500 }

/**
 * The shortest time between two refreshes, in milliseconds. Thousands of replies may report a moved slot at
 * the same time.
 */
const refreshGapMs = 200

/**
 * The shortest time between two fresh polls for confirmations, in milliseconds. After a failover every group
 * of publishes on every gateway requests a confirmation of the new master, so callers share one poll.
 */
const confirmGapMs = 50

/**
 * The shortest silence, in milliseconds, after which a node considers another node failed. This assumes that
 * `cluster-node-timeout` is not shorter.
 */
const failoverAfterMs = 1_000

export interface ClusterMapOptions {
  readonly log: Log
  /**
   * The number of data nodes of each shard, including the master, as the operator configured it. Default: the
   * number that the nodes report.
   */
  readonly dataNodes?: number | undefined
  readonly timing?: Partial<PollTiming> | undefined
}

interface ClusterShard extends Shard {
  readonly retirement: AbortController
}

export class ClusterMap implements ShardMap {
  readonly #target: ClusterTarget
  readonly #log: Log
  readonly #poller: Poller<ClusterView>
  readonly #listeners = new Set<() => void>()
  /** The slots that Parley uses: those of the partitions, and those of the tags passed to `locatorOf`. */
  readonly #slots = new Set<number>(partitionSlots)
  #holders: Holders = new Map()
  /** The shards by the address of their master. */
  readonly #shards = new Map<string, ClusterShard>()
  /** The shard of each partition. Every publish reads this array. */
  #shardOfPartition: readonly (Shard | undefined)[] = []
  /** The ids of the masters, as a quorum last reported them. */
  #voters: ReadonlySet<string> = new Set()
  /** The addresses of the nodes, as a quorum last reported them. */
  #nodes: readonly Address[] = []
  readonly #dataNodes: number | undefined
  /** The number of data nodes by the master's id, as a quorum last reported it. */
  #dataNodesOf: ReadonlyMap<string, number> = new Map()
  /** The highest number of data nodes that a typical shard has ever had. */
  #dataNodesTypical = 0
  #refreshedMs = -Infinity
  #refreshTimer: NodeJS.Timeout | undefined
  /**
   * A confirmation poll that has not begun yet. Callers that request a confirmation before it begins share
   * its answers.
   */
  #confirmation: Promise<readonly ClusterView[]> | undefined
  #confirmedMs = -Infinity

  constructor(target: ClusterTarget, { dataNodes, log, timing }: ClusterMapOptions) {
    this.#target = target
    this.#log = log
    this.#dataNodes = dataNodes
    const { deadlineMs, ...rest } = { ...defaultTiming, ...timing }
    const { login, tls } = target
    this.#poller = new Poller<ClusterView>(target.nodes, {
      login,
      tls,
      timing: { deadlineMs, ...rest },
      ask: (connection, server) => fetchView(connection, { server, deadlineMs }),
      onAnswer: () => this.#update(),
    })
  }

  get shards(): readonly Shard[] {
    return [...this.#shards.values()]
  }

  holderOf(partition: number): Shard | undefined {
    return this.#shardOfPartition[partition]
  }

  /** The addresses of the masters that hold a slot that Parley uses. */
  get masters(): readonly Address[] {
    return [
      ...new Map(
        [...this.#holders.values()].map(({ address }) => [formatAddress(address), address]),
      ).values(),
    ]
  }

  /**
   * The reason why the map is unknown, incomplete or unverified. Undefined when it is complete and a quorum
   * has reported it.
   */
  get unavailableReason(): string | undefined {
    const { answers, serverCount } = this.#poller
    const views = answers.filter((answer) => answer.kind === 'view')
    if (quorumOf(views) !== 'minority')
      return this.#holders.size < this.#slots.size ? 'no master holds some slots of the Cluster' : undefined
    if (views.length > 0 && views.every(({ masters }) => masters.size === 0))
      return 'no master holds any slot of the Cluster'
    const failure = answers.find((answer) => answer.kind === 'failure')
    const why = failure ? ` (${describeError(failure.reason)})` : ''
    if (views.length === 0) return `no node of the Cluster reports which master holds which slots${why}`
    const answering = `only ${views.length} of ${serverCount} nodes of the Cluster answer`
    return `${answering}: no majority of the masters confirms which master holds which slots${why}`
  }

  /**
   * The number of replicas that form a majority with the master in a typical shard. Undefined while the
   * number is not known.
   */
  get waitReplicas(): number | undefined {
    return this.#waitReplicasOf(undefined)
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  refresh(): void {
    if (this.#refreshTimer) return
    const waitMs = Math.max(0, this.#refreshedMs + refreshGapMs - performance.now())
    this.#refreshTimer = setTimeout(() => {
      this.#refreshTimer = undefined
      this.#refreshedMs = performance.now()
      this.#poller.pollNow()
    }, waitMs).unref()
  }

  /**
   * Returns the locator of the master that holds the slot of `tag`, for callers whose keys all have this tag.
   */
  locatorOf(tag: string): Locator {
    const slot = slotOf(tag)
    this.#slots.add(slot)
    this.#update()
    const holder = () => this.#holders.get(slot)
    return this.#createLocator(holder, () => this.unavailableReason ?? `no master holds the slot of "${tag}"`)
  }

  /** Keeps the map up to date until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#poller.run(signal)
    clearTimeout(this.#refreshTimer)
  }

  #createLocator(holder: () => Holder | undefined, unavailableReason: () => string | undefined): Locator {
    const waitReplicas = () => this.#waitReplicasOf(holder()?.id)
    return {
      get address() {
        return holder()?.address
      },
      get unavailableReason() {
        return holder() ? undefined : unavailableReason()
      },
      configError: undefined,
      get waitReplicas() {
        return waitReplicas()
      },
      confirm: (address) => this.#confirm(address),
      failoverAfterMs,
      onChange: (listener) => this.onChange(listener),
      // The map itself polls for all its locators.
      run: async () => {},
    }
  }

  /**
   * Returns the number of replicas that form a majority with the master. It counts the data nodes of the
   * shard, because a shard may have received replicas of another one. The count is at least that of a typical
   * shard: a replaced master still belongs to its shard, although no node reports it.
   */
  #waitReplicasOf(masterId: string | undefined): number | undefined {
    const own = (masterId === undefined ? undefined : this.#dataNodesOf.get(masterId)) ?? 0
    const dataNodes = this.#dataNodes ?? (this.#dataNodesTypical && Math.max(own, this.#dataNodesTypical))
    return dataNodes === 0 ? undefined : Math.floor(dataNodes / 2)
  }

  async #confirm(address: Address): Promise<boolean> {
    const views = await (this.#confirmation ??= this.#pollViews())
    const name = formatAddress(address)
    const holders = [...holdersOf(this.#slots, views).values()]
    return (
      holders.some((holder) => formatAddress(holder.address) === name) &&
      confirmsMaster(address, { views, voters: this.#voters })
    )
  }

  async #pollViews(): Promise<readonly ClusterView[]> {
    await pause(Math.max(0, this.#confirmedMs + confirmGapMs - performance.now()))
    this.#confirmation = undefined
    this.#confirmedMs = performance.now()
    return viewsIn(await this.#poller.freshPoll())
  }

  /** Applies the latest answers. Without a quorum the map stays as it was. */
  #update(): void {
    const views = viewsIn(this.#poller.answers)
    const quorum = quorumOf(views)
    if (quorum !== 'minority') this.#adopt(views, quorum === 'all' ? undefined : this.#holders)
    const reported = views.flatMap(({ nodes }) => nodes)
    this.#poller.setServers([...this.#target.nodes, ...this.#nodes, ...reported])
  }

  #adopt(views: readonly ClusterView[], known: Holders | undefined): void {
    this.#nodes = views.flatMap(({ nodes }) => nodes)
    this.#voters = votersIn(views)
    this.#dataNodesOf = dataNodesIn(views, this.#voters)
    this.#dataNodesTypical = Math.max(
      this.#dataNodesTypical,
      typicalDataNodes([...this.#dataNodesOf.values()]),
    )
    const before = this.#holders
    this.#holders = holdersOf(this.#slots, views, known)
    if (describe(before) === describe(this.#holders)) return
    this.#updateShards()
    const { unavailableReason: reason } = this
    if (reason !== undefined) this.#log.warn({ reason }, 'parts of the Redis Cluster are unavailable')
    for (const listener of [...this.#listeners]) listener()
  }

  #updateShards(): void {
    const held = new Map<string, Holder>()
    for (const slot of partitionSlots) {
      const holder = this.#holders.get(slot)
      if (holder) held.set(formatAddress(holder.address), holder)
    }
    const retired = [...this.#shards].filter(([name]) => !held.has(name))
    for (const [name] of retired) this.#shards.delete(name)
    for (const [name, holder] of held)
      if (!this.#shards.has(name)) this.#shards.set(name, this.#createShard(name, holder))
    this.#shardOfPartition = partitionSlots.map((slot) => {
      const address = this.#holders.get(slot)?.address
      return address && this.#shards.get(formatAddress(address))
    })
    this.#log.info({ masters: [...held.keys()] }, 'the slots of the Redis Cluster were assigned to masters')
    // This follows the update of the map, because the listeners of `retired` look up the next holder.
    for (const [, { retirement }] of retired) retirement.abort()
  }

  #createShard(name: string, holder: Holder): ClusterShard {
    const retirement = new AbortController()
    const locator = this.#createLocator(
      () => holder,
      () => undefined,
    )
    return { name, locator, retirement, retired: retirement.signal }
  }
}

function viewsIn(answers: readonly (ClusterView | PollFailure)[]): ClusterView[] {
  return answers.filter((answer) => answer.kind === 'view')
}

function describe(holders: Holders): string {
  return [...holders].map(([slot, { address }]) => `${slot} ${formatAddress(address)}`).join('\n')
}
