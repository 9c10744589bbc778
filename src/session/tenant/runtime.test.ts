import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import type { QuotaLedger, TenantLease } from '../../quota/ledger.js'
import { LocalLedger } from '../../quota/local.js'
import { LocalRevocations } from '../../revocation/local.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import { limitsWith, openRule, policyOf, silentLog } from '../session.testing.js'
import { TenantRuntime } from './runtime.js'

const ignoring = { identity: { anonymous: false }, recheckRevocations(): void {} }

function tenantWith(
  changes: Partial<TenantPolicy> = {},
  ledger: QuotaLedger = new LocalLedger(),
): TenantRuntime {
  const clock = new ManualClock()
  return new TenantRuntime(policyOf(changes), {
    clock,
    log: silentLog,
    allowPrivateJwks: false,
    arrivalDelay: { at: () => 0 },
    ledger,
    guestSecrets: [Buffer.alloc(32)],
    revocations: new LocalRevocations(clock),
  })
}

test('publications are counted by rule, as long as the policy has the rule', () => {
  const tenant = tenantWith({ channels: [openRule('general'), openRule('news')] })
  const { counters } = tenant.quota
  for (const rule of ['general', 'news', 'general']) counters.countPublication(rule)
  expect(counters.publicationsTotal).toBe(3)
  expect([...counters.publicationsByRule]).toEqual([
    ['general', 2],
    ['news', 1],
  ])
  tenant.update(policyOf({ channels: [openRule('news')] }))
  expect([...counters.publicationsByRule]).toEqual([['news', 1]])
  expect(counters.publicationsTotal).toBe(3)
})

describe('update()', () => {
  test('applies new limits to the quota', async () => {
    const tenant = tenantWith({ limits: limitsWith('connections', { max: 1 }) })
    await tenant.quota.admit('ann')
    tenant.update(policyOf())
    await tenant.quota.admit('bob')
    expect(tenant.quota.connections).toBe(2)
  })

  test('accepts guests as long as a rule grants them something', () => {
    const tenant = tenantWith()
    expect(tenant.tokens.allowsGuests).toBe(true)
    const members = openRule('general', {
      grants: [{ effect: 'Allow', operations: ['Subscribe'], subjects: [{ authenticated: true }] }],
    })
    tenant.update(policyOf({ channels: [members] }))
    expect(tenant.tokens.allowsGuests).toBe(false)
  })

  test('a rule that only denies guests something does not accept them', () => {
    const deny = {
      effect: 'Deny' as const,
      operations: ['Publish' as const],
      subjects: [{ anonymous: true as const }],
    }
    const tenant = tenantWith({ channels: [openRule('general', { grants: [deny] })] })
    expect(tenant.tokens.allowsGuests).toBe(false)
  })

  test('notifies every session', () => {
    const tenant = tenantWith()
    const notified: string[] = []
    for (const name of ['a', 'b'])
      tenant.sessions.add({
        lastCommandMs: 0,
        policyChanged: () => notified.push(name),
        ...ignoring,
        evict() {},
      })
    tenant.update(policyOf())
    expect(notified).toEqual(['a', 'b'])
  })

  /**
   * Lowers the limit to 1. The sessions are given by name, in order of arrival, with the time of their last
   * command.
   */
  function evictedBy(changes: Partial<TenantPolicy>, lastCommandsMs: Record<string, number>): string[] {
    const tenant = tenantWith()
    const evicted: string[] = []
    for (const [name, lastCommandMs] of Object.entries(lastCommandsMs))
      tenant.sessions.add({ lastCommandMs, policyChanged() {}, ...ignoring, evict: () => evicted.push(name) })
    tenant.update(policyOf({ limits: limitsWith('connections', { max: 1 }), ...changes }))
    return evicted
  }

  test.each([
    ['Never', []],
    ['ShedNewest', ['c', 'b']],
    ['ShedIdle', ['b', 'c']],
  ] as const)('a lowered connection limit with preemption %s evicts %j', (preemption, expected) => {
    expect(evictedBy({ preemption }, { a: 300, b: 100, c: 200 })).toEqual(expected)
  })

  test.each(['Warn', 'DryRun'] as const)('%s evicts no session', (enforcement) => {
    expect(evictedBy({ preemption: 'ShedNewest', enforcement }, { a: 1, b: 2 })).toEqual([])
  })

  test.each([
    ['ShedNewest', ['guest 4', 'guest 3', 'guest 2']],
    ['ShedIdle', ['guest 0', 'guest 1', 'guest 2']],
  ] as const)('a lowered share of the guests with %s evicts only guests above it', (preemption, expected) => {
    const tenant = tenantWith({ preemption })
    const evicted: string[] = []
    for (let n = 0; n < 5; n += 1) {
      for (const guest of [true, false]) {
        const session = {
          lastCommandMs: n,
          ...ignoring,
          identity: { anonymous: guest },
          policyChanged() {},
          evict() {
            tenant.sessions.delete(session)
            evicted.push(`${guest ? 'guest' : 'user'} ${n}`)
          },
        }
        tenant.sessions.add(session)
      }
    }
    tenant.update(policyOf({ preemption, limits: limitsWith('connections', { guests: 2 }) }))
    expect(evicted).toEqual(expected)
    // Where neither the plan nor the quota names the share, it is half of the maximum.
    tenant.update(policyOf({ preemption, limits: limitsWith('connections', { max: 7, guests: undefined }) }))
    expect(evicted).toEqual(expected)
  })

  test('each gateway evicts its part of the sessions above a lowered limit', () => {
    const leases: TenantLease[] = []
    const tenant = tenantWith(
      { preemption: 'ShedNewest' },
      {
        open(tenantId, listener) {
          const opened = new LocalLedger().open(tenantId, listener)
          Object.defineProperty(opened, 'heldByAll', { get: () => opened.held + 60 })
          leases.push(opened)
          return opened
        },
      },
    )
    const evicted: number[] = []
    for (let n = 0; n < 30; n += 1) {
      leases[0]?.reserve('ann')
      tenant.sessions.add({ lastCommandMs: n, policyChanged() {}, ...ignoring, evict: () => evicted.push(n) })
    }
    tenant.update(policyOf({ preemption: 'ShedNewest', limits: limitsWith('connections', { max: 45 }) }))
    // A third of all connections is here, so a third of the limit may stay.
    expect(evicted).toEqual(Array.from({ length: 15 }, (_, n) => 29 - n))
  })
})
