// The stage of one fault: Redis with its Sentinels, gateways, a load; and the judgement at the end.
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
import { measured, slack } from './measures.js'
import {
  describeViolations,
  violationsOf,
  type ChannelHistory,
  type SubscriberLog,
  type Violation,
} from './oracle.js'

export interface WorldOptions extends BrokerGatewayOptions {
  readonly fault: string
  readonly trio?: TrioOptions
  /** Instead of a trio of its own. */
  readonly on?: SentinelTrio | RedisCluster
  /** Default: `worldChannels`. */
  readonly channels?: readonly Channel[]
  readonly perSecond?: number
  /** Where each of the gateways finds the Sentinels. Default: two that ask them directly. */
  readonly urls?: (trio: SentinelTrio) => Promise<readonly string[]>
}

/** The same names in both tenants: nothing may go across. */
export const worldChannels: readonly Channel[] = ['red', 'blue'].flatMap((tenant) =>
  ['one', 'two'].map((channel) => ({ tenant, channel })),
)

/** From an acknowledgement to the last subscriber that gets it, also where a gap must be filled: the bar. */
const filledBarMs = 1_000

/** What was acknowledged in the last moments before a pause may have been on its way to subscribers when it began. */
const aliveMs = 250

export interface Judging {
  /** See Run. */
  readonly storeLost?: boolean
  /** See Run. */
  readonly onlyAccepted?: boolean
  /** See Run. */
  readonly keysForgotten?: boolean
  readonly gapBarMs?: number
  /** A broker that is known to be bad: nothing is written down or promised. */
  readonly unmeasured?: boolean
}

