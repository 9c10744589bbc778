import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { CommandError } from '../../errors.js'
import type { Log } from '../../log.js'
import type { AdmissionRefusal, TenantLease } from '../../quota/ledger.js'
import { LocalLedger } from '../../quota/local.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import { limitsWith, policyOf, silentLog } from '../session.testing.js'
import { ActiveChannels } from './active-channels.js'
import { TenantQuota } from './quota.js'

interface QuotaFixture {
  readonly clock: ManualClock
  readonly channels: ActiveChannels
  readonly lease: TenantLease
  readonly quota: TenantQuota
  /** Sets this gateway's share of all rates. */
  setShare(share: number): void
  /** Makes the ledger refuse every connection from now on. */
  refuse(refusal: AdmissionRefusal): void
}

function quotaWith(
  changes: Partial<TenantPolicy> = {},
  { log = silentLog, onOtherGateways = 0 }: { log?: Log; onOtherGateways?: number } = {},
): QuotaFixture {
  const clock = new ManualClock()
  const channels = new ActiveChannels(clock)
  const leases: TenantLease[] = []
  let currentShare = 1
  const quota = new TenantQuota(policyOf(changes), {
    clock,
    log,
    ledger: {
      open(tenantId, listener) {
        const opened = new LocalLedger().open(tenantId, listener)
        opened.share = () => currentShare
        Object.defineProperty(opened, 'heldByAll', { get: () => opened.held + onOtherGateways })
        leases.push(opened)
        return opened
      },
    },
    channels,
    arrivalDelay: { at: () => 0 },
  })
  const [lease] = leases
  if (!lease) throw new Error('the quota has opened no lease')
  return {
    clock,
    channels,
    lease,
    quota,
    setShare(share) {
      currentShare = share
      quota.sharesChanged()
    },
    refuse(refusal) {
      lease.acquire = () => Promise.resolve(refusal)
      lease.check = () => Promise.resolve(refusal)
    },
  }
}

function refusalOf(act: () => void): CommandError {
  try {
    act()
  } catch (error) {
    if (error instanceof CommandError) return error
    throw error
  }
  throw new Error('it was not refused')
}

async function refusedBy(admission: Promise<void>): Promise<CommandError> {
  const error: unknown = await admission.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof CommandError) return error
  throw new Error('it was not refused')
}

/** Publishes until a publish is refused, and returns how many were accepted. */
function acceptedPublishes(quota: TenantQuota): number {
  for (let accepted = 0; ; accepted += 1) {
    try {
      quota.rates.chargePublish('general')
    } catch {
      return accepted
    }
  }
}

const publishing = (publishPerSecond: number, publishBurst: number): Partial<TenantPolicy> => ({
  limits: limitsWith('messages', { publishPerSecond, publishBurst }),
})

describe('connections', () => {
  test('of the tenant: the message gives the used number and the limit', async () => {
    const { quota } = quotaWith({ limits: limitsWith('connections', { max: 2 }) })
    await quota.admit('ann')
    await quota.admit('bob')
    expect(await refusedBy(quota.admit('eve'))).toMatchObject({
      code: 'CONNECTION_LIMIT',
      message: 'Cannot connect: 2 of 2 connections of the tenant are used',
      retryAfterMs: 5_000,
    })
  })

  test('of a user: the message gives the used number and the limit', async () => {
    const { quota } = quotaWith({ limits: limitsWith('connections', { perUser: 1 }) })
    await quota.admit('ann')
    await quota.admit('bob')
    expect(await refusedBy(quota.admit('ann'))).toMatchObject({
      code: 'CONNECTION_LIMIT',
      message: 'Cannot connect: 1 of 1 connections of this user are used',
    })
  })

  test('per second: the refusal gives the rate and the time to wait', async () => {
    const { clock, quota } = quotaWith({ limits: limitsWith('connections', { connectsPerSecond: 2 }) })
    await quota.admit('ann')
    await quota.admit('bob')
    expect(await refusedBy(quota.admit('eve'))).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot connect: the tenant’s 2 connects per second are used',
      retryAfterMs: 500,
    })
    clock.advance(500)
    await quota.admit('eve')
    expect(quota.connections).toBe(3)
  })

  test('are available again once released', async () => {
    const { quota } = quotaWith({ limits: limitsWith('connections', { max: 1, perUser: 1 }) })
    await quota.admit('ann')
    quota.release('ann')
    await quota.admit('ann')
    expect([quota.connections, quota.users]).toEqual([1, 1])
  })

  test('count each user once', async () => {
    const { quota } = quotaWith()
    for (const user of ['ann', 'ann', 'bob']) await quota.admit(user)
    quota.release('ann')
    expect([quota.connections, quota.users]).toEqual([2, 2])
  })

  test('that are refused are not counted', async () => {
    const { quota } = quotaWith({ limits: limitsWith('connections', { perUser: 1 }) })
    await quota.admit('ann')
    await refusedBy(quota.admit('ann'))
    expect(quota.connections).toBe(1)
  })
})

