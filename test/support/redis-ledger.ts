// Gateways that share quotas in a real Redis, for tests: each with its own link, and an end that is orderly or is none.
import { createLog } from '../../src/log.js'
import { leaseKey, quotasTag } from '../../src/redis/keys.js'
import { createLink, type RunningLink } from '../../src/redis/managed-link.js'
import { loadLedgerScripts, RedisLedger, type LedgerTiming } from '../../src/quota/redis/ledger.js'
import type { ConnectionLimits, LeaseListener, TenantLease } from '../../src/quota/ledger.js'
import { systemClock, type Clock } from '../../src/time.js'
import { whereabouts } from './redis-links.js'
import type { RedisProcess } from './redis-processes.js'

const silent = { perSecond: () => 0, sharesChanged() {}, deliveredElsewhere() {} }

export interface LedgerGateway {
  readonly ledger: RedisLedger
  readonly link: RunningLink
  readonly lease: TenantLease
  open(tenantId: string, listener?: LeaseListener): TenantLease
  /** As kill -9 does: nobody is told. */
  kill(): Promise<void>
  close(): Promise<void>
}

const opened = new Set<LedgerGateway>()

/** Takes no turns by itself unless `runs`. Its lease is of tenant `t1`. Open when it returns. */
export async function startLedger(
  url: string,
  options: { clock?: Clock; timing?: Partial<LedgerTiming>; runs?: boolean } = {},
): Promise<LedgerGateway> {
  const { clock = systemClock, runs = false, timing = {} } = options
  const log = createLog({ level: 'silent', name: 'test' })
  const stop = new AbortController()
  const where = whereabouts(url, { tag: quotasTag, log })
  const prepare = loadLedgerScripts
  const link = createLink('quotas', { ...where.options, clock: systemClock, log, prepare })
  const running = Promise.all([where.run(stop.signal), link.run(stop.signal)])
  const ledger = new RedisLedger({ link, clock, log, installation: 'test', timing })
  if (runs) ledger.run(stop.signal)
  const open = (tenantId: string, listener: LeaseListener = silent) => ledger.open(tenantId, listener)
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
  await ledger.turn()
  return gateway
}

/** All know of all. */
export async function startLedgers(
  count: number,
  ...args: Parameters<typeof startLedger>
): Promise<LedgerGateway[]> {
  const gateways = await Promise.all(Array.from({ length: count }, () => startLedger(...args)))
  for (const { ledger } of gateways) await ledger.turn()
  return gateways
}

export async function endLedgers(): Promise<void> {
  await Promise.all([...opened].map((gateway) => gateway.kill()))
}

/** What Redis has of a tenant's places: of each gateway, in order of size. */
export async function placesIn(redis: RedisProcess, tenantId = 't1'): Promise<number[]> {
  const lines = (await redis.cli('HGETALL', leaseKey(tenantId, 'connections'))).split('\n')
  return lines
    .filter((line) => / \d+$/.test(line))
    .map((line) => Number(line.split(' ')[1]))
    .toSorted((a, b) => a - b)
}

/** As many acquires at once, spread over the gateways. How many got a place. */
export async function rush(
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

export const heldBy = (gateways: readonly LedgerGateway[]): number =>
  gateways.reduce((sum, { lease }) => sum + lease.held, 0)