export class World {
  readonly channels: readonly Channel[]
  readonly #redis: SentinelTrio | RedisCluster
  readonly gateways: readonly BrokerGateway[]
  readonly load: Load
  readonly fault: string
  readonly #faultsMs: number[] = []
  #healedMs = 0
  /** What is to be ended with it. */
  readonly #others: (() => Promise<unknown>)[] = []
  /** What every channel held in the end; empty before the judgement. */
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
    /** As the broker knows the tenant. */
    tenantIdOf?: (tenant: string) => string
  }) {
    this.fault = parts.fault
    this.#redis = parts.redis
    this.channels = parts.channels ?? worldChannels
    this.gateways = parts.gateways ?? []
    this.load = parts.load
    this.#logs = parts.logs
    this.#tenantIdOf = parts.tenantIdOf ?? ((tenant) => tenant)
    opened.add(this)
    if (parts.redis instanceof SentinelTrio) tried.add(parts.redis)
  }

  /** Under load, with something acknowledged in every channel. */
  static async open(options: WorldOptions): Promise<World> {
    const { channels = worldChannels, durability, fault, limits, on, perSecond = 50, spoil } = options
    const redis = on ?? (await startSentinelTrio({ downAfterMs: 1_000, ...options.trio }))
    const directly = [redis.url, redis.url]
    const urls = redis instanceof SentinelTrio ? ((await options.urls?.(redis)) ?? directly) : directly
    const gateways = await Promise.all(
      urls.map((url, index) =>
        openBrokerGateway(url, { name: `g${index}`, channels, durability, limits, spoil }),
      ),
    )
    const publishers = gateways.map(({ publisher }) => publisher)
    const load = new Load({ publishers, channels, perSecond })
    const world = new World({
      fault,
      redis,
      channels,
      gateways,
      load,
      logs: () => gateways.flatMap(({ logs }) => logs()),
    })
    load.start()
    await world.someAcks(100)
    return world
  }

  get trio(): SentinelTrio {
    if (!(this.#redis instanceof SentinelTrio)) throw new Error('this world stands on no Sentinels')
    return this.#redis
  }

  get cluster(): RedisCluster {
    if (!(this.#redis instanceof RedisCluster)) throw new Error('this world stands on no Cluster')
    return this.#redis
  }

  /** Resolves when so many publishes that begin now are acknowledged. */
  async someAcks(count = 50, deadlineMs = 30_000): Promise<void> {
    const nowMs = performance.now()
    await until(`${count} acknowledgements`, () => this.load.ackedSince(nowMs) >= count, { deadlineMs })
  }

  /** The same in every channel. */
  async someAcksEach(count = 10, deadlineMs = 30_000): Promise<void> {
    const nowMs = performance.now()
    await until(
      `${count} acknowledgements in each channel`,
      () => this.channels.every((channel) => this.load.ackedSince(nowMs, channel) >= count),
      { deadlineMs },
    )
  }

  /** Ended with the world. */
  alsoClose(close: () => Promise<unknown>): void {
    this.#others.push(close)
  }

  /** The fault begins: pauses are counted from the first call, late deliveries from each. */
  strike(): void {
    this.#faultsMs.push(performance.now())
  }

  /** Who was cut off is so no more: late deliveries are counted from here. */
  healed(): void {
    this.#healedMs = performance.now()
  }

  /** How long nobody was acknowledged anything in any one channel after the first strike. `barMs`: what was promised. */
  async pause(barMs?: number): Promise<void> {
    const spans = this.channels.flatMap((channel) => this.load.pauses(this.#faultsMs[0] ?? 0, 0, channel))
    const ms = Math.max(...spans.map((span) => span.endMs - span.fromMs))
    await measured({ fault: this.fault, what: 'publishing paused', ms, barMs })
  }

  /** A broken connection was known as broken after so long. */
  async found(ms: number): Promise<void> {
    await measured({ fault: this.fault, what: 'half-open found', ms, barMs: 10_000 })
  }

  get logs(): readonly SubscriberLog[] {
    return this.#logs()
  }

  /** The load ends, and the oracle speaks. `storeLost`: see Run. */
  async violations(judging: Judging = {}): Promise<Violation[]> {
    const { gapBarMs = filledBarMs, onlyAccepted = false, storeLost = false, unmeasured = false } = judging
    const { keysForgotten } = judging
    await this.load.stop()
    const stoppedMs = performance.now()
    if (!unmeasured) {
      const ms = await this.#delivered(stoppedMs, gapBarMs * slack)
      const barMs = storeLost || onlyAccepted ? undefined : gapBarMs
      await measured({ fault: this.fault, what: 'gaps filled', ms, barMs })
    }
    // What nobody was promised may lie in a stream and wait for the next message: this is it.
    for (const channel of this.channels) {
      const { outcome } = await this.load.sendOne(channel)
      expect(outcome, 'the last message').toBe('acked')
    }
    const histories = await this.#histories()
    this.histories = histories
    await until('the ends of all channels', () => this.logs.every((log) => hasReached(log, histories)), {
      deadlineMs: gapBarMs * slack,
    }).catch(() => {})
    const { sent } = this.load
    return violationsOf({ sent, logs: this.logs, histories, storeLost, onlyAccepted, keysForgotten })
  }

  /** No violation, and everything ended. */
  async judge(options: Judging = {}): Promise<void> {
    try {
      const found = await this.violations(options)
      expect(describeViolations(found), `${this.fault}: ${JSON.stringify(this.load.failures())}`).toBe('')
    } finally {
      await this.close()
    }
  }

  /** Again: no effect. */
  async close(): Promise<void> {
    if (!opened.delete(this)) return
    await this.load.abandon()
    await Promise.all(this.gateways.map(({ broker }) => broker.close()))
    await Promise.all(this.#others.map((close) => close()))
  }

  /** How late was the latest of what was acknowledged? Waits for what is missing, but not for ever. */
  async #delivered(stoppedMs: number, patienceMs: number): Promise<number> {
    const fromMs = this.#faultsMs[0] ?? 0
    // While nobody is acknowledged anything in a channel, or somebody is cut off by us, nothing is late in it: the promise counts from the
    // end of that.
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
          // What came before a mark was given up, and said so.
          else if (ackedMs > markMs) missing += 1
        }
      }
      if (missing === 0) return latestMs
      const waitedMs = performance.now() - stoppedMs
      if (waitedMs > patienceMs) return Math.max(latestMs, waitedMs)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** All channels as they are in the end, read by somebody who was not there. */
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

/** Brokers carry the text itself, doors a JSON object around it. */
function textOf(data: Uint8Array): string {
  const text = Buffer.from(data).toString()
  return text.startsWith('{') ? (JSON.parse(text) as { t: string }).t : text
}

function hasReached(log: SubscriberLog, histories: readonly ChannelHistory[]): boolean {
  const history = histories.find(({ channel, tenant }) => channel === log.channel && tenant === log.tenant)
  const last = log.items.at(-1)?.position
  return last?.epoch === history?.epoch && last?.offset === history?.entries.at(-1)?.offset
}

const opened = new Set<World>()
const tried = new Set<SentinelTrio>()

/** The machine had no time for us, and what should have stayed as it was did not. */
export class StarvedError extends Error {}

/** A Sentinel that got no CPU does nothing for 30 s (TILT), a connection that got none is given up: the fault is repeated then, never the assertion. */
export async function unlessStarved(run: () => Promise<void>): Promise<void> {
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
      const why = starved ? error.message : 'a Sentinel went into TILT'
      console.warn(`${why}: the fault is repeated`)
    } finally {
      for (const world of opened) await world.close()
      await endRedisProcesses()
    }
  }
}
