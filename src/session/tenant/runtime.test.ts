import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { CommandError } from '../../errors.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import { limitsWith, openRule, policyOf, silentLog } from '../session.testing.js'
import { TenantState } from './runtime.js'
import type { Session } from '../session.js'
import { LocalLedger } from '../../quota/local.js'

function tenantWith(changes: Partial<TenantPolicy> = {}): { clock: ManualClock; tenant: TenantState } {
  const clock = new ManualClock()
  return {
    clock,
    tenant: new TenantState(policyOf(changes), {
      clock,
      log: silentLog,
      allowPrivateJwks: false,
      ledger: new LocalLedger(),
    }),
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

test('publications are told apart by their rule, as long as the policy has it', () => {
  const { tenant } = tenantWith({ channels: [openRule('general'), openRule('news')] })
  for (const rule of ['general', 'news', 'general']) tenant.countPublication(rule)
  expect(tenant.publicationsTotal).toBe(3)
  expect([...tenant.publicationsByRule]).toEqual([
    ['general', 2],
    ['news', 1],
  ])
  tenant.update(policyOf({ channels: [openRule('news')] }))
  expect([...tenant.publicationsByRule]).toEqual([['news', 1]])
  expect(tenant.publicationsTotal).toBe(3)
})

describe('connections', () => {
  test('of the tenant: the message names used of what', async () => {
    const { tenant } = tenantWith({ limits: limitsWith('connections', { max: 2 }) })
    await tenant.admit('ann')
    await tenant.admit('bob')
    expect(await refusedBy(tenant.admit('eve'))).toMatchObject({
      code: 'CONNECTION_LIMIT',
      message: 'Cannot connect: 2 of 2 connections of the tenant are used',
      retryAfterMs: 5_000,
    })
  })

  test('of a user: the message names used of what', async () => {
    const { tenant } = tenantWith({ limits: limitsWith('connections', { perUser: 1 }) })
    await tenant.admit('ann')
    await tenant.admit('bob')
    expect(await refusedBy(tenant.admit('ann'))).toMatchObject({
      code: 'CONNECTION_LIMIT',
      message: 'Cannot connect: 1 of 1 connections of this user are used',
    })
  })

  test('per second: the message names the rate, and when the next may come', async () => {
    const { clock, tenant } = tenantWith({ limits: limitsWith('connections', { connectsPerSecond: 2 }) })
    await tenant.admit('ann')
    await tenant.admit('bob')
    expect(await refusedBy(tenant.admit('eve'))).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot connect: the tenant’s 2 connects per second are used',
      retryAfterMs: 500,
    })
    clock.advance(500)
    await tenant.admit('eve')
    expect(tenant.connections).toBe(3)
  })

  test('that end give their place back', async () => {
    const { tenant } = tenantWith({ limits: limitsWith('connections', { max: 1, perUser: 1 }) })
    await tenant.admit('ann')
    tenant.release('ann')
    await tenant.admit('ann')
    expect([tenant.connections, tenant.users]).toEqual([1, 1])
  })

  test('count users once', async () => {
    const { tenant } = tenantWith()
    for (const user of ['ann', 'ann', 'bob']) await tenant.admit(user)
    tenant.release('ann')
    expect([tenant.connections, tenant.users]).toEqual([2, 2])
  })

  test('refused take no place', async () => {
    const { tenant } = tenantWith({ limits: limitsWith('connections', { perUser: 1 }) })
    await tenant.admit('ann')
    await refusedBy(tenant.admit('ann'))
    expect(tenant.connections).toBe(1)
  })
})

describe('publishes', () => {
  test('over the rate: the message names it, and when the next may come', () => {
    const { clock, tenant } = tenantWith({
      limits: limitsWith('messages', { publishPerSecond: 10, publishBurst: 2 }),
    })
    tenant.chargePublish('general')
    tenant.chargePublish('general')
    expect(refusalOf(() => tenant.chargePublish('general'))).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot publish to "general": 10 of 10 publications per second (burst 2) are used',
      retryAfterMs: 100,
    })
    clock.advance(100)
    tenant.chargePublish('general')
  })

  test('while deliveries are in debt: the message names their rate', () => {
    const { clock, tenant } = tenantWith({ limits: limitsWith('messages', { fanoutPerSecond: 100 }) })
    tenant.chargeDeliveries(250)
    expect(refusalOf(() => tenant.chargePublish('general'))).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      message: 'Cannot publish to "general": the tenant’s 100 deliveries per second are used',
      retryAfterMs: 1_500,
    })
    clock.advance(1_500)
    tenant.chargePublish('general')
    expect(tenant.deliveriesTotal).toBe(250)
  })

  test('refused for deliveries do not use up the rate of publishes', () => {
    const { clock, tenant } = tenantWith({
      limits: limitsWith('messages', { publishPerSecond: 1, publishBurst: 1, fanoutPerSecond: 100 }),
    })
    tenant.chargeDeliveries(110)
    refusalOf(() => tenant.chargePublish('general'))
    clock.advance(100)
    expect(() => tenant.chargePublish('general')).not.toThrow()
  })
})

