// Tests the promises that every store of revocations makes to a single gateway.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Revocation, RevocationSet } from '../tenant/revocations.js'
import type { RevocationStore } from './store.js'

export interface OpenedRevocations {
  readonly store: RevocationStore
  close(): Promise<void>
}

const soonMs = Date.now() + 3_600_000

/** Registers the tests for one store, for example `revocationContract('LocalRevocations', open)`. */
export function revocationContract(name: string, open: () => Promise<OpenedRevocations>): void {
  describe(`${name} keeps the promises of a store:`, () => {
    let opened: OpenedRevocations
    let notified: (readonly Revocation[] | 'all')[]
    let set: RevocationSet

    beforeEach(async () => {
      opened = await open()
      notified = []
      set = opened.store.open('t1', { revoked: (revocations) => notified.push(revocations) })
    })
    afterEach(async () => opened.close())

    const listed = async (limit = 100) => (await opened.store.list('t1', { after: '', limit })).revocations

    test('a revocation is in force once it is made, and the listener is notified', async () => {
      const revocation = { jti: 'one', expiresAtMs: soonMs }
      await opened.store.add('t1', revocation)
      expect([...set]).toEqual([revocation])
      expect(notified).toContainEqual([revocation])
      expect([await listed(), opened.store.size]).toEqual([[revocation], 1])
    })

    test('another tenant does not get it', async () => {
      const other = opened.store.open('t2', { revoked: () => expect.unreachable() })
      await opened.store.add('t1', { user: 'ann' })
      expect([other.size, (await opened.store.list('t2', { after: '', limit: 10 })).total]).toEqual([0, 0])
      expect(await opened.store.remove('t2', 'user:ann')).toBe(false)
      expect(set.size).toBe(1)
    })

    test('of two with one name, the later times hold', async () => {
      await opened.store.add('t1', { user: 'ann', issuedBeforeMs: 2_000, expiresAtMs: soonMs })
      await opened.store.add('t1', { user: 'ann', issuedBeforeMs: 1_000, expiresAtMs: soonMs + 1_000 })
      expect([...set]).toEqual([{ user: 'ann', issuedBeforeMs: 2_000, expiresAtMs: soonMs + 1_000 }])
      await opened.store.add('t1', { user: 'ann', issuedBeforeMs: 3_000 })
      expect(await listed()).toEqual([{ user: 'ann', issuedBeforeMs: 3_000 }])
    })

    test('it ends when it is removed', async () => {
      await opened.store.add('t1', { user: 'ann' })
      await opened.store.add('t1', { issuedBeforeMs: 1_000 })
      expect(await opened.store.remove('t1', 'user:ann')).toBe(true)
      expect(await opened.store.remove('t1', 'user:ann')).toBe(false)
      expect([...set]).toEqual([{ issuedBeforeMs: 1_000 }])
      expect(await opened.store.remove('t1', 'tenant')).toBe(true)
      expect([set.size, await listed()]).toEqual([0, []])
    })

    test('pages list each revocation once, in order, while others come and go', async () => {
      const users = Array.from({ length: 25 }, (_, index) => `user ${String(index).padStart(2, '0')} ü:`)
      for (const user of users) await opened.store.add('t1', { user })
      const found: (string | undefined)[] = []
      let after: string | undefined = ''
      while (after !== undefined) {
        const page = await opened.store.list('t1', { after, limit: 10 })
        found.push(...page.revocations.map(({ user }) => user))
        if (after === '') {
          expect(page.total).toBe(25)
          await opened.store.remove('t1', page.next ?? '')
          await opened.store.add('t1', { user: 'user 00' })
        }
        after = page.next
      }
      expect(found).toEqual(users)
    })

    test('a closed listener is not notified any more', async () => {
      opened.store.close('t1')
      await opened.store.add('t1', { user: 'ann' })
      expect(notified).toEqual([])
    })
  })
}
