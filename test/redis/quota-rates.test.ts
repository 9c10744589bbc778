// Rates that several gateways divide in a real Redis: by a clock that is moved, through the buckets that tenants have.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../src/auth/auth.testing.js'
import { CommandError } from '../../src/errors.js'
import { limitsWith, policyOf, silentLog } from '../../src/session/session.testing.js'
import { TenantState } from '../../src/session/tenant/runtime.js'
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

/** Several gateways with one tenant each, in a time of their own: turns come once a second, at a third of a second's distance. */
class Rig {
  readonly clock = new ManualClock()
  gateways: LedgerGateway[] = []
  tenants: TenantState[] = []
  passed: number[] = []
  /** Publishes per second that each gateway's clients try. */
  wanted: number[] = []
  readonly #due: number[] = []

  async start(count: number, policy: TenantPolicy): Promise<this> {
    this.gateways = await startLedgers(count, `redis://127.0.0.1:${redis.port}`, { clock: this.clock })
    this.tenants = this.gateways.map(
      ({ ledger }) =>
        new TenantState(policy, { clock: this.clock, log: silentLog, allowPrivateJwks: false, ledger }),
    )
    this.passed = this.gateways.map(() => 0)
    this.wanted = this.gateways.map(() => 0)
    return this
  }

  get total(): number {
    return this.passed.reduce((sum, passed) => sum + passed, 0)
  }

