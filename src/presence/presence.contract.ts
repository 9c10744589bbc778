// What every presence promises, one behaviour per test. Time passes by `advance`: nothing sleeps.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ChannelRef, ClientInfo } from '../broker/broker.js'
import { presenceTtlMs, type Presence } from './presence.js'

/** Two gateways' presences on the same fresh data. */
export interface OpenedPresences {
  readonly presence: Presence
  readonly peer: Presence
  /** Lets time pass for both and for the data: moves a clock, or waits where there is none to move. */
  advance(ms: number): Promise<void>
  /** Closes both and removes the data. */
  close(): Promise<void>
}

export interface PresenceContractOptions {
  /** As the presence under test was made. Default `presenceTtlMs`. */
  readonly ttlMs?: number
  /** Scripts that the property test runs against a naive model. Fewer where each call is a round trip. Default 100. */
  readonly scripts?: number
}

/** Every presence runs this: `presenceContract('MemoryPresence', open)`. */
export function presenceContract(
  name: string,
  open: () => Promise<OpenedPresences>,
  options: PresenceContractOptions = {},
): void {
  const ttlMs = options.ttlMs ?? presenceTtlMs
  const ref: ChannelRef = { tenantId: 't1', channel: 'room:1' }
  const elsewhere: ChannelRef = { tenantId: 't1', channel: 'room:2' }
  const foreign: ChannelRef = { tenantId: 't2', channel: 'room:1' }

  let opened: OpenedPresences
  let presence: Presence
  let peer: Presence

  const namesOn = async (of: ChannelRef = ref) =>
    [...(await presence.members(of, { limit: 1000 })).keys()].toSorted()

  describe(`${name} keeps the promises of presence:`, () => {
    beforeEach(async () => {
      opened = await open()
      ;({ presence, peer } = opened)
    })

    afterEach(async () => opened.close())

    describe('coming', () => {
      test('a user’s first session is an edge, the next is none', async () => {
        expect(await presence.add(ref, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: false, clients: 2 })
      })

      test('users have their own edges', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's2', userInfo('bob'))).toEqual({ userEdge: true, clients: 2 })
      })

      test('a session that is added again is there once, and no edge', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's1', userInfo('ann'))).toEqual({ userEdge: false, clients: 1 })
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('a session that is added again with other info shows the latest', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.add(ref, 's1', { ...userInfo('ann'), name: 'Ann B' })
        expect((await presence.members(ref, { limit: 1 })).get('s1')?.name).toBe('Ann B')
      })

      test('a session that is added again as another user counts for that one alone', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's1', userInfo('bob'))).toEqual({ userEdge: true, clients: 1 })
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: true, clients: 2 })
        expect(await presence.stats(ref)).toEqual({ clients: 2, users: 2 })
      })

      test('sessions of one client name are two', async () => {
        await presence.add(ref, 's1', { user: 'ann', client: 'tab' })
        expect(await presence.add(ref, 's2', { user: 'ann', client: 'tab' })).toEqual({
          userEdge: false,
          clients: 2,
        })
        expect(await namesOn()).toEqual(['s1', 's2'])
      })

      test('a session on another gateway is seen, and counts for the edge', async () => {
        await peer.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: false, clients: 2 })
        expect(await namesOn()).toEqual(['s1', 's2'])
      })

      test('of a hundred sessions of a user at once, one is the first', async () => {
        const adding = Array.from({ length: 100 }, (_, n) =>
          (n % 2 === 0 ? presence : peer).add(ref, `s${n}`, userInfo('ann')),
        )
        const added = await Promise.all(adding)
        expect(added.filter(({ userEdge }) => userEdge)).toHaveLength(1)
        expect(Math.max(...added.map(({ clients }) => clients))).toBe(100)
      })
    })

    describe('going', () => {
      test('a user’s last session is an edge, the one before is none', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.add(ref, 's2', userInfo('ann'))
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 1 })
        expect(await presence.remove(ref, 's2')).toEqual({ userEdge: true, clients: 0 })
      })

      test('removing what is not there is no error and no edge', async () => {
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 0 })
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.remove(ref, 's2')).toEqual({ userEdge: false, clients: 1 })
      })

      test('removing twice is one going', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.remove(ref, 's1')
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 0 })
      })

      test('coming back is a first session again', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.remove(ref, 's1')
        expect(await presence.add(ref, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
      })

      test('close() leaves the entries of other gateways', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await peer.close()
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('close() settles, and a second time too', async () => {
        await presence.close()
        await expect(presence.close()).resolves.toBeUndefined()
      })
    })

    describe('expiring', () => {
      test('an entry without refresh counts for nobody', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        expect(await presence.stats(ref)).toEqual({ clients: 0, users: 0 })
        expect(await namesOn()).toEqual([])
      })

      test('before its time an entry is there', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('after it expired, the user’s next session is the first', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
      })

      test('after it expired, removing it is no edge', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 0 })
      })

      test('a session beside an expired one is the last', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        await presence.add(ref, 's2', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        expect(await presence.remove(ref, 's2')).toEqual({ userEdge: true, clients: 0 })
      })

      test('refresh() keeps alive what it names, and that alone', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.add(ref, 's2', userInfo('bob'))
        await opened.advance(ttlMs * 0.6)
        await presence.refresh(ref, new Map([['s1', userInfo('ann')]]))
        await opened.advance(ttlMs * 0.6)
        expect(await namesOn()).toEqual(['s1'])
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('add() keeps alive as well', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        expect(await namesOn()).toEqual(['s1'])
      })

      test('refresh() adds what has expired', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        await presence.refresh(ref, new Map([['s1', userInfo('ann')]]))
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: false, clients: 2 })
      })

      test('refresh() of a living entry counts it once', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.refresh(ref, new Map([['s1', userInfo('ann')]]))
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
      })

      test('refresh() of nothing is no error', async () => {
        await expect(presence.refresh(ref, new Map())).resolves.toBeUndefined()
      })
    })

    describe('who is there', () => {
      test('members by session id, with what they brought, byte for byte', async () => {
        const info = Buffer.from('{"a":  "é🦜"}')
        await presence.add(ref, 's1', { user: 'ann "ünï', client: 'tab', name: 'Ann 🦜', info })
        const member = (await peer.members(ref, { limit: 10 })).get('s1')
        expect(member).toMatchObject({ user: 'ann "ünï', client: 'tab', name: 'Ann 🦜' })
        expect(Buffer.from(member?.info ?? []).equals(info)).toBe(true)
      })

      test('a member without name and info has none', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        const member = (await presence.members(ref, { limit: 10 })).get('s1')
        expect(member?.name).toBeUndefined()
        expect(member?.info).toBeUndefined()
      })

      test('at most `limit` members; stats count all', async () => {
        for (let n = 0; n < 10; n += 1) await presence.add(ref, `s${n}`, userInfo(`u${n % 5}`))
        expect((await presence.members(ref, { limit: 3 })).size).toBe(3)
        expect((await presence.members(ref, { limit: 0 })).size).toBe(0)
        expect(await presence.stats(ref)).toEqual({ clients: 10, users: 5 })
      })

      test('nobody on an unknown channel', async () => {
        expect(await presence.stats(ref)).toEqual({ clients: 0, users: 0 })
        expect((await presence.members(ref, { limit: 10 })).size).toBe(0)
      })

      test('guests are users of their own, one for each client name', async () => {
        await presence.add(ref, 's1', { user: '', client: 'g1' })
        expect(await presence.add(ref, 's2', { user: '', client: 'g2' })).toEqual({
          userEdge: true,
          clients: 2,
        })
        expect(await presence.add(ref, 's3', { user: '', client: 'g2' })).toEqual({
          userEdge: false,
          clients: 3,
        })
        expect(await presence.stats(ref)).toEqual({ clients: 3, users: 2 })
      })

      test('a guest is not the user of the same name', async () => {
        await presence.add(ref, 's1', { user: 'ann', client: 'tab' })
        expect(await presence.add(ref, 's2', { user: '', client: 'ann' })).toEqual({
          userEdge: true,
          clients: 2,
        })
      })

      test('channels are apart', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(elsewhere, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
        expect(await namesOn(elsewhere)).toEqual(['s1'])
      })

      test('two tenants’ channels of one name are apart', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(foreign, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
        expect(await presence.stats(foreign)).toEqual({ clients: 1, users: 1 })
      })
    })

    test('answers every call as a naive model does', async () => {
      let scripts = 0
      await fc.assert(
        fc.asyncProperty(fc.array(steps, { maxLength: 40 }), async (script) => {
          scripts += 1
          // A channel of its own for each script: opening anew would be slow on a server.
          const own: ChannelRef = { tenantId: 't1', channel: `script:${scripts}` }
          const model = new NaiveAttendance(ttlMs)
          for (const [index, step] of script.entries()) {
            const gateway = index % 2 === 0 ? presence : peer
            if (step.kind === 'wait') {
              model.nowMs += ttlMs * step.ttls
              await opened.advance(ttlMs * step.ttls)
            }
            if (step.kind === 'add')
              expect(await gateway.add(own, step.session, step.info)).toEqual(
                model.add(step.session, step.info),
              )
            if (step.kind === 'remove')
              expect(await gateway.remove(own, step.session)).toEqual(model.remove(step.session))
            if (step.kind === 'refresh') {
              await gateway.refresh(own, new Map(step.entries))
              for (const [session, info] of step.entries) model.add(session, info)
            }
            expect(await gateway.stats(own)).toEqual(model.stats())
          }
          const members = await presence.members(own, { limit: 100 })
          expect([...members.keys()].toSorted()).toEqual(model.sessions())
        }),
        { numRuns: options.scripts ?? 100 },
      )
    })
  })
}