describe('a connection that the ledger refuses', () => {
  test('is answered with the number used in the cluster', async () => {
    const { quota, refuse } = quotaWith({ limits: limitsWith('connections', { max: 50 }) })
    refuse({ admitted: false, limit: 'tenant', used: 50 })
    const message = 'Cannot connect: 50 of 50 connections of the tenant are used'
    await expect(quota.admit('ann')).rejects.toMatchObject({ code: 'CONNECTION_LIMIT', message })
    await expect(quota.checkConnection('ann')).rejects.toMatchObject({ code: 'CONNECTION_LIMIT', message })
  })

  test('is answered with the gateway’s share while the counts of the other gateways are unavailable', async () => {
    const { quota, refuse } = quotaWith({ limits: limitsWith('connections', { max: 50 }) })
    refuse({ admitted: false, limit: 'tenant', used: 25, share: 25 })
    await expect(quota.admit('ann')).rejects.toMatchObject({
      message:
        'Cannot connect: 25 of 25 connections are used, this gateway’s share of the tenant’s 50 while the counts of the other gateways are unavailable',
    })
  })

  test('of a guest is answered with the guests’ share', async () => {
    const { quota, refuse } = quotaWith({ limits: limitsWith('connections', { max: 50, guests: undefined }) })
    refuse({ admitted: false, limit: 'guests', used: 25 })
    await expect(quota.admit('guest:a')).rejects.toMatchObject({
      code: 'CONNECTION_LIMIT',
      message: 'Cannot connect: guests use 25 of their 25 connections',
    })
    expect(quota.counters.excesses.get('connections.guests')).toBe(1)
    refuse({ admitted: false, limit: 'guests', used: 9, share: 9 })
    await expect(quota.checkConnection('guest:a')).rejects.toMatchObject({
      message:
        'Cannot connect: guests use 9 of 9 connections, this gateway’s share of their 25 while the counts of the other gateways are unavailable',
    })
  })

  test.each(['Warn', 'DryRun'] as const)('is reserved all the same under %s', async (enforcement) => {
    const { lease, quota, refuse } = quotaWith({ enforcement })
    refuse({ admitted: false, limit: 'user', used: 7 })
    await quota.admit('ann')
    expect([lease.held, quota.counters.refusals.get('CONNECTION_LIMIT')]).toEqual([1, 1])
    quota.release('ann')
    expect(lease.held).toBe(0)
  })
})

describe('publishes', () => {
  test('over the rate: the refusal gives the rate and the time to wait', () => {
    const { clock, quota } = quotaWith(publishing(10, 2))
    quota.rates.chargePublish('general')
    quota.rates.chargePublish('general')
    expect(refusalOf(() => quota.rates.chargePublish('general'))).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot publish to "general": 10 of 10 publications per second (burst 2) are used',
      retryAfterMs: 100,
    })
    clock.advance(100)
    quota.rates.chargePublish('general')
  })

  test('while deliveries are in debt: the refusal gives their rate and the time to wait', () => {
    const { clock, quota } = quotaWith({ limits: limitsWith('messages', { fanoutPerSecond: 100 }) })
    quota.rates.chargeDeliveries(250)
    expect(refusalOf(() => quota.rates.chargePublish('general'))).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot publish to "general": the tenant’s 100 deliveries per second are used',
      retryAfterMs: 1_500,
    })
    clock.advance(1_500)
    quota.rates.chargePublish('general')
    expect(quota.counters.deliveriesTotal).toBe(250)
  })

  test('that are refused because of deliveries do not use up the publish rate', () => {
    const { clock, quota } = quotaWith({
      limits: limitsWith('messages', { publishPerSecond: 1, publishBurst: 1, fanoutPerSecond: 100 }),
    })
    quota.rates.chargeDeliveries(110)
    refusalOf(() => quota.rates.chargePublish('general'))
    clock.advance(100)
    expect(() => quota.rates.chargePublish('general')).not.toThrow()
  })
})

