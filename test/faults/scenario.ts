// One run of a fault: Redis with its Sentinels or a Cluster, gateways, a load, and the verification at the
// end.
import { expect } from 'vitest'
import type { Position, Publication } from '../../src/broker/broker.js'
import { RedisCluster } from '../support/redis-cluster.js'
import { openTestBroker } from '../support/redis-gateway.js'
import {
  endRedisProcesses,
  startSentinelTrio,
  until,
  SentinelTrio,
  type TrioOptions,
} from '../support/redis-processes.js'
import { openBrokerGateway, type BrokerGateway, type BrokerGatewayOptions } from './brokers.js'
import { Load, type Channel } from './load.js'
import { recordMeasurement, slack } from './measurements.js'
import {
  describeViolations,
  findViolations,
  type ChannelHistory,
  type SubscriberLog,
  type Violation,
} from './oracle.js'

export interface ScenarioOptions extends BrokerGatewayOptions {
  readonly fault: string
  readonly trio?: TrioOptions
  /** Redis to use. Default: a new trio with Sentinels. */
  readonly on?: SentinelTrio | RedisCluster
  /** Default: `defaultChannels`. */
  readonly channels?: readonly Channel[]
  readonly perSecond?: number
  /** The Redis URL of each gateway. Default: two gateways that connect to the Sentinels directly. */
  readonly urls?: (trio: SentinelTrio) => Promise<readonly string[]>
}

/** Both tenants have the same channel names, to detect deliveries across tenants. */
export const defaultChannels: readonly Channel[] = ['red', 'blue'].flatMap((tenant) =>
  ['one', 'two'].map((channel) => ({ tenant, channel })),
)

/**
 * Target for the time from an acknowledgement to the delivery to the last subscriber, including the filling
 * of gaps.
 */
const deliveryTargetMs = 1_000

/**
 * Publications acknowledged in this time before a pause may still have been in transit when the pause began.
 */
const aliveMs = 250

export interface VerifyOptions {
  /** See RunRecord. */
  readonly storeLost?: boolean
  /** See RunRecord. */
  readonly onlyAccepted?: boolean
  /** See RunRecord. */
  readonly keysForgotten?: boolean
  readonly gapTargetMs?: number
  /** For a broker with a deliberate fault: records no measurements and checks no targets. */
  readonly unmeasured?: boolean
}

export class Scenario {
  readonly channels: readonly Channel[]
  readonly #redis: SentinelTrio | RedisCluster
  readonly gateways: readonly BrokerGateway[]
  readonly load: Load
  readonly fault: string
  readonly #faultsMs: number[] = []
  #healedMs = 0
  /** Called by `close`. */
  readonly #others: (() => Promise<unknown>)[] = []
  /** The final history of every channel. Empty before the verification. */
  histories: readonly ChannelHistory[] = []

  readonly #logs: () => readonly SubscriberLog[]
  readonly #tenantIdOf: (tenant: string) => string

  constructor(parts: {
    fault: string
    redis: SentinelTrio | RedisCluster
    channels?: readonly Channel[]
    load: Load
    logs: () => readonly SubscriberLog[]
    gateways?: readonly BrokerGateway[]
    /** Returns the tenant's ID in the broker. Default: the name. */
    tenantIdOf?: (tenant: string) => string
  }) {
    this.fault = parts.fault
    this.#redis = parts.redis
    this.channels = parts.channels ?? defaultChannels
    this.gateways = parts.gateways ?? []
    this.load = parts.load
    this.#logs = parts.logs
    this.#tenantIdOf = parts.tenantIdOf ?? ((tenant) => tenant)
    opened.add(this)
    if (parts.redis instanceof SentinelTrio) tried.add(parts.redis)
  }

  /** Starts everything. Resolves when 100 publishes were acknowledged. */
  static async open(options: ScenarioOptions): Promise<Scenario> {
    const { channels = defaultChannels, durability, fault, limits, on, perSecond = 50, brokerFault } = options
    const redis = on ?? (await startSentinelTrio({ downAfterMs: 1_000, ...options.trio }))
    const defaultUrls = [redis.url, redis.url]
    const urls = redis instanceof SentinelTrio ? ((await options.urls?.(redis)) ?? defaultUrls) : defaultUrls
    const gateways = await Promise.all(
      urls.map((url, index) =>
        openBrokerGateway(url, { name: `g${index}`, channels, durability, limits, brokerFault }),
      ),
    )
    const publishers = gateways.map(({ publisher }) => publisher)
    const load = new Load({ publishers, channels, perSecond })
    const scenario = new Scenario({
      fault,
      redis,
      channels,
      gateways,
      load,
      logs: () => gateways.flatMap(({ logs }) => logs()),
    })
    load.start()
    await scenario.waitForAcks(100)
    return scenario
  }