  /** In steps of 10 ms. */
  async pass(ms: number, act: (gateway: number) => void = () => {}): Promise<void> {
    for (let step = 0; step < ms; step += 10) {
      this.clock.advance(10)
      for (const [index, wanted] of this.wanted.entries()) {
        this.#due[index] = (this.#due[index] ?? 0) + wanted / 100
        for (; (this.#due[index] ?? 0) >= 1; this.#due[index] = (this.#due[index] ?? 0) - 1) this.#try(index)
        act(index)
      }
      const phase = this.clock.monotonicMs() % 1_000
      const turning = this.gateways.findIndex(
        (_, index) => phase === Math.floor(33 / this.gateways.length) * 10 * (index + 1),
      )
      if (turning !== -1) await this.gateways[turning]?.ledger.turn()
      // What a beginning sends is answered within this step.
      else await sleep(0)
    }
  }

  #try(index: number): void {
    try {
      this.tenants[index]?.chargePublish('general')
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
  test('are equal at first', async () => {
    const rig = await new Rig().start(3, limited)
    expect(rig.shares()).toEqual([1 / 3, 1 / 3, 1 / 3])
  })

  test('follow demand within two seconds', async () => {
    const rig = await new Rig().start(3, limited)
    rig.wanted = [300, 100, 0]
    await rig.pass(2_100)
    const [one = 0, two = 0, three = 0] = rig.shares()
    expect(one).toBeCloseTo(0.75, 1)
    expect(two).toBeCloseTo(0.25, 1)
    // Of one who wants nothing it is an equal part, if it begins.
    expect(three).toBeCloseTo(1 / 3, 5)
    expect(one + two).toBeLessThanOrEqual(1.000_01)
  })

  test('one gateway that alone wants something has all within two seconds', async () => {
    const rig = await new Rig().start(3, limited)
    rig.wanted = [500, 0, 0]
    await rig.pass(2_100)
    rig.passed = [0, 0, 0]
    await rig.pass(2_000)
    expect(rig.total).toBeGreaterThanOrEqual(2 * rate - 2)
    expect(rig.total).toBeLessThanOrEqual(2 * rate + burst)
  })

  test('move when demand moves', async () => {
    const rig = await new Rig().start(2, limited)
    rig.wanted = [500, 0]
    await rig.pass(3_000)
    rig.wanted = [0, 500]
    await rig.pass(3_000)
    rig.passed = [0, 0]
    await rig.pass(2_000)
    expect(rig.total).toBeGreaterThanOrEqual(2 * rate - 2)
  })

  test('leave room for a burst where little of the limit is wanted, however little it was here', async () => {
    const rig = await new Rig().start(2, wide)
    rig.wanted = [400, 60]
    await rig.pass(3_100)
    const [much = 0, little = 0] = rig.shares()
    // What each wants, and of what nobody wants the half.
    expect(much).toBeCloseTo(0.4 + 0.3, 1)
    expect(little).toBeCloseTo(0.3, 1)
  })

  test('are nobody’s business where little of an equal part is wanted', async () => {
    const rig = await new Rig().start(2, wide)
    rig.wanted = [20, 1]
    await rig.pass(3_000)
    expect(await redis.cli('KEYS', '*rates*')).toBe('')
    expect(rig.shares()).toEqual([0.5, 0.5])
    // More than 25 a second, which is 5 % of the half.
    rig.wanted = [60, 1]
    await rig.pass(1_500)
    expect(await redis.cli('KEYS', '*rates*')).not.toBe('')
    expect(rig.shares()[0]).toBeGreaterThan(0.9)
    rig.wanted = [20, 1]
    await rig.pass(3_000)
    expect(await redis.cli('KEYS', '*rates*')).toBe('')
  })

  test('of a gateway that died go to the others', async () => {
    const rig = await new Rig().start(2, limited)
    rig.wanted = [500, 500]
    await rig.pass(2_100)
    expect(rig.shares()[0]).toBeCloseTo(0.5, 1)
    await rig.gateways.pop()?.kill()
    rig.wanted = [500]
    await until('the share has grown', async () => {
      await rig.pass(1_000)
      await sleep(200)
      return (rig.shares()[0] ?? 0) === 1
    })
  })
})

describe('never more than the limit, the burst and one share pass', () => {
  const allowed = (seconds: number, gateways: number): number =>
    rate * seconds + burst + (rate + burst) / gateways

  test.each([
    ['all begin at once', [400, 400, 400]],
    ['all want little', [50, 50, 50]],
    ['one wants much, the others little', [500, 20, 20]],
    ['one wants all', [500, 0, 0]],
  ])('where %s', async (_what, wanted) => {
    const rig = await new Rig().start(3, limited)
    rig.wanted = wanted
    await rig.pass(5_000)
    expect(rig.total).toBeLessThanOrEqual(allowed(5, 3))
    expect(rig.total).toBeGreaterThan(rate * 3.5)
  })

  test('where one begins while another has all', async () => {
    const rig = await new Rig().start(3, limited)
    rig.wanted = [500, 0, 0]
    await rig.pass(3_000)
    rig.passed = [0, 0, 0]
    rig.wanted = [500, 500, 0]
    await rig.pass(5_000)
    expect(rig.total).toBeLessThanOrEqual(allowed(5, 3))
    expect(rig.total).toBeGreaterThan(rate * 4.5)
    expect(rig.passed[1]).toBeGreaterThan(rate * 1.5)
  })

  test('where all wanted little of it and then want much', async () => {
    const rig = await new Rig().start(3, limited)
    rig.wanted = [30, 10, 2]
    await rig.pass(3_000)
    rig.passed = [0, 0, 0]
    rig.wanted = [500, 500, 500]
    await rig.pass(5_000)
    expect(rig.total).toBeLessThanOrEqual(allowed(5, 3))
    expect(rig.total).toBeGreaterThan(rate * 4.5)
  })
})

test('an idle gateway may use an equal part at once', async () => {
  const rig = await new Rig().start(3, limited)
  rig.wanted = [500, 0, 0]
  await rig.pass(3_000)
  rig.wanted = [500, 0, 500]
  await rig.pass(900)
  expect(rig.passed[2]).toBeGreaterThan(rate / 3 - 5)
})

test('the smallest share is one a second', async () => {
  const policy = policyOf({ limits: limitsWith('messages', { publishPerSecond: 2, publishBurst: 2 }) })
  const rig = await new Rig().start(3, policy)
  rig.wanted = [100, 1, 0]
  await rig.pass(5_000)
  expect(rig.passed[1]).toBeGreaterThanOrEqual(3)
})

describe('deliveries count wherever they are made', () => {
  /** All publishers are on the first gateway, all subscribers on the second: each publication reaches a hundred. */
  async function deliveredIn(rig: Rig, ms: number): Promise<number> {
    let delivered = 0
    await rig.pass(ms, (index) => {
      if (index === 1) return
      const now = (rig.passed[0] ?? 0) * 100
      if (now > delivered) rig.tenants[1]?.chargeDeliveries(now - delivered)
      delivered = now
    })
    return delivered
  }

  test('for who publishes much', async () => {
    const policy = policyOf({ limits: limitsWith('messages', { fanoutPerSecond: 1_000 }) })
    const rig = await new Rig().start(2, policy)
    rig.wanted = [50, 0]
    const delivered = await deliveredIn(rig, 10_000)
    // Two seconds pass until the first gateway knows; the debt is paid after that.
    expect(delivered).toBeLessThanOrEqual(1_000 * 10 + 1_000 + 2 * 5_000)
    expect(delivered).toBeGreaterThan(1_000 * 8)
  })

  test('for who publishes little', async () => {
    const policy = policyOf({
      limits: limitsWith('messages', {
        publishPerSecond: 1_000,
        publishBurst: 1_000,
        fanoutPerSecond: 1_000,
      }),
    })
    const rig = await new Rig().start(2, policy)
    await rig.pass(10_000)
    // Less than 5 % of its part of the publishes, and twice what may be delivered.
    rig.wanted = [20, 0]
    const delivered = await deliveredIn(rig, 20_000)
    // It asks every four seconds, and pays from the second time on.
    expect(delivered).toBeLessThanOrEqual(1_000 * 20 + 1_000 + 9 * 1_000)
    expect(delivered).toBeGreaterThan(1_000 * 15)
  })
})

test('without Redis the last shares hold for five seconds, and are equal then', async () => {
  const rig = await new Rig().start(2, limited)
  rig.wanted = [300, 100]
  await rig.pass(3_000)
  await redis.kill()
  try {
    await until('the links know', () => Promise.resolve(rig.gateways.every(({ link }) => !link.current)))
    await rig.pass(4_000)
    expect(rig.shares()[0]).toBeCloseTo(0.75, 1)
    await rig.pass(3_000)
    expect(rig.shares()).toEqual([0.5, 0.5])
  } finally {
    await redis.start()
  }
})