describe('subscriptions', () => {
  const used = { ofSession: 0 }

  test('of a connection: the message gives the used number and the limit', () => {
    const { quota } = quotaWith({ limits: limitsWith('channels', { maxSubscriptionsPerConnection: 3 }) })
    expect(refusalOf(() => void quota.admitSubscriber('general', { ofSession: 3 }))).toMatchObject({
      code: 'SUBSCRIPTION_LIMIT',
      message: 'Cannot subscribe to "general": 3 of 3 subscriptions of this connection are used',
    })
  })

  test('of a channel: the message gives the used number and the limit', () => {
    const { channels, quota } = quotaWith({ limits: limitsWith('channels', { maxSubscribersPerChannel: 7 }) })
    for (let n = 0; n < 7; n += 1) channels.addSubscriber('general')
    expect(refusalOf(() => void quota.admitSubscriber('general', used))).toMatchObject({
      code: 'SUBSCRIPTION_LIMIT',
      message: 'Cannot subscribe to "general": it has 7 of 7 subscribers',
    })
  })

  test('to a new channel at the limit: the message gives the used number and the limit', () => {
    const { channels, quota } = quotaWith({ limits: limitsWith('channels', { max: 2 }) })
    channels.addSubscriber('a')
    channels.addSubscriber('b')
    expect(refusalOf(() => void quota.admitSubscriber('c', used))).toMatchObject({
      code: 'CHANNEL_LIMIT',
      message: 'Cannot use "c": 2 of 2 channels of the tenant are in use',
      retryAfterMs: 5_000,
    })
  })

  test('to an active channel are accepted at the limit of channels', () => {
    const { channels, quota } = quotaWith({ limits: limitsWith('channels', { max: 1 }) })
    channels.addSubscriber('a')
    expect(() => quota.admitSubscriber('a', used)).not.toThrow()
  })
})

describe('enforcement', () => {
  test.each(['Warn', 'DryRun'] as const)('%s accepts the request and counts it', async (enforcement) => {
    const { quota } = quotaWith({ enforcement, limits: limitsWith('connections', { max: 0 }) })
    await quota.admit('ann')
    expect([quota.connections, quota.counters.refusals.get('CONNECTION_LIMIT')]).toEqual([1, 1])
  })

  test.each([
    ['Warn', 1],
    ['DryRun', 0],
  ] as const)('%s logs %i line', async (enforcement, lines) => {
    const warnings: unknown[] = []
    const log = { ...silentLog, warn: (line: unknown) => void warnings.push(line) } as typeof silentLog
    const { quota } = quotaWith({ enforcement, limits: limitsWith('connections', { max: 0 }) }, { log })
    await quota.admit('ann')
    expect(warnings).toHaveLength(lines)
  })

  test('Warn logs one line per code and ten seconds, which counts the lines left out', async () => {
    const lines: unknown[] = []
    const log = { ...silentLog, warn: (line: unknown) => void lines.push(line) } as typeof silentLog
    const { channels, clock, quota } = quotaWith(
      { enforcement: 'Warn', limits: limitsWith('channels', { max: 0 }) },
      { log },
    )
    expect(channels.count()).toBe(0)
    for (let n = 0; n < 1_000; n += 1) await quota.admitHistory(`room:${n}`)
    await quota.admitSubscriber('general', { ofSession: 1_000 })
    expect(lines).toEqual([
      { tenant: 'demo/acme', code: 'CHANNEL_LIMIT' },
      { tenant: 'demo/acme', code: 'SUBSCRIPTION_LIMIT' },
    ])
    clock.advance(10_000)
    await quota.admitHistory('another')
    expect(lines[2]).toEqual({ tenant: 'demo/acme', code: 'CHANNEL_LIMIT', suppressed: 1_000 })
    expect(quota.counters.refusals.get('CHANNEL_LIMIT')).toBe(1_002)
  })
})

describe('update()', () => {
  test('applies a lowered rate at once', () => {
    const { quota } = quotaWith()
    quota.update(policyOf(publishing(1, 1)))
    quota.rates.chargePublish('general')
    expect(refusalOf(() => quota.rates.chargePublish('general')).code).toBe('QUOTA_EXCEEDED')
  })

  test('applies a raised limit at once', async () => {
    const { quota } = quotaWith({ limits: limitsWith('connections', { max: 1 }) })
    await quota.admit('ann')
    quota.update(policyOf())
    await quota.admit('bob')
    expect(quota.connections).toBe(2)
  })
})

