// Tests the promises that every presence makes, one behaviour per test. Time passes only through `advance`.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ChannelRef, ClientInfo } from '../broker/broker.js'
import { presenceTtlMs, type Presence } from './presence.js'

/** The presences of two gateways on the same empty data. */
export interface OpenedPresences {
  readonly presence: Presence
  readonly peer: Presence
  /**
   * Lets time pass for both presences and for the data: moves a clock, or waits where the clock cannot be
   * moved.
   */
  advance(ms: number): Promise<void>
  /** Closes both and removes the data. */
  close(): Promise<void>
}

export interface PresenceContractOptions {
  /** The time to live of the presence under test, in milliseconds. Default `presenceTtlMs`. */
  readonly ttlMs?: number
  /**
   * The number of scripts that the property test compares with a simple model. A presence whose calls are
   * round trips uses fewer. Default 100.
   */
  readonly scripts?: number
}

/** Registers the tests for one presence, for example `presenceContract('MemoryPresence', open)`. */
export function presenceContract(
  name: string,
  open: () => Promise<OpenedPresences>,
  options: PresenceContractOptions = {},
): void {
  const ttlMs = options.ttlMs ?? presenceTtlMs
  const ref: ChannelRef = { tenantId: 't1', channel: 'room:1' }
  const otherChannel: ChannelRef = { tenantId: 't1', channel: 'room:2' }
  const otherTenant: ChannelRef = { tenantId: 't2', channel: 'room:1' }

  let opened: OpenedPresences
  let presence: Presence
  let peer: Presence

  const namesOn = async (of: ChannelRef = ref) =>
    [...(await presence.members(of, { limit: 1000 })).members.keys()].toSorted()

  describe(`${name} keeps the promises of presence:`, () => {
    beforeEach(async () => {
      opened = await open()
      ;({ presence, peer } = opened)
    })

    afterEach(async () => opened.close())

    describe('add', () => {
      test('a user’s first session is a user edge, the next is not', async () => {
        expect(await presence.add(ref, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: false, clients: 2 })
      })

      test('each user has edges of their own', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's2', userInfo('bob'))).toEqual({ userEdge: true, clients: 2 })
      })

      test('a session that is added again counts once and is not an edge', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's1', userInfo('ann'))).toEqual({ userEdge: false, clients: 1 })
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('a session that is added again with other info shows the latest', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.add(ref, 's1', { ...userInfo('ann'), name: 'Ann B' })
        expect((await presence.members(ref, { limit: 1 })).members.get('s1')?.name).toBe('Ann B')
      })

      test('a session that is added again as another user counts only for that user', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's1', userInfo('bob'))).toEqual({ userEdge: true, clients: 1 })
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: true, clients: 2 })
        expect(await presence.stats(ref)).toEqual({ clients: 2, users: 2 })
      })

      test('two sessions with one client name count twice', async () => {
        await presence.add(ref, 's1', { user: 'ann', client: 'tab' })
        expect(await presence.add(ref, 's2', { user: 'ann', client: 'tab' })).toEqual({
          userEdge: false,
          clients: 2,
        })
        expect(await namesOn()).toEqual(['s1', 's2'])
      })

      test('a session on another gateway is a member and counts for the edge', async () => {
        await peer.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: false, clients: 2 })
        expect(await namesOn()).toEqual(['s1', 's2'])
      })

      test('of a hundred concurrent sessions of a user, one is the edge', async () => {
        const adding = Array.from({ length: 100 }, (_, n) =>
          (n % 2 === 0 ? presence : peer).add(ref, `s${n}`, userInfo('ann')),
        )
        const added = await Promise.all(adding)
        expect(added.filter(({ userEdge }) => userEdge)).toHaveLength(1)
        expect(Math.max(...added.map(({ clients }) => clients))).toBe(100)
      })
    })

    describe('remove', () => {
      test('a user’s last session is a user edge, the one before is not', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.add(ref, 's2', userInfo('ann'))
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 1 })
        expect(await presence.remove(ref, 's2')).toEqual({ userEdge: true, clients: 0 })
      })

      test('removing a missing session is neither an error nor an edge', async () => {
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 0 })
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.remove(ref, 's2')).toEqual({ userEdge: false, clients: 1 })
      })

      test('removing twice is one edge', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.remove(ref, 's1')
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 0 })
      })

      test('a session added after a removal is a first session again', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.remove(ref, 's1')
        expect(await presence.add(ref, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
      })

      test('close() leaves the entries of other gateways', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await peer.close()
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('close() resolves, and so does a second call', async () => {
        await presence.close()
        await expect(presence.close()).resolves.toBeUndefined()
      })
    })

    describe('expiry', () => {
      test('an entry without refresh does not count', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        expect(await presence.stats(ref)).toEqual({ clients: 0, users: 0 })
        expect(await namesOn()).toEqual([])
      })

      test('an entry counts before it expires', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('after an expiry the user’s next session is an edge', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
      })

      test('removing an expired session is not an edge', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: false, clients: 0 })
      })

      test('a session beside an expired one is the user’s last', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        await presence.add(ref, 's2', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        expect(await presence.remove(ref, 's2')).toEqual({ userEdge: true, clients: 0 })
      })

      test('refresh() extends the named entries only', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.add(ref, 's2', userInfo('bob'))
        await opened.advance(ttlMs * 0.6)
        await presence.refresh(ref, new Map([['s1', userInfo('ann')]]))
        await opened.advance(ttlMs * 0.6)
        expect(await namesOn()).toEqual(['s1'])
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
      })

      test('add() extends an entry as well', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 0.6)
        expect(await namesOn()).toEqual(['s1'])
      })

      test('refresh() adds an expired entry again', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await opened.advance(ttlMs * 1.2)
        await presence.refresh(ref, new Map([['s1', userInfo('ann')]]))
        expect(await presence.stats(ref)).toEqual({ clients: 1, users: 1 })
        expect(await presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: false, clients: 2 })
      })

      test('refresh() of a present entry counts it once', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        await presence.refresh(ref, new Map([['s1', userInfo('ann')]]))
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
      })

      test('refresh() without entries is no error', async () => {
        await expect(presence.refresh(ref, new Map())).resolves.toBeUndefined()
      })
    })

    describe('reads', () => {
      test('members have their info unchanged, by session id', async () => {
        const info = Buffer.from('{"a":  "é🦜"}')
        await presence.add(ref, 's1', { user: 'ann "ünï', client: 'tab', name: 'Ann 🦜', info })
        const member = (await peer.members(ref, { limit: 10 })).members.get('s1')
        expect(member).toMatchObject({ user: 'ann "ünï', client: 'tab', name: 'Ann 🦜' })
        expect(Buffer.from(member?.info ?? []).equals(info)).toBe(true)
      })

      test('a member without name and info has neither', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        const member = (await presence.members(ref, { limit: 10 })).members.get('s1')
        expect(member?.name).toBeUndefined()
        expect(member?.info).toBeUndefined()
      })

      test('members are at most `limit`; stats count all', async () => {
        for (let n = 0; n < 10; n += 1) await presence.add(ref, `s${n}`, userInfo(`u${n % 5}`))
        expect((await presence.members(ref, { limit: 3 })).members.size).toBe(3)
        expect((await presence.members(ref, { limit: 0 })).members.size).toBe(0)
        expect(await presence.stats(ref)).toEqual({ clients: 10, users: 5 })
      })

      test('an unknown channel is empty', async () => {
        expect(await presence.stats(ref)).toEqual({ clients: 0, users: 0 })
        expect((await presence.members(ref, { limit: 10 })).members.size).toBe(0)
      })

      test('each client name of a guest is a user of its own', async () => {
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

      test('channels are separate', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(otherChannel, 's1', userInfo('ann'))).toEqual({
          userEdge: true,
          clients: 1,
        })
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
        expect(await namesOn(otherChannel)).toEqual(['s1'])
      })

      test('channels of one name in two tenants are separate', async () => {
        await presence.add(ref, 's1', userInfo('ann'))
        expect(await presence.add(otherTenant, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
        expect(await presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
        expect(await presence.stats(otherTenant)).toEqual({ clients: 1, users: 1 })
      })
    })

    test('answers every call like a simple model', async () => {
      let scripts = 0
      await fc.assert(
        fc.asyncProperty(fc.array(steps, { maxLength: 40 }), async (script) => {
          scripts += 1
          // Each script has its own channel, because opening another presence would be slow on a server.
          const own: ChannelRef = { tenantId: 't1', channel: `script:${scripts}` }
          const model = new NaivePresence(ttlMs)
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
          const { members } = await presence.members(own, { limit: 100 })
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

/** A simple model of presence: a list that is filtered completely each time. */
class NaivePresence {
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
  // The waits keep the age of an entry away from its time to live, because the clocks of the server and of
  // the test may differ.
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ttls: fc.constantFrom(0.3, 0.7, 1.5) }),
  },
)
