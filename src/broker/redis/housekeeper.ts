// The work that a gateway does for one shard about once a second, beside publishes and reads: it measures the
// clock and the memory of the master, reads what the histories of tenants occupy, and sweeps.
import { describeError } from '../../redis/connection.js'
import { storedBytesKey } from '../../redis/keys.js'
import type { LiveRedis, RedisLink } from '../../redis/link.js'
import type { ServerTime } from '../../redis/server-time.js'
import { addScript } from '../../redis/scripts.js'
import type { Log } from '../../log.js'
import type { After, Clock } from '../../time.js'
import type { HistoryPolicies } from '../storage.js'
import type { MemoryGauge } from './memory-gauge.js'
import type { StoredBytes } from './stored-bytes.js'
import { readSums } from './sweep-scripts.js'
import type { Sweeper } from './sweeper.js'

const intervalMs = 1_000
/** The most sums that one command reads, and the most commands of one pipeline. */
const sumsMax = 16
const commandsMax = 128
/**
 * The most tenants whose sums one call reads for the first time on a connection: a failover must not make all
 * gateways read everything at once.
 */
const firstReadingsMax = 256

export interface HousekeeperOptions {
  readonly link: RedisLink
  /** Aborted when the shard holds no partition any more. */
  readonly retired: AbortSignal
  readonly gatewayId: string
  readonly partitions: () => readonly number[]
  readonly policies: () => HistoryPolicies
  readonly storedBytes: StoredBytes
  readonly sweeper: Sweeper
  readonly memory: MemoryGauge
  readonly time: ServerTime
  readonly clock: Clock
  readonly after: After
  readonly log: Log
}

/** The sums of some tenants in one partition. */
interface SumsRead {
  readonly partition: number
  readonly tenantIds: readonly string[]
}

export class Housekeeper {
  readonly #options: HousekeeperOptions
  /** The tenants whose rules have changed. */
  readonly #changed = new Set<string>()
  /** When the sums of each tenant were last read, in milliseconds of the monotonic clock. */
  #readAtMs = new Map<string, number>()
  #cancel: (() => void) | undefined
  #closed = false
  #failing = false

  constructor(options: HousekeeperOptions) {
    this.#options = options
    options.retired.addEventListener('abort', () => this.close(), { once: true })
    options.link.onOpen(() => {
      // Another master may have other sums.
      this.#readAtMs = new Map()
      this.#schedule(0)
    })
  }

  get memory(): MemoryGauge {
    return this.#options.memory
  }

  get time(): ServerTime {
    return this.#options.time
  }

  /** Applies the changed rules of a tenant to what is stored. */
  recheck(tenantId: string): void {
    this.#changed.add(tenantId)
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return
    this.#cancel?.()
    this.#cancel = this.#options.after(delayMs, () => {
      this.#cancel = undefined
      const { clock } = this.#options
      const startedMs = clock.monotonicMs()
      this.#work()
        .then(
          () => this.#report(undefined),
          (error: unknown) => this.#report(error),
        )
        .finally(() => {
          // Without a connection the link calls `onOpen` again.
          if (!this.#options.link.current || this.#cancel) return
          this.#schedule(Math.max(0, intervalMs - (clock.monotonicMs() - startedMs)))
        })
    })
  }

  async #work(): Promise<void> {
    const { gatewayId, link, memory, sweeper, time } = this.#options
    const live = link.current
    if (!live) return
    await time.measure(live)
    const [info] = await live.run(live.client.pipeline().info('memory'))
    memory.record(String(info))
    await this.#readSums(live)
    for (const tenantId of this.#changed) {
      await sweeper.recheck(live, tenantId)
      this.#changed.delete(tenantId)
    }
    await sweeper.sweep(live)
    await sweeper.list(live, gatewayId)
  }

  async #readSums(live: LiveRedis): Promise<void> {
    const due = this.#takeDue()
    const partitions = this.#options.partitions()
    const reads: SumsRead[] = []
    for (let at = 0; at < due.length; at += sumsMax)
      for (const partition of partitions) reads.push({ partition, tenantIds: due.slice(at, at + sumsMax) })
    try {
      for (let at = 0; at < reads.length; at += commandsMax)
        await this.#readPart(live, reads.slice(at, at + commandsMax))
    } catch (error) {
      for (const tenantId of due) this.#readAtMs.delete(tenantId)
      throw error
    }
  }

  async #readPart(live: LiveRedis, reads: readonly SumsRead[]): Promise<void> {
    const pipeline = live.client.pipeline()
    for (const { partition, tenantIds } of reads)
      addScript(pipeline, readSums, {
        keys: tenantIds.map((tenantId) => storedBytesKey(tenantId, partition)),
        args: [],
      })
    const replies = await live.run(pipeline)
    reads.forEach(({ partition, tenantIds }, index) => {
      const reply = replies[index]
      const sums: unknown[] | undefined = Array.isArray(reply) ? reply : undefined
      if (reply instanceof Error && reply.message.startsWith('NOSCRIPT'))
        live.discard('the scripts of the node were flushed')
      tenantIds.forEach((tenantId, at) => {
        // The partition moves to another shard at the moment: the sums are read again.
        if (!sums) this.#readAtMs.delete(tenantId)
        else this.#options.storedBytes.set(tenantId, partition, Number(sums[at]))
      })
    })
  }

  /** Returns the tenants whose sums are to be read now, and counts them as read. Forgets unknown tenants. */
  #takeDue(): string[] {
    const { clock, policies, storedBytes } = this.#options
    const nowMs = clock.monotonicMs()
    const readAtMs = new Map<string, number>()
    const due: string[] = []
    let first = 0
    for (const quota of policies().tenants()) {
      const { tenantId } = quota
      const lastMs = this.#readAtMs.get(tenantId) ?? -Infinity
      const usableMs = storedBytes.usableMs(quota)
      let isDue = nowMs - lastMs >= usableMs
      // A tenant that could reach its quota within two seconds does not wait.
      if (isDue && lastMs === -Infinity && usableMs > intervalMs) {
        first += 1
        isDue = first <= firstReadingsMax
      }
      if (isDue) due.push(tenantId)
      readAtMs.set(tenantId, isDue ? nowMs : lastMs)
    }
    this.#readAtMs = readAtMs
    // Sweeps report the sums of all tenants. Without policies nothing is known about the tenants.
    if (readAtMs.size > 0) storedBytes.keepOnly(readAtMs)
    return due
  }

  /** Logs the first of several failures. A lost connection is logged by the link. */
  #report(error: unknown): void {
    if (error !== undefined && !this.#failing && !this.#closed)
      this.#options.log.warn(
        { reason: describeError(error) },
        'the sweep of expired history failed; the gateway tries again every second',
      )
    this.#failing = error !== undefined
  }
}