describe('a share', () => {
  test('applies to rate and burst', () => {
    const { clock, quota, setShare } = quotaWith(publishing(100, 40))
    setShare(0.25)
    expect(acceptedPublishes(quota)).toBe(10)
    clock.advance(1_000)
    expect(acceptedPublishes(quota)).toBe(10)
    clock.advance(40)
    expect(acceptedPublishes(quota)).toBe(1)
  })

  test('that changes returns nothing of what is used', () => {
    const { quota, setShare } = quotaWith(publishing(100, 40))
    expect(acceptedPublishes(quota)).toBe(40)
    setShare(0.25)
    setShare(1)
    expect(acceptedPublishes(quota)).toBe(0)
  })

  test('is at least one publish a second', () => {
    const { clock, quota, setShare } = quotaWith(publishing(10, 10))
    setShare(0.001)
    expect(acceptedPublishes(quota)).toBe(1)
    clock.advance(1_000)
    expect(acceptedPublishes(quota)).toBe(1)
  })

  test('of a rate of 0 is 0', () => {
    const { quota, setShare } = quotaWith(publishing(0, 0))
    setShare(0.5)
    expect(acceptedPublishes(quota)).toBe(0)
  })

  test('stays when the policy changes', () => {
    const { quota, setShare } = quotaWith(publishing(100, 40))
    setShare(0.5)
    quota.update(policyOf(publishing(100, 20)))
    expect(acceptedPublishes(quota)).toBe(10)
  })

  test('applies to connects as well', async () => {
    const { quota, setShare } = quotaWith({ limits: limitsWith('connections', { connectsPerSecond: 4 }) })
    setShare(0.5)
    await quota.admit('ann')
    await quota.admit('bob')
    await expect(quota.admit('eve')).rejects.toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot connect: the tenant’s 4 connects per second are used',
    })
  })
})

describe('connects of guests', () => {
  test('use at most half of the rate; signed-in users find the other half', async () => {
    const { clock, quota } = quotaWith({ limits: limitsWith('connections', { connectsPerSecond: 10 }) })
    const admitted = async (prefix: string, attempts: number): Promise<number> => {
      const outcomes = await Promise.allSettled(
        Array.from({ length: attempts }, (_, n) => quota.admit(`${prefix}${n}`)),
      )
      return outcomes.filter(({ status }) => status === 'fulfilled').length
    }
    expect(await admitted('guest:', 100)).toBe(5)
    expect(await admitted('user ', 100)).toBe(5)
    // While guests try without end, signed-in users get at least half of every second.
    for (let second = 0; second < 5; second += 1) {
      clock.advance(1_000)
      expect(await admitted('guest:', 100)).toBe(5)
      expect(await admitted('user ', 5)).toBe(5)
    }
    await expect(quota.admit('guest:x')).rejects.toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot connect: guests may use half of the tenant’s 10 connects per second, which is used',
    })
  })

  test('are possible at a rate of one per second, and leave room there too', async () => {
    const { clock, quota } = quotaWith({ limits: limitsWith('connections', { connectsPerSecond: 1 }) })
    await quota.admit('guest:a')
    clock.advance(1_000)
    await expect(quota.admit('guest:b')).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' })
    await quota.admit('ann')
    clock.advance(1_000)
    await quota.admit('guest:b')
  })

  test('above their half are no demand for the rate', async () => {
    const { lease, quota } = quotaWith({ limits: limitsWith('connections', { connectsPerSecond: 10 }) })
    let demand = 0
    lease.spend = (_rate, n) => void (demand += n)
    await Promise.allSettled(Array.from({ length: 100 }, (_, n) => quota.admit(`guest:${n}`)))
    expect(demand).toBe(5)
    await Promise.allSettled(Array.from({ length: 100 }, (_, n) => quota.admit(`user ${n}`)))
    expect(demand).toBe(105)
  })
})

test('deliveries of other gateways count like those of this one', () => {
  const { clock, quota } = quotaWith({ limits: limitsWith('messages', { fanoutPerSecond: 100 }) })
  quota.usedByOthers('delivery', 250)
  expect(acceptedPublishes(quota)).toBe(0)
  expect(quota.counters.deliveriesTotal).toBe(0)
  clock.advance(1_500)
  expect(acceptedPublishes(quota)).toBeGreaterThan(0)
})

test('the ledger receives the whole demand, refused requests included', async () => {
  const { lease, quota } = quotaWith(publishing(5, 5))
  const spent: Record<string, number> = { publish: 0, connect: 0 }
  lease.spend = (rate, n) => void (spent[rate] = (spent[rate] ?? 0) + n)
  for (let n = 0; n < 20; n += 1) acceptedPublishes(quota)
  await quota.admit('ann')
  expect(spent).toEqual({ publish: 25, connect: 1 })
})

test('all gateways together keep no more connections than a lowered limit', () => {
  const { lease, quota } = quotaWith(
    { limits: limitsWith('connections', { max: 45 }) },
    { onOtherGateways: 60 },
  )
  for (let n = 0; n < 30; n += 1) lease.reserve('ann')
  // A third of all connections is here, so a third of the limit may stay.
  expect(quota.excessOf(30)).toBe(15)
})
