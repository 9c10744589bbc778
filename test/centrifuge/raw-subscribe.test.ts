// Positions and order on the wire: the reply comes before pushes, and each publication comes once.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { rawAs, type JsonLine, type RawCentrifugeClient } from '../support/frames.js'
import { rule } from '../support/policies.js'
import { within } from '../support/waiting.js'

const channels = [rule('general'), rule('short', { history: { size: 2, ttlMs: 3_600_000 } })]

interface SubscribeResult {
  readonly epoch: string
  readonly offset?: number
  readonly publications?: readonly { data: unknown; offset: number }[]
}

async function withPublications(channel: string, count: number) {
  const gateway = await gatewayFor({ channels })
  const ann = await rawAs(gateway, 'ann')
  for (let n = 1; n <= count; n += 1) await ann.ask(n + 1, { publish: { channel, data: n } })
  const { history } = (await ann.ask(500, { history: { channel } })) as { history: { epoch: string } }
  return { gateway, ann, epoch: history.epoch }
}

const subscribe = (client: RawCentrifugeClient, command: object): Promise<JsonLine> =>
  client.ask(600, { subscribe: { channel: 'general', ...command } })

describe('the reply', () => {
  test('a first subscription is at the newest position', async () => {
    const { ann, epoch } = await withPublications('general', 3)
    expect(await subscribe(ann, { recoverable: true })).toEqual({
      id: 600,
      subscribe: { recoverable: true, positioned: true, epoch, offset: 3 },
    })
  })

  test('a subscription without positions gets none', async () => {
    const { ann } = await withPublications('general', 3)
    expect(await subscribe(ann, {})).toEqual({ id: 600, subscribe: {} })
  })

  test('a recovered subscription has the requested offset and the missed publications', async () => {
    const { ann, epoch } = await withPublications('general', 3)
    expect(await subscribe(ann, { recover: true, epoch, offset: 1 })).toMatchObject({
      subscribe: {
        recoverable: true,
        positioned: true,
        epoch,
        offset: 1,
        publications: [
          { data: 2, offset: 2 },
          { data: 3, offset: 3 },
        ],
        recovered: true,
        was_recovering: true,
      },
    })
  })

  test('with nothing missed: recovered, without publications', async () => {
    const { ann, epoch } = await withPublications('general', 3)
    expect(await subscribe(ann, { recover: true, epoch, offset: 3 })).toEqual({
      id: 600,
      subscribe: {
        recoverable: true,
        positioned: true,
        epoch,
        offset: 3,
        recovered: true,
        was_recovering: true,
      },
    })
  })

  test('without epoch and offset: the whole history, if it is complete', async () => {
    const { ann, epoch } = await withPublications('general', 2)
    const reply = await subscribe(ann, { recover: true })
    expect(reply).toMatchObject({
      subscribe: { epoch, recovered: true, publications: [{ offset: 1 }, { offset: 2 }] },
    })
    expect(reply['subscribe']).not.toHaveProperty('offset')
  })

  test.each([
    ['another epoch', { channel: 'general', epoch: 'other', offset: 1 }],
    ['an offset above the top', { channel: 'general', epoch: '', offset: 99 }],
    ['an offset above 2^53', { channel: 'general', epoch: '', offset: Number('18446744073709551615') }],
    ['trimmed history', { channel: 'short', epoch: '', offset: 0 }],
  ])('%s: not recovered, at the newest position, and live', async (_what, since) => {
    const { ann } = await withPublications(since.channel, 3)
    const reply = await subscribe(ann, { recover: true, ...since })
    expect(reply).toMatchObject({ subscribe: { offset: 3, was_recovering: true } })
    expect(reply['subscribe']).not.toHaveProperty('recovered')
    expect(reply['subscribe']).not.toHaveProperty('publications')
    ann.send({ id: 700, publish: { channel: since.channel, data: 'live' } })
    expect(await ann.object()).toMatchObject({ push: { pub: { data: 'live', offset: 4 } } })
  })
})

describe('order', () => {
  test('the publisher’s own publication comes before the reply to its publish', async () => {
    const { ann } = await withPublications('general', 0)
    await subscribe(ann, {})
    ann.send({ id: 2, publish: { channel: 'general', data: 'x' } })
    expect(await ann.object()).toHaveProperty('push.pub')
    expect(await ann.object()).toEqual({ id: 2, publish: {} })
  })

  test('the client’s own join follows the reply', async () => {
    const { ann } = await withPublications('general', 0)
    ann.send({ id: 2, subscribe: { channel: 'general', join_leave: true } })
    expect(await ann.object()).toMatchObject({ id: 2 })
    expect(await ann.object()).toMatchObject({
      push: { channel: 'general', join: { info: { user: 'ann' } } },
    })
  })

  test('an error does not change the order of replies', async () => {
    const { ann } = await withPublications('general', 0)
    ann.send(
      { id: 2, history: { channel: 'general', limit: 1 } },
      { id: 3, subscribe: { channel: 'nowhere' } },
      { id: 4, presence_stats: { channel: 'general' } },
      { id: 5, rpc: { method: 'x' } },
      { id: 6, history: { channel: 'general' } },
    )
    const ids = (await ann.lines.take(5)).map((line) => (JSON.parse(line) as { id: number }).id)
    expect(ids).toEqual([2, 3, 4, 5, 6])
  })

  test.each([
    ['with recovery', true],
    ['without positions', false],
  ])(
    'subscribing 200 times %s while others publish: reply first, no double, no hole',
    async (_what, recovers) => {
      const { gateway, ann, epoch } = await withPublications('general', 1)
      const bob = await rawAs(gateway, 'bob')
      const stop = new AbortController()
      const publishing = (async () => {
        for (let id = 2; !stop.signal.aborted; id += 1)
          await bob.ask(id, { publish: { channel: 'general', data: id } })
      })()
      let seen = 1
      for (let round = 0; round < 200; round += 1) {
        const since = recovers ? { recover: true, epoch, offset: seen } : {}
        ann.send({ id: 1000 + round, subscribe: { channel: 'general', ...since } })
        const reply = (await ann.object()) as { id?: number; subscribe: SubscribeResult }
        expect(reply.id, 'the reply comes before any push').toBe(1000 + round)
        const offsets = (reply.subscribe.publications ?? []).map(({ offset }) => offset)
        const taken = recovers ? 1 + (round % 3) : 2
        while (offsets.length < taken) offsets.push(offsetOf(await ann.object()))
        ann.send({ id: 5000 + round, unsubscribe: { channel: 'general' } })
        for (let line = await ann.object(); line['id'] !== 5000 + round; line = await ann.object())
          offsets.push(offsetOf(line))
        const first = recovers ? seen + 1 : (offsets[0] ?? 0)
        expect(offsets).toEqual(offsets.map((_, index) => first + index))
        seen = offsets.at(-1) ?? seen
      }
      stop.abort()
      await within('the last publish', publishing)
    },
  )
})

function offsetOf(line: JsonLine): number {
  return (line as { push: { pub: { offset: number } } }).push.pub.offset
}
