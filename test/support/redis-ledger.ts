// Starts gateways that share quotas through a real Redis, for tests. Each gateway has its own link and can be
// closed or killed.
import { createLog } from '../../src/log.js'
import { leaseKey, quotasTag } from '../../src/redis/keys.js'
import { ManagedLink } from '../../src/redis/managed-link.js'
import { loadLedgerScripts, RedisLedger, type LedgerTiming } from '../../src/quota/redis/ledger.js'
import type {
  ChannelLimits,
  ChannelSource,
  ChannelUse,
  ConnectionLimits,
  LeaseListener,
  TenantLease,
} from '../../src/quota/ledger.js'
import { ActiveChannels } from '../../src/session/tenant/active-channels.js'
import { systemClock, type Clock } from '../../src/time.js'
import { linkTopology } from './redis-links.js'
import type { RedisProcess } from './redis-processes.js'

/** Uses no channels. */
const noChannels: ChannelSource = {
  channelLimits: () => ({ max: 1_000, subscribers: 1_000 }),
  count: () => 0,
  useOf: () => undefined,
}
const ignoringListener: LeaseListener = {
  channels: noChannels,
  perSecond: () => 0,
  sharesChanged() {},
  usedByOthers() {},
}

export interface LedgerGateway {
  readonly ledger: RedisLedger
  readonly link: ManagedLink
  readonly lease: TenantLease
  open(tenantId: string, listener?: LeaseListener): TenantLease
  /** Ends the gateway without writing anything, as kill -9 does. */
  kill(): Promise<void>
  close(): Promise<void>
}

/** The channels of a tenant on one gateway, which the tenant's lease reads. */
export class TestChannels implements ChannelSource {
  readonly #active = new ActiveChannels(systemClock)
  readonly #limits: ChannelLimits
  readonly #lease: TenantLease

  constructor(gateway: LedgerGateway, limits: ChannelLimits, tenantId = 't1') {
    this.#limits = limits
    this.#lease = gateway.open(tenantId, { ...ignoringListener, channels: this })
    this.#active.onChange = (channel) => this.#lease.channels.changed(channel)
  }

  channelLimits(): ChannelLimits {
    return this.#limits
  }

  count(): number {
    return this.#active.count()
  }

  useOf(channel: string): ChannelUse | undefined {
    return this.#active.useOf(channel)
  }

  get usedByAll(): number {
    return this.#lease.channels.usedByAll
  }

  /** Subscribes like a session. Resolves with the limit that refuses it, or with undefined. */
  async subscribe(channel: string): Promise<string | undefined> {
    const answer = this.#lease.channels.admit(channel, { subscribe: true })
    this.#active.addSubscriber(channel)
    const refusal = await answer
    if (refusal) this.#active.removeSubscriber(channel)
    return refusal?.limit
  }

  /** Subscribes regardless of the limits, like a session whose tenant's quota is not enforced. */
  async subscribeAnyway(channel: string): Promise<void> {
    const answer = this.#lease.channels.admit(channel, { subscribe: true })
    this.#active.addSubscriber(channel)
    if (await answer) this.#lease.channels.count(channel)
  }

  /** Whether a subscribe would have to wait for Redis. */
  waits(channel: string): boolean {
    return this.#lease.channels.admit(channel, { subscribe: true }) instanceof Promise
  }

  leave(channel: string): void {
    this.#active.removeSubscriber(channel)
  }

  /** Publishes with history. Resolves with the limit that refuses it, or with undefined. */
  async publish(channel: string, ttlMs: number): Promise<string | undefined> {
    const refusal = await this.#lease.channels.admit(channel, { subscribe: false })
    if (!refusal) this.#active.addPublication(channel, ttlMs)
    return refusal?.limit
  }
}

const opened = new Set<LedgerGateway>()

/**
 * Starts a gateway whose link is open when it resolves. It synchronizes by itself only when `runs` is true.
 * Its lease is that of tenant `t1`.
 */
export async function startLedger(
  url: string,
  options: { clock?: Clock; timing?: Partial<LedgerTiming>; runs?: boolean } = {},
): Promise<LedgerGateway> {
  const { clock = systemClock, runs = false, timing = {} } = options
  const log = createLog({ level: 'silent', name: 'test' })
  const stop = new AbortController()
  const topology = linkTopology(url, { tag: quotasTag, log })
  const prepare = loadLedgerScripts
  const link = new ManagedLink('quotas', { ...topology.options, clock: systemClock, log, prepare })
  const running = Promise.all([topology.run(stop.signal), link.run(stop.signal)])
  const ledger = new RedisLedger({ link, clock, log, installation: 'test', timing })
  if (runs) ledger.run(stop.signal)
  const open = (tenantId: string, listener: LeaseListener = ignoringListener) =>
    ledger.open(tenantId, listener)
  const kill = async () => {
    opened.delete(gateway)
    stop.abort()
    await running
  }
  const gateway: LedgerGateway = {
    ledger,
    link,
    lease: open('t1'),
    open,
    kill,
    async close() {
      await ledger.close()
      await kill()
    },
  }
  opened.add(gateway)
  await link.ready(5_000)
  await ledger.sync()
  return gateway
}

/** Starts gateways and synchronizes them, so that each counts all of them. */
export async function startLedgers(
  count: number,
  ...args: Parameters<typeof startLedger>
): Promise<LedgerGateway[]> {
  const gateways = await Promise.all(Array.from({ length: count }, () => startLedger(...args)))
  for (const { ledger } of gateways) await ledger.sync()
  return gateways
}

export async function endLedgers(): Promise<void> {
  await Promise.all([...opened].map((gateway) => gateway.kill()))
}

/** Returns the numbers of a tenant's connections in Redis, one for each gateway, in ascending order. */
export async function connectionsIn(redis: RedisProcess, tenantId = 't1'): Promise<number[]> {
  const lines = (await redis.cli('HGETALL', leaseKey(tenantId, 'connections'))).split('\n')
  return lines
    .filter((line) => / \d+$/.test(line))
    .map((line) => Number(line.split(' ')[1]))
    .toSorted((a, b) => a - b)
}

/**
 * Requests `count` connections concurrently, spread over the gateways. Resolves with the number of admitted
 * ones.
 */
export async function acquireMany(
  gateways: readonly LedgerGateway[],
  count: number,
  { limits, user = (n) => `user ${n}` }: { limits: ConnectionLimits; user?: (n: number) => string },
): Promise<number> {
  const answers = await Promise.all(
    Array.from({ length: count }, async (_, n) =>
      gateways[n % gateways.length]?.lease.acquire(user(n), limits),
    ),
  )
  return answers.filter((answer) => answer?.admitted).length
}

/** Returns the total number of connections on the gateways. */
export const heldBy = (gateways: readonly LedgerGateway[]): number =>
  gateways.reduce((sum, { lease }) => sum + lease.held, 0)
