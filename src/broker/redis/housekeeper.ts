// The work that a gateway does for one shard about once a second, beside publishes and reads: it measures the
// clock and the memory of the master, reads what the histories of tenants occupy, and sweeps.
import { describeError } from '../../redis/connection.js'
import { storedBytesKey } from '../../redis/keys.js'
import type { LiveRedis, RedisLink } from '../../redis/link.js'
import type { ServerTime } from '../../redis/server-time.js'
import type { Log } from '../../log.js'
import type { After, Clock } from '../../time.js'
import type { HistoryPolicies } from '../storage.js'
import type { MemoryGauge } from './memory-gauge.js'
import type { StoredBytes } from './stored-bytes.js'
import type { Sweeper } from './sweeper.js'

const intervalMs = 1_000
/** The most sums that one pipeline reads. */
const sumsMax = 2_048

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
    options.link.onOpen(() => this.#schedule(0))
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
      this.#work()
        .then(
          () => this.#report(undefined),
          (error: unknown) => this.#report(error),
        )
        .finally(() => {
          // Without a connection the link calls `onOpen` again.
          if (this.#options.link.current && !this.#cancel) this.#schedule(intervalMs)
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
    const { partitions, storedBytes } = this.#options
    const reads = this.#takeDue().flatMap((tenantId) =>
      partitions().map((partition) => ({ tenantId, partition })),
    )
    for (let at = 0; at < reads.length; at += sumsMax) {
      const part = reads.slice(at, at + sumsMax)
      const pipeline = live.client.pipeline()
      for (const { partition, tenantId } of part) pipeline.hget(storedBytesKey(tenantId, partition), '')
      const replies = await live.run(pipeline)
      part.forEach(({ partition, tenantId }, index) => {
        const reply = replies[index]
        if (!(reply instanceof Error)) storedBytes.set(tenantId, partition, Number(reply ?? 0))
      })
    }
  }

  /** Returns the tenants whose sums are to be read now, and counts them as read. */
  #takeDue(): string[] {
    const { clock, policies, storedBytes } = this.#options
    const nowMs = clock.monotonicMs()
    const readAtMs = new Map<string, number>()
    const due: string[] = []
    for (const quota of policies().tenants()) {
      const { tenantId } = quota
      const lastMs = this.#readAtMs.get(tenantId) ?? -Infinity
      const isDue = nowMs - lastMs >= storedBytes.usableMs(quota)
      if (isDue) due.push(tenantId)
      readAtMs.set(tenantId, isDue ? nowMs : lastMs)
    }
    this.#readAtMs = readAtMs
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
