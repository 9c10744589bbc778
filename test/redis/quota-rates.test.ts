// Tests of the rates that several gateways divide through a real Redis, with a manual clock and the token
// buckets of the tenants.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../src/auth/auth.testing.js'
import { CommandError } from '../../src/errors.js'
import { leaseKey } from '../../src/redis/keys.js'
import { LocalRevocations } from '../../src/revocation/local.js'
import { limitsWith, policyOf, silentLog } from '../../src/session/session.testing.js'
import type { TenantQuota } from '../../src/session/tenant/quota.js'
import { TenantRuntime } from '../../src/session/tenant/runtime.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { endLedgers, startLedgers, type LedgerGateway } from '../support/redis-ledger.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess

beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(async () => {
  await redis.cli('FLUSHALL')
})
afterEach(() => endLedgers())
afterAll(() => endRedisProcesses())

const rate = 100
const burst = 20

/**
 * Several gateways with one tenant each and a manual clock. Each gateway synchronizes once a second, evenly
 * spread over a third of the second.
 */
class GatewayRig {
  readonly clock = new ManualClock()
  gateways: LedgerGateway[] = []
  tenants: TenantRuntime[] = []
  passed: number[] = []
  /** The publishes per second that the clients of each gateway try. */
  demand: number[] = []
  readonly #due: number[] = []

  async start(count: number, policy: TenantPolicy): Promise<this> {
    this.gateways = await startLedgers(count, `redis://127.0.0.1:${redis.port}`, { clock: this.clock })
    this.tenants = this.gateways.map(
      ({ ledger }) =>
        new TenantRuntime(policy, {
          clock: this.clock,
          log: silentLog,
          allowPrivateJwks: false,
          ledger,
          arrivalDelay: { at: () => 0 },
          guestSecrets: [],
          revocations: new LocalRevocations(this.clock),
        }),
    )
    this.passed = this.gateways.map(() => 0)
    this.demand = this.gateways.map(() => 0)
    return this
  }

  get total(): number {
    return this.passed.reduce((sum, passed) => sum + passed, 0)
  }

