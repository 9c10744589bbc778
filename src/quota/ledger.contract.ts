// What every ledger promises to a gateway that is alone, one behaviour per test.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { QuotaLedger, TenantLease } from './ledger.js'

export interface OpenedLedger {
  readonly ledger: QuotaLedger
  /** Closes it and removes what it kept. */
  close(): Promise<void>
}

const listensNot = { perSecond: () => 0, sharesChanged() {}, deliveredElsewhere() {} }

const admitted = { admitted: true }

/** Every ledger runs this: `ledgerContract('LocalLedger', open)`. */
export function ledgerContract(name: string, open: () => Promise<OpenedLedger>): void {
  describe(`${name} keeps the promises of a ledger:`, () => {
    const limits = { max: 3, perUser: 2 }
    let opened: OpenedLedger
    let lease: TenantLease

    beforeEach(async () => {
      opened = await open()
      lease = opened.ledger.open('t1', listensNot)
    })

    afterEach(async () => opened.close())

    test('of a tenant there are as many places as its limit says', async () => {
      for (const user of ['ann', 'bob', 'eve']) expect(await lease.acquire(user, limits)).toEqual(admitted)
      expect(await lease.acquire('mia', limits)).toEqual({ admitted: false, limit: 'tenant', used: 3 })
      expect([lease.held, lease.users, lease.heldByAll]).toEqual([3, 3, 3])
    })

    test('of a user there are as many places as the limit says', async () => {
      await lease.acquire('ann', limits)
      await lease.acquire('ann', limits)
      expect(await lease.acquire('ann', limits)).toEqual({ admitted: false, limit: 'user', used: 2 })
      expect(await lease.acquire('bob', limits)).toEqual(admitted)
      expect([lease.held, lease.users]).toEqual([3, 2])
    })

    test('where both are used up the tenant’s limit is named', async () => {
      for (const user of ['ann', 'ann', 'bob']) await lease.acquire(user, limits)
      expect(await lease.acquire('ann', limits)).toEqual({ admitted: false, limit: 'tenant', used: 3 })
    })

    test('a limit of 0 lets nobody in', async () => {
      expect(await lease.acquire('ann', { max: 0, perUser: 1 })).toMatchObject({ limit: 'tenant', used: 0 })
      expect(await lease.acquire('ann', { max: 1, perUser: 0 })).toMatchObject({ limit: 'user', used: 0 })
    })

    test('a place given back is free at once', async () => {
      const narrow = { max: 1, perUser: 1 }
      for (let round = 0; round < 20; round += 1) {
        expect(await lease.acquire('ann', narrow)).toEqual(admitted)
        lease.release('ann')
        expect([lease.held, lease.users]).toEqual([0, 0])
      }
    })

    test('a hundred who come at once get as many places as there are', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) => lease.acquire(`user ${n}`, { max: 30, perUser: 1 })),
      )
      expect(answers.filter((answer) => answer.admitted)).toHaveLength(30)
      expect(lease.held).toBe(30)
    })

    test('one user who comes a hundred times at once gets as many places as a user has', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, () => lease.acquire('ann', { max: 30, perUser: 7 })),
      )
      expect(answers.filter((answer) => answer.admitted)).toHaveLength(7)
    })

    test('looking takes nothing', async () => {
      const narrow = { max: 1, perUser: 1 }
      expect(await lease.look('ann', narrow)).toEqual(admitted)
      expect(await lease.look('ann', narrow)).toEqual(admitted)
      await lease.acquire('ann', narrow)
      expect(await lease.look('bob', narrow)).toEqual({ admitted: false, limit: 'tenant', used: 1 })
      expect(lease.held).toBe(1)
    })

    test('a place that is taken whatever the limits say counts for who comes next', async () => {
      lease.take('ann')
      lease.take('ann')
      expect(await lease.acquire('ann', limits)).toEqual({ admitted: false, limit: 'user', used: 2 })
      lease.take('bob')
      expect(await lease.acquire('eve', limits)).toEqual({ admitted: false, limit: 'tenant', used: 3 })
    })

    test('a limit that is raised or lowered holds for who comes next', async () => {
      for (const user of ['ann', 'bob']) await lease.acquire(user, limits)
      expect(await lease.acquire('eve', { ...limits, max: 1 })).toMatchObject({ used: 2 })
      expect(await lease.acquire('eve', limits)).toEqual(admitted)
    })

    test('a place that nobody holds cannot be given back', async () => {
      await lease.acquire('ann', limits)
      expect(() => lease.release('bob')).toThrow('nobody holds')
      lease.release('ann')
      expect(() => lease.release('ann')).toThrow('nobody holds')
    })

    test('tenants are apart', async () => {
      const narrow = { max: 1, perUser: 1 }
      const other = opened.ledger.open('t2', listensNot)
      await lease.acquire('ann', narrow)
      expect(await other.acquire('ann', narrow)).toEqual(admitted)
    })

    test('users have any name', async () => {
      const names = ['', ' ', '0', 'a b', 'a\nb', 'guest:x', '{t}', 'ä☃', '__proto__', 'x'.repeat(300)]
      for (const user of names) {
        expect(await lease.acquire(user, { max: 100, perUser: 1 })).toEqual(admitted)
        expect(await lease.acquire(user, { max: 100, perUser: 1 })).toMatchObject({ limit: 'user' })
      }
    })

    test('a closed lease still takes places back', async () => {
      await lease.acquire('ann', limits)
      lease.close()
      lease.release('ann')
      expect(lease.held).toBe(0)
    })

    test('all of every rate is this gateway’s', () => {
      lease.spend('publish', 5)
      expect([lease.share('publish'), lease.share('connect')]).toEqual([1, 1])
    })
  })
}
