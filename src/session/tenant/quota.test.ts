// A tenant among gateways: what its ledger says of places and shares, and what becomes of it.
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { LocalLedger } from '../../quota/local.js'
import type { Refusal, TenantLease } from '../../quota/ledger.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import { limitsWith, policyOf, silentLog } from '../session.testing.js'
import type { Session } from '../session.js'
import { TenantState } from './runtime.js'

interface Rig {
  readonly clock: ManualClock
  readonly lease: TenantLease
  readonly tenant: TenantState
  /** This gateway's share of all rates from now on. */
  share(share: number): void
  /** What the ledger answers from now on. */
  refuse(refusal: Refusal): void
}

function rigWith(changes: Partial<TenantPolicy> = {}, { elsewhere = 0 } = {}): Rig {
  const clock = new ManualClock()
  const lease = new LocalLedger().open()
  let part = 1
  lease.share = () => part
  Object.defineProperty(lease, 'heldByAll', { get: () => lease.held + elsewhere })
  const tenant = new TenantState(policyOf(changes), {
    clock,
    log: silentLog,
    allowPrivateJwks: false,
    ledger: { open: () => lease },
  })
  return {
    clock,
    lease,
    tenant,
    share(share) {
      part = share
      tenant.sharesChanged()
    },
    refuse(refusal) {
      lease.acquire = () => Promise.resolve(refusal)
      lease.look = () => Promise.resolve(refusal)
    },
  }
}

/** How many publishes pass now. */
function passing(tenant: TenantState): number {
  for (let passed = 0; ; passed += 1) {
    try {
      tenant.chargePublish('general')
    } catch {
      return passed
    }
  }
}

const publishing = (publishPerSecond: number, publishBurst: number): Partial<TenantPolicy> => ({
  limits: limitsWith('messages', { publishPerSecond, publishBurst }),
})

describe('a refused connection', () => {
  test('is told what is used in the cluster', async () => {
    const { refuse, tenant } = rigWith({ limits: limitsWith('connections', { max: 50 }) })
    refuse({ admitted: false, limit: 'tenant', used: 50 })
    const message = 'Cannot connect: 50 of 50 connections of the tenant are used'
    await expect(tenant.admit('ann')).rejects.toMatchObject({ code: 'CONNECTION_LIMIT', message })
    await expect(tenant.checkRoom('ann')).rejects.toMatchObject({ code: 'CONNECTION_LIMIT', message })
  })

  test('is told of the gateway’s share where the others cannot be asked', async () => {
    const { refuse, tenant } = rigWith({ limits: limitsWith('connections', { max: 50 }) })
    refuse({ admitted: false, limit: 'tenant', used: 25, share: 25 })
    await expect(tenant.admit('ann')).rejects.toMatchObject({
      message:
        'Cannot connect: 25 of 25 connections are used, this gateway’s share of the tenant’s 50 while the others cannot be asked',
    })
  })

  test.each(['Warn', 'DryRun'] as const)('has its place all the same under %s', async (enforcement) => {
    const { lease, refuse, tenant } = rigWith({ enforcement })
    refuse({ admitted: false, limit: 'user', used: 7 })
    await tenant.admit('ann')
    expect([lease.held, tenant.refusals.get('CONNECTION_LIMIT')]).toEqual([1, 1])
    tenant.release('ann')
    expect(lease.held).toBe(0)
  })
})

describe('a share', () => {
  test('is of rate and burst', () => {
    const { clock, share, tenant } = rigWith(publishing(100, 40))
    share(0.25)
    expect(passing(tenant)).toBe(10)
    clock.advance(1_000)
    expect(passing(tenant)).toBe(10)
    clock.advance(40)
    expect(passing(tenant)).toBe(1)
  })

  test('that changes gives nothing back of what is used', () => {
    const { share, tenant } = rigWith(publishing(100, 40))
    expect(passing(tenant)).toBe(40)
    share(0.25)
    share(1)
    expect(passing(tenant)).toBe(0)
  })

  test('is one a second at least', () => {
    const { clock, share, tenant } = rigWith(publishing(10, 10))
    share(0.001)
    expect(passing(tenant)).toBe(1)
    clock.advance(1_000)
    expect(passing(tenant)).toBe(1)
  })

  test('of nothing is nothing', () => {
    const { share, tenant } = rigWith(publishing(0, 0))
    share(0.5)
    expect(passing(tenant)).toBe(0)
  })

  test('stays when the policy changes', () => {
    const { share, tenant } = rigWith(publishing(100, 40))
    share(0.5)
    tenant.update(policyOf(publishing(100, 20)))
    expect(passing(tenant)).toBe(10)
  })

  test('is of connects as well', async () => {
    const { share, tenant } = rigWith({ limits: limitsWith('connections', { connectsPerSecond: 4 }) })
    share(0.5)
    await tenant.admit('ann')
    await tenant.admit('bob')
    await expect(tenant.admit('eve')).rejects.toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot connect: the tenant’s 4 connects per second are used',
    })
  })
})

test('what other gateways deliver counts as what this one does', () => {
  const { clock, tenant } = rigWith({ limits: limitsWith('messages', { fanoutPerSecond: 100 }) })
  tenant.deliveredElsewhere(250)
  expect(passing(tenant)).toBe(0)
  expect(tenant.deliveriesTotal).toBe(0)
  clock.advance(1_500)
  expect(passing(tenant)).toBeGreaterThan(0)
})

test('all that is wanted is told to the ledger, also what is refused', async () => {
  const { lease, tenant } = rigWith(publishing(5, 5))
  const spent: Record<string, number> = { publish: 0, connect: 0 }
  lease.spend = (rate, n) => void (spent[rate] = (spent[rate] ?? 0) + n)
  for (let n = 0; n < 20; n += 1) passing(tenant)
  await tenant.admit('ann')
  expect(spent).toEqual({ publish: 25, connect: 1 })
})

test('a lowered limit is shed by all gateways together', () => {
  const { lease, tenant } = rigWith({ preemption: 'ShedNewest' }, { elsewhere: 60 })
  const shed: number[] = []
  for (let n = 0; n < 30; n += 1) {
    lease.take('ann')
    tenant.sessions.add({
      lastCommandMs: n,
      policyChanged() {},
      shed: () => shed.push(n),
    } as unknown as Session)
  }
  tenant.update(policyOf({ preemption: 'ShedNewest', limits: limitsWith('connections', { max: 45 }) }))
  // A third of all is here, so a third of what may stay.
  expect(shed).toEqual(Array.from({ length: 15 }, (_, n) => 29 - n))
})
