// The map of a Cluster: asks all its nodes all the time who holds what, and believes them while more than half of the masters speak.
import type { Log } from '../log.js'
import { describeError } from './connection.js'
import {
  askForView,
  companyOf,
  holdersOf,
  standsBy,
  votersIn,
  type ClusterView,
  type Holders,
} from './cluster-view.js'
import { partitionSlots } from './keys.js'
import type { Locator } from './locator.js'
import type { Shard, ShardMap } from './shards.js'
import { slotOf } from './slots.js'
import { Survey, type Silent, type SurveyTiming } from './survey.js'
import { formatAddress, type Address, type ClusterTarget } from './url.js'

const defaultTiming: SurveyTiming = { intervalMs: 1_000, deadlineMs: 1_000, confirmMs: 500 }

/** Thousands of replies may say within a moment that something moved. */
const refreshGapMs = 200

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
  #dataNodesSeen = 0
  #refreshedMs = -Infinity
  #refreshDue: NodeJS.Timeout | undefined

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

  /**
   * The same for all shards, the most replicas ever seen beside one master: one that is away, or has just been promoted, still belongs to the
   * majority. Undefined: not known yet.
   */
  get waitReplicas(): number | undefined {
    const dataNodes = this.#dataNodes ?? this.#dataNodesSeen
    return dataNodes === 0 ? undefined : Math.floor(dataNodes / 2)
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
    const address = () => this.#holders.get(slot)?.address
    return this.#locator(address, () => this.trouble ?? `nobody holds the slot of "${tag}"`)
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#survey.run(signal)
    clearTimeout(this.#refreshDue)
  }

  #locator(address: () => Address | undefined, trouble: () => string | undefined): Locator {
    const waitReplicas = () => this.waitReplicas
    return {
      get address() {
        return address()
      },
      get trouble() {
        return address() ? undefined : trouble()
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

  async #confirm(address: Address): Promise<boolean> {
    const views = viewsIn(await this.#survey.afresh())
    const name = formatAddress(address)
    const holders = [...holdersOf(this.#slots, views).values()]
    return (
      holders.some((holder) => formatAddress(holder.address) === name) &&
      standsBy(address, { views, voters: this.#voters })
    )
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
    for (const { masters } of views)
      for (const { replicas } of masters.values())
        this.#dataNodesSeen = Math.max(this.#dataNodesSeen, 1 + replicas)
    const before = this.#holders
    this.#holders = holdersOf(this.#slots, views, known)
    if (describe(before) === describe(this.#holders)) return
    this.#renewShards()
    for (const listener of [...this.#listeners]) listener()
  }

  #renewShards(): void {
    const held = new Map<string, Address>()
    for (const slot of partitionSlots) {
      const address = this.#holders.get(slot)?.address
      if (address) held.set(formatAddress(address), address)
    }
    const retired = [...this.#shards].filter(([name]) => !held.has(name))
    for (const [name] of retired) this.#shards.delete(name)
    for (const [name, address] of held)
      if (!this.#shards.has(name)) this.#shards.set(name, this.#shard(name, address))
    this.#ofPartitions = partitionSlots.map((slot) => {
      const address = this.#holders.get(slot)?.address
      return address && this.#shards.get(formatAddress(address))
    })
    this.#log.info({ masters: [...held.keys()] }, 'the Cluster says who holds what')
    // When the map is whole again: whoever hears of an end asks who comes after.
    for (const [, { retirement }] of retired) retirement.abort()
  }

  #shard(name: string, address: Address): ClusterShard {
    const retirement = new AbortController()
    const locator = this.#locator(
      () => address,
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
