// The map of a Cluster: asks all its nodes all the time who holds what, and believes them while more than half of the masters speak.
import type { Log } from '../../log.js'
import { describeError } from '../connection.js'
import { pause } from '../../deadline.js'
import {
  askForView,
  companyOf,
  dataNodesIn,
  holdersOf,
  standsBy,
  usualOf,
  votersIn,
  type ClusterView,
  type Holder,
  type Holders,
} from './cluster-view.js'
import { partitionSlots } from '../keys.js'
import type { Locator } from './locator.js'
import type { Shard, ShardMap } from './shards.js'
import { slotOf } from '../slots.js'
import { Survey, type Silent, type SurveyTiming } from './poller.js'
import { formatAddress, type Address, type ClusterTarget } from '../url.js'

const defaultTiming: SurveyTiming = { intervalMs: 1_000, deadlineMs: 1_000, confirmMs: 500 }

/** Thousands of replies may say within a moment that something moved. */
const refreshGapMs = 200

/** While a master is new, each group of publishes wants it confirmed, on every gateway: they share what all nodes are asked. */
const confirmGapMs = 50

/** No node gives up another earlier: `cluster-node-timeout` must be no shorter. */
const silenceMs = 1_000

export interface ClusterMapOptions {
  readonly log: Log
  /** Of each shard, the master one of them, when the operator says it. */
  readonly dataNodes?: number | undefined
  readonly timing?: Partial<SurveyTiming> | undefined
}

interface ClusterShard extends Shard {
  readonly retirement: AbortController
}

export class ClusterMap implements ShardMap {
  readonly #target: ClusterTarget
  readonly #log: Log
  readonly #survey: Survey<ClusterView>
  readonly #listeners = new Set<() => void>()
  /** Those that somebody wants to know of: of each partition, and of each tag that was asked for. */
  readonly #slots = new Set<number>(partitionSlots)
  #holders: Holders = new Map()
  /** By address. */
  readonly #shards = new Map<string, ClusterShard>()
  /** Asked for with each publish. */
  #ofPartitions: readonly (Shard | undefined)[] = []
  /** Ids of the masters as last believed. */
  #voters: ReadonlySet<string> = new Set()
  /** As last believed. */
  #nodes: readonly Address[] = []
  readonly #dataNodes: number | undefined
  /** By the master's id, as last believed. */
  #dataNodesOf: ReadonlyMap<string, number> = new Map()
  /** Of a shard like most: the most that it ever was. */
  #dataNodesUsual = 0
  #refreshedMs = -Infinity
  #refreshDue: NodeJS.Timeout | undefined
  /** Those who ask before it begins get its answers. */
  #confirmation: Promise<readonly ClusterView[]> | undefined
  #confirmedMs = -Infinity