function userInfo(user: string): ClientInfo {
  return { user, client: `client of ${user}` }
}

/** Does the same in the plainest way: a list that is filtered as a whole each time. */
class NaiveAttendance {
  nowMs = 0
  #all: { session: string; user: string; untilMs: number }[] = []
  readonly #ttlMs: number

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs
  }

  add(session: string, info: ClientInfo): { userEdge: boolean; clients: number } {
    const user = info.user === '' ? `guest:${info.client}` : info.user
    const userEdge = !this.#alive().some((one) => one.user === user)
    this.#all = [
      ...this.#alive().filter((one) => one.session !== session),
      { session, user, untilMs: this.nowMs + this.#ttlMs },
    ]
    return { userEdge, clients: this.#all.length }
  }

  remove(session: string): { userEdge: boolean; clients: number } {
    const user = this.#alive().find((one) => one.session === session)?.user
    this.#all = this.#alive().filter((one) => one.session !== session)
    return {
      userEdge: user !== undefined && !this.#all.some((one) => one.user === user),
      clients: this.#all.length,
    }
  }

  stats(): { clients: number; users: number } {
    return { clients: this.#alive().length, users: new Set(this.#alive().map((one) => one.user)).size }
  }

  sessions(): string[] {
    return this.#alive()
      .map((one) => one.session)
      .toSorted()
  }

  #alive() {
    return this.#all.filter((one) => this.nowMs < one.untilMs)
  }
}

const sessions = fc.constantFrom('s1', 's2', 's3', 's4')
const infos: fc.Arbitrary<ClientInfo> = fc.record({
  user: fc.constantFrom('', 'ann', 'bob'),
  client: fc.constantFrom('ann', 'tab'),
})
const steps = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), session: sessions, info: infos }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), session: sessions }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('refresh' as const),
      entries: fc.uniqueArray(fc.tuple(sessions, infos), { maxLength: 4, selector: ([session]) => session }),
    }),
  },
  // Never so that an entry's age comes close to its time to live, where a server's clock and ours may differ.
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ttls: fc.constantFrom(0.3, 0.7, 1.5) }),
  },
)