  /** Advances the clock in steps of 10 ms. */
  async pass(ms: number, act: (gateway: number) => void = () => {}): Promise<void> {
    for (let step = 0; step < ms; step += 10) {
      this.clock.advance(10)
      for (const [index, demand] of this.demand.entries()) {
        this.#due[index] = (this.#due[index] ?? 0) + demand / 100
        for (; (this.#due[index] ?? 0) >= 1; this.#due[index] = (this.#due[index] ?? 0) - 1) this.#try(index)
        act(index)
      }
      const phase = this.clock.monotonicMs() % 1_000
      const synchronizing = this.gateways.findIndex(
        (_, index) => phase === Math.floor(33 / this.gateways.length) * 10 * (index + 1),
      )
      if (synchronizing !== -1) await this.gateways[synchronizing]?.ledger.sync()
      // The exchange of a gateway that starts is answered within this step.
      else await sleep(0)
    }
  }

  #try(index: number): void {
    try {
      this.tenants[index]?.quota.rates.chargePublish('general')
      this.passed[index] = (this.passed[index] ?? 0) + 1
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
    }
  }

  shares(): number[] {
    return this.gateways.map(({ lease }) => lease.share('publish'))
  }
}

const limited = policyOf({ limits: limitsWith('messages', { publishPerSecond: rate, publishBurst: burst }) })
const wide = policyOf({ limits: limitsWith('messages', { publishPerSecond: 1_000, publishBurst: 1_000 }) })

describe('shares', () => {
  test('are equal at the start', async () => {
    const rig = await new GatewayRig().start(3, limited)
    expect(rig.shares()).toEqual([1 / 3, 1 / 3, 1 / 3])
  })

  test('follow demand within two seconds', async () => {
    const rig = await new GatewayRig().start(3, limited)
    rig.demand = [300, 100, 0]
    await rig.pass(2_100)
    const [one = 0, two = 0, three = 0] = rig.shares()
    expect(one).toBeCloseTo(0.75, 1)
    expect(two).toBeCloseTo(0.25, 1)
    // A gateway without demand may use an equal part when it starts.
    expect(three).toBeCloseTo(1 / 3, 5)
    expect(one + two).toBeLessThanOrEqual(1.000_01)
  })

  test('give the only gateway with a demand the whole limit within two seconds', async () => {
    const rig = await new GatewayRig().start(3, limited)
    rig.demand = [500, 0, 0]
    await rig.pass(2_100)
    rig.passed = [0, 0, 0]
    await rig.pass(2_000)
    expect(rig.total).toBeGreaterThanOrEqual(2 * rate - 2)
    expect(rig.total).toBeLessThanOrEqual(2 * rate + burst)
  })

  test('follow a demand that moves to another gateway', async () => {
    const rig = await new GatewayRig().start(2, limited)
    rig.demand = [500, 0]
    await rig.pass(3_000)
    rig.demand = [0, 500]
    await rig.pass(3_000)
    rig.passed = [0, 0]
    await rig.pass(2_000)
    expect(rig.total).toBeGreaterThanOrEqual(2 * rate - 2)
  })

  test('leave room for a burst while the total demand is small, even for the gateway with the lowest demand', async () => {
    const rig = await new GatewayRig().start(2, wide)
    rig.demand = [400, 60]
    await rig.pass(3_100)
    const [large = 0, small = 0] = rig.shares()
    // Each gateway gets its demand and half of the rest.
    expect(large).toBeCloseTo(0.4 + 0.3, 1)
    expect(small).toBeCloseTo(0.3, 1)
  })

  test('are not exchanged while the demand is a small part of an equal part', async () => {
    const rig = await new GatewayRig().start(2, wide)
    rig.demand = [20, 1]
    await rig.pass(3_000)
    expect(await redis.cli('KEYS', '*rates*')).toBe('')
    expect(rig.shares()).toEqual([0.5, 0.5])
    // The demand is now above 25 per second, which is 5 % of the equal part.
    rig.demand = [60, 1]
    await rig.pass(1_500)
    expect(await redis.cli('KEYS', '*rates*')).not.toBe('')
    expect(rig.shares()[0]).toBeGreaterThan(0.9)
    rig.demand = [20, 1]
    await rig.pass(3_000)
    expect(await redis.cli('KEYS', '*rates*')).toBe('')
  })

  test('of a killed gateway go to the others', async () => {
    const rig = await new GatewayRig().start(2, limited)
    rig.demand = [500, 500]
    await rig.pass(2_100)
    expect(rig.shares()[0]).toBeCloseTo(0.5, 1)
    await rig.gateways.pop()?.kill()
    rig.demand = [500]
    await until('the share has grown', async () => {
      await rig.pass(1_000)
      await sleep(200)
      return (rig.shares()[0] ?? 0) === 1
    })
  })
})

describe('no more than the limit, the burst and one share are admitted', () => {
  const allowed = (seconds: number, gateways: number): number =>
    rate * seconds + burst + (rate + burst) / gateways

  test.each([
    ['all start at the same time', [400, 400, 400]],
    ['all have a small demand', [50, 50, 50]],
    ['one has a large demand and the others a small one', [500, 20, 20]],
    ['only one has a demand', [500, 0, 0]],
  ])('when %s', async (_what, demand) => {
    const rig = await new GatewayRig().start(3, limited)
    rig.demand = demand
    await rig.pass(5_000)
    expect(rig.total).toBeLessThanOrEqual(allowed(5, 3))
    expect(rig.total).toBeGreaterThan(rate * 3.5)
  })

  test('when one starts while another has the whole limit', async () => {
    const rig = await new GatewayRig().start(3, limited)
    rig.demand = [500, 0, 0]
    await rig.pass(3_000)
    rig.passed = [0, 0, 0]
    rig.demand = [500, 500, 0]
    await rig.pass(5_000)
    expect(rig.total).toBeLessThanOrEqual(allowed(5, 3))
    expect(rig.total).toBeGreaterThan(rate * 4.5)
    expect(rig.passed[1]).toBeGreaterThan(rate * 1.5)
  })

  test('when a small demand of all grows large', async () => {
    const rig = await new GatewayRig().start(3, limited)
    rig.demand = [30, 10, 2]
    await rig.pass(3_000)
    rig.passed = [0, 0, 0]
    rig.demand = [500, 500, 500]
    await rig.pass(5_000)
    expect(rig.total).toBeLessThanOrEqual(allowed(5, 3))
    expect(rig.total).toBeGreaterThan(rate * 4.5)
  })
})

test('an idle gateway may use an equal part immediately', async () => {
  const rig = await new GatewayRig().start(3, limited)
  rig.demand = [500, 0, 0]
  await rig.pass(3_000)
  rig.demand = [500, 0, 500]
  await rig.pass(900)
  expect(rig.passed[2]).toBeGreaterThan(rate / 3 - 5)
})

test('the smallest share is one per second', async () => {
  const policy = policyOf({ limits: limitsWith('messages', { publishPerSecond: 2, publishBurst: 2 }) })
  const rig = await new GatewayRig().start(3, policy)
  rig.demand = [100, 1, 0]
  await rig.pass(5_000)
  expect(rig.passed[1]).toBeGreaterThanOrEqual(3)
})

describe('deliveries count on every gateway', () => {
  /**
   * All publishers are on the first gateway, and all subscribers on the second: each publication reaches a
   * hundred.
   */
  async function deliveredIn(rig: GatewayRig, ms: number): Promise<number> {
    let delivered = 0
    await rig.pass(ms, (index) => {
      if (index === 1) return
      const now = (rig.passed[0] ?? 0) * 100
      if (now > delivered) rig.tenants[1]?.quota.rates.chargeDeliveries(now - delivered)
      delivered = now
    })
    return delivered
  }

  test('for a publisher with a high rate', async () => {
    const policy = policyOf({ limits: limitsWith('messages', { fanoutPerSecond: 1_000 }) })
    const rig = await new GatewayRig().start(2, policy)
    rig.demand = [50, 0]
    const delivered = await deliveredIn(rig, 10_000)
    // The first gateway learns of the deliveries after two seconds and pays the debt afterwards.
    expect(delivered).toBeLessThanOrEqual(1_000 * 10 + 1_000 + 2 * 5_000)
    expect(delivered).toBeGreaterThan(1_000 * 8)
  })

  test('for a publisher with a low rate', async () => {
    const policy = policyOf({
      limits: limitsWith('messages', {
        publishPerSecond: 1_000,
        publishBurst: 1_000,
        fanoutPerSecond: 1_000,
      }),
    })
    const rig = await new GatewayRig().start(2, policy)
    await rig.pass(10_000)
    // This is less than 5 % of the gateway's part of the publishes, and twice the allowed deliveries.
    rig.demand = [20, 0]
    const delivered = await deliveredIn(rig, 20_000)
    // The first gateway exchanges its rates every four seconds and pays the debt from the second exchange on.
    expect(delivered).toBeLessThanOrEqual(1_000 * 20 + 1_000 + 9 * 1_000)
    expect(delivered).toBeGreaterThan(1_000 * 15)
  })
})

describe.each([
  ['reads', 'read', (quota: TenantQuota) => quota.rates.chargeRead('Cannot read')],
  ['subscriptions', 'join', (quota: TenantQuota) => quota.rates.chargeJoin('general')],
  ['API requests', 'api', (quota: TenantQuota) => quota.rates.chargeApi('info')],
] as const)('%s', (_what, name, charge) => {
  const policy = policyOf({
    limits: {
      ...limitsWith('messages', { readsPerSecond: rate, joinsPerSecond: rate }),
      api: { requestsPerSecond: rate },
    },
  })

  test('of all gateways together stay within the rate', async () => {
    const rig = await new GatewayRig().start(2, policy)
    let passed = 0
    const attempt = (index: number): void => {
      const quota = rig.tenants[index]?.quota
      if (!quota) return
      try {
        charge(quota)
        passed += 1
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
      }
    }
    // Each gateway is asked for two hundred a second, which is four times its part.
    await rig.pass(3_000, (index) => {
      attempt(index)
      attempt(index)
    })
    const before = passed
    await rig.pass(3_000, (index) => {
      attempt(index)
      attempt(index)
    })
    expect(passed - before).toBeLessThanOrEqual(rate * 3 + rate)
    expect(passed - before).toBeGreaterThan(rate * 2)
    expect(rig.gateways[0]?.lease.share(name)).toBeCloseTo(0.5, 1)
  })
})

test('bytes that one gateway sends are paid on every gateway', async () => {
  const rig = await new GatewayRig().start(
    2,
    policyOf({ limits: limitsWith('messages', { bytesOutPerSecond: 10_000 }) }),
  )
  rig.demand = [50, 0]
  await rig.pass(8_000, (index) => {
    if (index === 1) rig.tenants[1]?.quota.rates.chargeBytesOut(300)
  })
  // The second gateway sends three times the rate, so the first one may not publish most of the time.
  expect(rig.passed[0]).toBeLessThan(50 * 8 * 0.75)
  const publish = (): void => rig.tenants[0]?.quota.rates.chargePublish('general')
  expect(publish).toThrow('10000 bytes to clients per second are used')
})

test('a gateway of an earlier version, which knows two rates, shares them with a new one', async () => {
  const rig = await new GatewayRig().start(2, limited)
  const expiresMs = 60_000 + Number((await redis.cli('TIME')).split('\n')[0]) * 1_000
  // Expiry and deliveries, then demand and share of publishes and of connects.
  await redis.cli(
    'HSET',
    leaseKey(limited.tenantId, 'rates'),
    'old',
    `${expiresMs} 0 100.000 0.500000 0.000 0.000000`,
  )
  rig.demand = [300, 0]
  await rig.pass(3_100)
  const [share = 1] = rig.shares()
  expect(share).toBeGreaterThan(0.3)
  expect(share).toBeLessThanOrEqual(0.500_01)
})

test.each([4, 6])(
  'the bytes of a gateway with %i shared rates are no demand, and are paid',
  async (rates) => {
    const rig = await new GatewayRig().start(
      2,
      policyOf({
        limits: {
          ...limitsWith('messages', { bytesOutPerSecond: 10_000 }),
          api: { requestsPerSecond: 1_000 },
        },
      }),
    )
    const expiresMs = 60_000 + Number((await redis.cli('TIME')).split('\n')[0]) * 1_000
    const others = Array.from({ length: rates }, () => ' 0.000 0.000000').join('')
    await redis.cli(
      ...['HSET', leaseKey(limited.tenantId, 'rates'), 'other', `${expiresMs} 0${others} b90000.000`],
    )
    rig.demand = [50, 0]
    await rig.pass(4_000, (index) => {
      if (index === 0) rig.tenants[0]?.quota.rates.chargeApi('info')
    })
    expect(() => rig.tenants[0]?.quota.rates.chargePublish('general')).toThrow(
      '10000 bytes to clients per second are used',
    )
    // The bytes would be a demand that leaves almost nothing of the limit.
    expect(rig.gateways[0]?.lease.share('api')).toBeGreaterThan(0.5)
  },
)

test('without Redis the last shares stay valid for five seconds and are equal afterwards', async () => {
  const rig = await new GatewayRig().start(2, limited)
  rig.demand = [300, 100]
  await rig.pass(3_000)
  await redis.kill()
  try {
    await until('the loss of all links', () =>
      Promise.resolve(rig.gateways.every(({ link }) => !link.current)),
    )
    await rig.pass(4_000)
    expect(rig.shares()[0]).toBeCloseTo(0.75, 1)
    await rig.pass(3_000)
    expect(rig.shares()).toEqual([0.5, 0.5])
  } finally {
    await redis.start()
  }
})