  constructor(target: ClusterTarget, { dataNodes, log, timing }: ClusterMapOptions) {
    this.#target = target
    this.#log = log
    this.#dataNodes = dataNodes
    const { deadlineMs, ...rest } = { ...defaultTiming, ...timing }
    const { login, tls } = target
    this.#survey = new Survey<ClusterView>(target.nodes, {
      login,
      tls,
      timing: { deadlineMs, ...rest },
      ask: (connection, asked) => askForView(connection, { asked, deadlineMs }),
      onAnswer: () => this.#look(),
    })
  }

  get shards(): readonly Shard[] {
    return [...this.#shards.values()]
  }

  holderOf(partition: number): Shard | undefined {
    return this.#ofPartitions[partition]
  }

  /** Those that hold a slot that matters, whether or not a partition is in it. */
  get masters(): readonly Address[] {
    return [
      ...new Map(
        [...this.#holders.values()].map(({ address }) => [formatAddress(address), address]),
      ).values(),
    ]
  }

  /** Why the map is unknown, has holes or cannot be checked; undefined when all is well. */
  get trouble(): string | undefined {
    const { answers, serverCount } = this.#survey
    const views = answers.filter((answer) => answer.kind === 'view')
    if (companyOf(views) !== 'few')
      return this.#holders.size < this.#slots.size
        ? 'some slots of the Cluster are held by nobody'
        : undefined
    if (views.length > 0 && views.every(({ masters }) => masters.size === 0))
      return 'no slot of the Cluster is held by anybody'
    const silent = answers.find((answer) => answer.kind === 'silent')
    const why = silent ? ` (${describeError(silent.reason)})` : ''
    if (views.length === 0) return `no node of the Cluster tells who holds what${why}`
    return `${views.length} of ${serverCount} nodes of the Cluster tell who holds what: too few to be believed${why}`
  }

  /** In a shard like most. Undefined: not known yet. */
  get waitReplicas(): number | undefined {
    return this.#waitReplicasOf(undefined)
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  refresh(): void {
    if (this.#refreshDue) return
    const waitMs = Math.max(0, this.#refreshedMs + refreshGapMs - performance.now())
    this.#refreshDue = setTimeout(() => {
      this.#refreshDue = undefined
      this.#refreshedMs = performance.now()
      this.#survey.hurry()
    }, waitMs).unref()
  }

  /** Where everything is whose keys bear this tag, whoever holds its slot. For those who keep all they have in one slot. */
  locatorOf(tag: string): Locator {
    const slot = slotOf(tag)
    this.#slots.add(slot)
    this.#look()
    const holder = () => this.#holders.get(slot)
    return this.#locator(holder, () => this.trouble ?? `nobody holds the slot of "${tag}"`)
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#survey.run(signal)
    clearTimeout(this.#refreshDue)
  }

  #locator(holder: () => Holder | undefined, trouble: () => string | undefined): Locator {
    const waitReplicas = () => this.#waitReplicasOf(holder()?.id)
    return {
      get address() {
        return holder()?.address
      },
      get trouble() {
        return holder() ? undefined : trouble()
      },
      mistake: undefined,
      get waitReplicas() {
        return waitReplicas()
      },
      confirm: (asked) => this.#confirm(asked),
      silenceMs,
      onChange: (listener) => this.onChange(listener),
      // The map does it for all.
      run: async () => {},
    }
  }

  /**
   * By its own data nodes: one that was emptied leaves its nodes to another shard, and nobody else has them. And by no fewer than most shards
   * had: a master that was replaced belongs to its shard, though no node tells so.
   */
  #waitReplicasOf(masterId: string | undefined): number | undefined {
    const own = (masterId === undefined ? undefined : this.#dataNodesOf.get(masterId)) ?? 0
    const dataNodes = this.#dataNodes ?? (this.#dataNodesUsual && Math.max(own, this.#dataNodesUsual))
    return dataNodes === 0 ? undefined : Math.floor(dataNodes / 2)
  }

  async #confirm(address: Address): Promise<boolean> {
    const views = await (this.#confirmation ??= this.#askAll())
    const name = formatAddress(address)
    const holders = [...holdersOf(this.#slots, views).values()]
    return (
      holders.some((holder) => formatAddress(holder.address) === name) &&
      standsBy(address, { views, voters: this.#voters })
    )
  }

  async #askAll(): Promise<readonly ClusterView[]> {
    await pause(Math.max(0, this.#confirmedMs + confirmGapMs - performance.now()))
    this.#confirmation = undefined
    this.#confirmedMs = performance.now()
    return viewsIn(await this.#survey.afresh())
  }

  /** Takes up what has come. As long as nobody can be believed, all stays as it was. */
  #look(): void {
    const views = viewsIn(this.#survey.answers)
    const company = companyOf(views)
    if (company !== 'few') this.#adopt(views, company === 'all' ? undefined : this.#holders)
    const told = views.flatMap(({ nodes }) => nodes)
    this.#survey.setServers([...this.#target.nodes, ...this.#nodes, ...told])
  }

  #adopt(views: readonly ClusterView[], known: Holders | undefined): void {
    this.#nodes = views.flatMap(({ nodes }) => nodes)
    this.#voters = votersIn(views)
    this.#dataNodesOf = dataNodesIn(views, this.#voters)
    this.#dataNodesUsual = Math.max(this.#dataNodesUsual, usualOf([...this.#dataNodesOf.values()]))
    const before = this.#holders
    this.#holders = holdersOf(this.#slots, views, known)
    if (describe(before) === describe(this.#holders)) return
    this.#renewShards()
    const { trouble } = this
    if (trouble !== undefined) this.#log.warn({ reason: trouble }, 'not all of the Cluster can be reached')
    for (const listener of [...this.#listeners]) listener()
  }

  #renewShards(): void {
    const held = new Map<string, Holder>()
    for (const slot of partitionSlots) {
      const holder = this.#holders.get(slot)
      if (holder) held.set(formatAddress(holder.address), holder)
    }
    const retired = [...this.#shards].filter(([name]) => !held.has(name))
    for (const [name] of retired) this.#shards.delete(name)
    for (const [name, holder] of held)
      if (!this.#shards.has(name)) this.#shards.set(name, this.#shard(name, holder))
    this.#ofPartitions = partitionSlots.map((slot) => {
      const address = this.#holders.get(slot)?.address
      return address && this.#shards.get(formatAddress(address))
    })
    this.#log.info({ masters: [...held.keys()] }, 'the Cluster says who holds what')
    // When the map is whole again: whoever hears of an end asks who comes after.
    for (const [, { retirement }] of retired) retirement.abort()
  }

  #shard(name: string, holder: Holder): ClusterShard {
    const retirement = new AbortController()
    const locator = this.#locator(
      () => holder,
      () => undefined,
    )
    return { name, locator, retirement, retired: retirement.signal }
  }
}

function viewsIn(answers: readonly (ClusterView | Silent)[]): ClusterView[] {
  return answers.filter((answer) => answer.kind === 'view')
}

function describe(holders: Holders): string {
  return [...holders].map(([slot, { address }]) => `${slot} ${formatAddress(address)}`).join('\n')
}