  get trio(): SentinelTrio {
    if (!(this.#redis instanceof SentinelTrio)) throw new Error('this scenario does not use Sentinels')
    return this.#redis
  }

  get cluster(): RedisCluster {
    if (!(this.#redis instanceof RedisCluster)) throw new Error('this scenario does not use a Cluster')
    return this.#redis
  }

  /** Resolves when `count` publishes that start from now on are acknowledged. */
  async waitForAcks(count = 50, deadlineMs = 30_000): Promise<void> {
    const nowMs = performance.now()
    await until(`${count} acknowledgements`, () => this.load.ackedSince(nowMs) >= count, { deadlineMs })
  }

  /** Resolves when `count` publishes that start from now on are acknowledged in every channel. */
  async waitForAcksInEachChannel(count = 10, deadlineMs = 30_000): Promise<void> {
    const nowMs = performance.now()
    await until(
      `${count} acknowledgements in each channel`,
      () => this.channels.every((channel) => this.load.ackedSince(nowMs, channel) >= count),
      { deadlineMs },
    )
  }

  /** Registers a function that `close` calls. */
  onClose(close: () => Promise<unknown>): void {
    this.#others.push(close)
  }

  /** Marks the start of a fault. Pauses count from the first call, late deliveries from every call. */
  markFault(): void {
    this.#faultsMs.push(performance.now())
  }

  /**
   * Marks the end of the fault: gateways that were cut off are connected again. Late deliveries count from
   * here.
   */
  markHealed(): void {
    this.#healedMs = performance.now()
  }

  /**
   * Records the longest pause of publishing in any channel after the start of the fault. `targetMs`: the
   * target, if there is one.
   */
  async measurePause(targetMs?: number): Promise<void> {
    const spans = this.channels.flatMap((channel) => this.load.pauses(this.#faultsMs[0] ?? 0, 0, channel))
    const ms = Math.max(...spans.map((span) => span.endMs - span.fromMs))
    await recordMeasurement({ fault: this.fault, what: 'publishing paused', ms, targetMs })
  }

  /** Records the time after which a half-open connection was detected. */
  async measureDetection(ms: number): Promise<void> {
    await recordMeasurement({ fault: this.fault, what: 'half-open detected', ms, targetMs: 10_000 })
  }

  get logs(): readonly SubscriberLog[] {
    return this.#logs()
  }

  /** Stops the load and returns the violations that the oracle finds. */
  async violations(options: VerifyOptions = {}): Promise<Violation[]> {
    const {
      gapTargetMs = deliveryTargetMs,
      onlyAccepted = false,
      storeLost = false,
      unmeasured = false,
    } = options
    const { keysForgotten } = options
    await this.load.stop()
    const stoppedMs = performance.now()
    if (!unmeasured) {
      const ms = await this.#delivered(stoppedMs, gapTargetMs * slack)
      const targetMs = storeLost || onlyAccepted ? undefined : gapTargetMs
      await recordMeasurement({ fault: this.fault, what: 'gaps filled', ms, targetMs })
    }
    // Publications without a promise may remain in a stream until the next message is delivered, so one more
    // is sent.
    for (const channel of this.channels) {
      const { outcome } = await this.load.sendOne(channel)
      expect(outcome, 'the last message').toBe('acked')
    }
    const histories = await this.#histories()
    this.histories = histories
    await until('the ends of all channels', () => this.logs.every((log) => hasReached(log, histories)), {
      deadlineMs: gapTargetMs * slack,
    }).catch(() => {})
    const { sent } = this.load
    return findViolations({ sent, logs: this.logs, histories, storeLost, onlyAccepted, keysForgotten })
  }

  /** Expects no violation, and closes everything. */
  async verify(options: VerifyOptions = {}): Promise<void> {
    try {
      const found = await this.violations(options)
      expect(describeViolations(found), `${this.fault}: ${JSON.stringify(this.load.failures())}`).toBe('')
    } finally {
      await this.close()
    }
  }

  /** Closes everything. A second call has no effect. */
  async close(): Promise<void> {
    if (!opened.delete(this)) return
    await this.load.abandon()
    await Promise.all(this.gateways.map(({ broker }) => broker.close()))
    await Promise.all(this.#others.map((close) => close()))
  }

  /**
   * The delay of the latest delivery of an acknowledged publish. Waits for missing deliveries for at most
   * `patienceMs`.
   */
  async #delivered(stoppedMs: number, patienceMs: number): Promise<number> {
    const fromMs = this.#faultsMs[0] ?? 0
    // Delays count from the end of a pause of the channel, and from the end of a partition that the test
    // itself created.
    const excused = new Map(
      this.channels.map((channel) => [
        `${channel.tenant} ${channel.channel}`,
        [...this.load.pauses(fromMs, 500, channel), { fromMs, endMs: this.#healedMs }],
      ]),
    )
    const lateness = (name: string, ackedMs: number, atMs: number): number => {
      const starts = (excused.get(name) ?? [])
        .filter(({ endMs, fromMs: beginMs }) => endMs > ackedMs && beginMs <= ackedMs + aliveMs)
        .map(({ endMs }) => endMs)
      return atMs - Math.max(ackedMs, ...starts)
    }
    for (;;) {
      let latestMs = 0
      let missing = 0
      for (const log of this.logs) {
        const receivedMs = new Map<string, number>()
        let markMs = 0
        for (const item of log.items) {
          if (item.kind === 'received') receivedMs.set(item.text, item.atMs)
          else markMs = item.atMs
        }
        for (const { ackedMs = 0, channel, tenant, text } of this.load.acked) {
          if (channel !== log.channel || tenant !== log.tenant || ackedMs < fromMs) continue
          const atMs = receivedMs.get(text)
          if (atMs !== undefined)
            latestMs = Math.max(latestMs, lateness(`${tenant} ${channel}`, ackedMs, atMs))
          // Publications before a mark are excused, because the subscriber was notified of the gap.
          else if (ackedMs > markMs) missing += 1
        }
      }
      if (missing === 0) return latestMs
      const waitedMs = performance.now() - stoppedMs
      if (waitedMs > patienceMs) return Math.max(latestMs, waitedMs)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Reads the final history of all channels through a new broker. */
  async #histories(): Promise<ChannelHistory[]> {
    const reader = openTestBroker(this.#redis.url)
    try {
      const histories: ChannelHistory[] = []
      for (const channel of this.channels) {
        const entries: Publication[] = []
        let since: Position | undefined
        for (;;) {
          const page = await until(
            'a page of history',
            () =>
              reader.broker.history(
                { tenantId: this.#tenantIdOf(channel.tenant), channel: channel.channel },
                { limit: 1_000, since },
              ),
            { deadlineMs: 20_000, everyMs: 200 },
          )
          entries.push(...page.publications)
          since = entries.at(-1)
          if (page.publications.length > 0) continue
          const texts = entries.map(({ data, offset }) => ({ offset, text: textOf(data) }))
          histories.push({ ...channel, epoch: page.top.epoch, entries: texts })
          break
        }
      }
      return histories
    } finally {
      await reader.close()
    }
  }
}

/** Brokers carry the plain text. Endpoints wrap it in a JSON object. */
function textOf(data: Uint8Array): string {
  const text = Buffer.from(data).toString()
  return text.startsWith('{') ? (JSON.parse(text) as { t: string }).t : text
}

function hasReached(log: SubscriberLog, histories: readonly ChannelHistory[]): boolean {
  const history = histories.find(({ channel, tenant }) => channel === log.channel && tenant === log.tenant)
  const last = log.items.at(-1)?.position
  return last?.epoch === history?.epoch && last?.offset === history?.entries.at(-1)?.offset
}

const opened = new Set<Scenario>()
const tried = new Set<SentinelTrio>()

/** The machine was too busy, so the fault did not run as intended. */
export class StarvedError extends Error {}

/**
 * Runs a fault, up to three times when the machine was too busy: a Sentinel without CPU does nothing for 30 s
 * (TILT), and a connection without CPU is closed. The whole fault is repeated, never a single assertion.
 */
export async function retryWhenStarved(run: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    tried.clear()
    try {
      return await run()
    } catch (error) {
      const tilted = [...tried].some(({ sentinels }) =>
        sentinels.some(({ output }) => output.includes('+tilt')),
      )
      const starved = error instanceof StarvedError
      if ((!tilted && !starved) || attempt === 3) throw error
      const why = starved ? error.message : 'a Sentinel entered TILT mode'
      console.warn(`${why}: repeating the fault`)
    } finally {
      for (const scenario of opened) await scenario.close()
      await endRedisProcesses()
    }
  }
}
