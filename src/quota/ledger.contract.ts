// Tests the promises that every ledger makes to a single gateway, one behaviour per test.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { reportedRates, sharedRates, type QuotaLedger, type TenantLease } from './ledger.js'

export interface OpenedLedger {
  readonly ledger: QuotaLedger
  /** Closes the ledger and removes its data. */
  close(): Promise<void>
}

const ignoringListener = {
  channels: {
    channelLimits: () => ({ max: 1_000, subscribers: 1_000 }),
    count: () => 0,
    useOf: () => undefined,
  },
  perSecond: () => 0,
  sharesChanged() {},
  usedByOthers() {},
}

const admitted = { admitted: true }

/** Registers the tests for one ledger, for example `ledgerContract('LocalLedger', open)`. */
export function ledgerContract(name: string, open: () => Promise<OpenedLedger>): void {
  describe(`${name} keeps the promises of a ledger:`, () => {
    const limits = { max: 3, perUser: 2, guests: 10_000 }
    let opened: OpenedLedger
    let lease: TenantLease

    beforeEach(async () => {
      opened = await open()
      lease = opened.ledger.open('t1', ignoringListener)
    })

    afterEach(async () => opened.close())

    test('a tenant gets as many connections as its limit allows', async () => {
      for (const user of ['ann', 'bob', 'eve']) expect(await lease.acquire(user, limits)).toEqual(admitted)
      expect(await lease.acquire('mia', limits)).toEqual({ admitted: false, limit: 'tenant', used: 3 })
      expect([lease.held, lease.users, lease.heldByAll]).toEqual([3, 3, 3])
    })

    test('a user gets as many connections as the limit allows', async () => {
      await lease.acquire('ann', limits)
      await lease.acquire('ann', limits)
      expect(await lease.acquire('ann', limits)).toEqual({ admitted: false, limit: 'user', used: 2 })
      expect(await lease.acquire('bob', limits)).toEqual(admitted)
      expect([lease.held, lease.users]).toEqual([3, 2])
    })

    test('when both limits are used up, the answer names the limit of the tenant', async () => {
      for (const user of ['ann', 'ann', 'bob']) await lease.acquire(user, limits)
      expect(await lease.acquire('ann', limits)).toEqual({ admitted: false, limit: 'tenant', used: 3 })
    })

    test('guests together get as many connections as their limit allows', async () => {
      const shared = { max: 5, perUser: 5, guests: 2 }
      for (const user of ['guest:a', 'guest:b']) expect(await lease.acquire(user, shared)).toEqual(admitted)
      const refused = { admitted: false, limit: 'guests', used: 2 }
      expect(await lease.acquire('guest:c', shared)).toEqual(refused)
      expect(await lease.acquire('guest:a', shared)).toEqual(refused)
      expect(await lease.check('guest:c', shared)).toEqual(refused)
      expect([lease.guests, lease.guestsByAll, lease.held]).toEqual([2, 2, 2])
    })

    test('what guests may not use is left for signed-in users', async () => {
      const shared = { max: 5, perUser: 5, guests: 2 }
      for (let n = 0; n < 10; n += 1) await lease.acquire(`guest:${n}`, shared)
      for (const user of ['ann', 'bob', 'guest', 'Guest:x'])
        expect(await lease.acquire(user, shared)).toEqual(
          user === 'Guest:x' ? { admitted: false, limit: 'tenant', used: 5 } : admitted,
        )
      expect(await lease.acquire('guest:z', shared)).toMatchObject({ limit: 'tenant', used: 5 })
      lease.release('guest:0')
      expect(await lease.acquire('eve', shared)).toEqual(admitted)
      expect(lease.guests).toBe(1)
    })

    test('a share of 0 admits no guest, and a lowered share applies to the next guest', async () => {
      expect(await lease.acquire('guest:a', { max: 5, perUser: 5, guests: 0 })).toMatchObject({ used: 0 })
      for (const user of ['guest:a', 'guest:b']) await lease.acquire(user, { max: 5, perUser: 5, guests: 2 })
      lease.release('guest:a')
      expect(await lease.acquire('guest:c', { max: 5, perUser: 5, guests: 1 })).toMatchObject({
        limit: 'guests',
        used: 1,
      })
    })

    test('of a hundred concurrent requests of guests, as many are admitted as their limit allows', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) =>
          lease.acquire(n % 2 === 0 ? `guest:${n}` : `user ${n}`, { max: 100, perUser: 1, guests: 10 }),
        ),
      )
      expect(answers.filter((answer) => answer.admitted)).toHaveLength(60)
      expect([lease.held, lease.guests]).toEqual([60, 10])
    })

    test('a limit of 0 admits no connection', async () => {
      expect(await lease.acquire('ann', { max: 0, perUser: 1, guests: 10_000 })).toMatchObject({
        limit: 'tenant',
        used: 0,
      })
      expect(await lease.acquire('ann', { max: 1, perUser: 0, guests: 10_000 })).toMatchObject({
        limit: 'user',
        used: 0,
      })
    })

    test('a released connection is free immediately', async () => {
      const narrow = { max: 1, perUser: 1, guests: 10_000 }
      for (let round = 0; round < 20; round += 1) {
        expect(await lease.acquire('ann', narrow)).toEqual(admitted)
        lease.release('ann')
        expect([lease.held, lease.users]).toEqual([0, 0])
      }
    })

    test('of a hundred concurrent requests, as many are admitted as the limit allows', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) =>
          lease.acquire(`user ${n}`, { max: 30, perUser: 1, guests: 10_000 }),
        ),
      )
      expect(answers.filter((answer) => answer.admitted)).toHaveLength(30)
      expect(lease.held).toBe(30)
    })

    test('of a hundred concurrent requests of one user, as many are admitted as a user may have', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, () => lease.acquire('ann', { max: 30, perUser: 7, guests: 10_000 })),
      )
      expect(answers.filter((answer) => answer.admitted)).toHaveLength(7)
    })

    test('check() counts nothing', async () => {
      const narrow = { max: 1, perUser: 1, guests: 10_000 }
      expect(await lease.check('ann', narrow)).toEqual(admitted)
      expect(await lease.check('ann', narrow)).toEqual(admitted)
      await lease.acquire('ann', narrow)
      expect(await lease.check('bob', narrow)).toEqual({ admitted: false, limit: 'tenant', used: 1 })
      expect(lease.held).toBe(1)
    })

    test('a connection reserved beyond the limits counts for the next request', async () => {
      lease.reserve('ann')
      lease.reserve('ann')
      expect(await lease.acquire('ann', limits)).toEqual({ admitted: false, limit: 'user', used: 2 })
      lease.reserve('bob')
      expect(await lease.acquire('eve', limits)).toEqual({ admitted: false, limit: 'tenant', used: 3 })
    })

    test('a raised or lowered limit applies to the next request', async () => {
      for (const user of ['ann', 'bob']) await lease.acquire(user, limits)
      expect(await lease.acquire('eve', { ...limits, max: 1 })).toMatchObject({ used: 2 })
      expect(await lease.acquire('eve', limits)).toEqual(admitted)
    })

    test('a connection that is not counted cannot be released', async () => {
      await lease.acquire('ann', limits)
      expect(() => lease.release('bob')).toThrow('not counted')
      lease.release('ann')
      expect(() => lease.release('ann')).toThrow('not counted')
    })

    test('tenants are counted separately', async () => {
      const narrow = { max: 1, perUser: 1, guests: 10_000 }
      const other = opened.ledger.open('t2', ignoringListener)
      await lease.acquire('ann', narrow)
      expect(await other.acquire('ann', narrow)).toEqual(admitted)
    })

    test('a user may have any name', async () => {
      const names = ['', ' ', '0', 'a b', 'a\nb', 'guest:x', '{t}', 'ä☃', '__proto__', 'x'.repeat(300)]
      for (const user of names) {
        expect(await lease.acquire(user, { max: 100, perUser: 1, guests: 10_000 })).toEqual(admitted)
        expect(await lease.acquire(user, { max: 100, perUser: 1, guests: 10_000 })).toMatchObject({
          limit: 'user',
        })
      }
    })

    test('connections of a closed lease can still be released', async () => {
      await lease.acquire('ann', limits)
      lease.close()
      lease.release('ann')
      expect(lease.held).toBe(0)
    })

    test('a single gateway may use all of every rate', () => {
      for (const rate of sharedRates) {
        lease.spend(rate, 5)
        expect(lease.share(rate)).toBe(1)
      }
    })

    test('a gateway may report any work', () => {
      for (const rate of reportedRates) lease.report(rate, 1_000_000)
      expect(lease.share('publish')).toBe(1)
    })
  })
}