describe('subscriptions', () => {
  const used = { ofSession: 0, ofChannel: 0 }

  test('of a connection: the message names used of what', () => {
    const { tenant } = tenantWith({ limits: limitsWith('channels', { maxSubscriptionsPerConnection: 3 }) })
    expect(refusalOf(() => tenant.checkSubscribe('general', { ...used, ofSession: 3 }))).toMatchObject({
      code: 'SUBSCRIPTION_LIMIT',
      message: 'Cannot subscribe to "general": 3 of 3 subscriptions of this connection are used',
    })
  })

  test('of a channel: the message names used of what', () => {
    const { tenant } = tenantWith({ limits: limitsWith('channels', { maxSubscribersPerChannel: 7 }) })
    expect(refusalOf(() => tenant.checkSubscribe('general', { ...used, ofChannel: 7 }))).toMatchObject({
      code: 'SUBSCRIPTION_LIMIT',
      message: 'Cannot subscribe to "general": it has 7 of 7 subscribers',
    })
  })

  test('to one channel too many: the message names used of what', () => {
    const { tenant } = tenantWith({ limits: limitsWith('channels', { max: 2 }) })
    tenant.channels.subscribed('a')
    tenant.channels.subscribed('b')
    expect(refusalOf(() => tenant.checkSubscribe('c', used))).toMatchObject({
      code: 'CHANNEL_LIMIT',
      message: 'Cannot use "c": 2 of 2 channels of the tenant are in use',
      retryAfterMs: 5_000,
    })
  })

  test('to a channel in use need no further channel', () => {
    const { tenant } = tenantWith({ limits: limitsWith('channels', { max: 1 }) })
    tenant.channels.subscribed('a')
    expect(() => tenant.checkSubscribe('a', used)).not.toThrow()
  })
})

describe('enforcement', () => {
  test.each(['Warn', 'DryRun'] as const)('%s lets pass and counts', async (enforcement) => {
    const { tenant } = tenantWith({ enforcement, limits: limitsWith('connections', { max: 0 }) })
    await tenant.admit('ann')
    expect([tenant.connections, tenant.refusals.get('CONNECTION_LIMIT')]).toEqual([1, 1])
  })

  test.each([
    ['Warn', 1],
    ['DryRun', 0],
  ] as const)('%s logs %i line', async (enforcement, lines) => {
    const warnings: unknown[] = []
    const log = { ...silentLog, warn: (line: unknown) => void warnings.push(line) } as typeof silentLog
    const policy = policyOf({ enforcement, limits: limitsWith('connections', { max: 0 }) })
    const tenant = new TenantState(policy, {
      clock: new ManualClock(),
      log,
      allowPrivateJwks: false,
      ledger: new LocalLedger(),
    })
    await tenant.admit('ann')
    expect(warnings).toHaveLength(lines)
  })
})

describe('update()', () => {
  test('a lowered rate holds at once', () => {
    const { tenant } = tenantWith()
    tenant.update(policyOf({ limits: limitsWith('messages', { publishPerSecond: 1, publishBurst: 1 }) }))
    tenant.chargePublish('general')
    expect(refusalOf(() => tenant.chargePublish('general')).code).toBe('QUOTA_EXCEEDED')
  })

  test('a raised limit holds at once', async () => {
    const { tenant } = tenantWith({ limits: limitsWith('connections', { max: 1 }) })
    await tenant.admit('ann')
    tenant.update(policyOf())
    await tenant.admit('bob')
    expect(tenant.connections).toBe(2)
  })

  test('guests are let in as long as a rule grants them something', () => {
    const { tenant } = tenantWith()
    expect(tenant.allowsGuests).toBe(true)
    const members = openRule('general', {
      grants: [{ effect: 'Allow', operations: ['Subscribe'], subjects: [{ authenticated: true }] }],
    })
    tenant.update(policyOf({ channels: [members] }))
    expect(tenant.allowsGuests).toBe(false)
  })

  test('a rule that only denies guests does not let them in', () => {
    const deny = {
      effect: 'Deny' as const,
      operations: ['Publish' as const],
      subjects: [{ anonymous: true as const }],
    }
    expect(tenantWith({ channels: [openRule('general', { grants: [deny] })] }).tenant.allowsGuests).toBe(
      false,
    )
  })

  /** Sessions by name, in order of arrival, with the time of their last command. */
  function shedding(changes: Partial<TenantPolicy>, lastCommandsMs: Record<string, number>): string[] {
    const { tenant } = tenantWith()
    const shed: string[] = []
    for (const [name, lastCommandMs] of Object.entries(lastCommandsMs)) {
      tenant.sessions.add({
        lastCommandMs,
        policyChanged() {},
        shed: () => shed.push(name),
      } as unknown as Session)
    }
    tenant.update(policyOf({ limits: limitsWith('connections', { max: 1 }), ...changes }))
    return shed
  }

  test.each([
    ['Never', []],
    ['ShedNewest', ['c', 'b']],
    ['ShedIdle', ['b', 'c']],
  ] as const)('a lowered connection limit with preemption %s sheds %j', (preemption, wanted) => {
    expect(shedding({ preemption }, { a: 300, b: 100, c: 200 })).toEqual(wanted)
  })

  test.each(['Warn', 'DryRun'] as const)('%s sheds nobody', (enforcement) => {
    expect(shedding({ preemption: 'ShedNewest', enforcement }, { a: 1, b: 2 })).toEqual([])
  })
})
