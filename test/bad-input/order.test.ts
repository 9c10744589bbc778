// Good commands at the wrong time, and positions that nobody ever had.
import { beforeEach, describe, expect, test } from 'vitest'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { rule, tenantPolicy } from '../support/policies.js'
import type { Json, RawClient } from '../support/raw-client.js'
import { expectSentence, targetGateway } from '../support/raw-gateway.js'
import { centrifugeDoor } from '../support/raw-http.js'

const history = { size: 3, ttlMs: 3_600_000 }
const channels = [rule('lobby'), rule('dm:*'), rule('general'), rule('short', { history })]
const [issuer] = tenantPolicy().issuers
const otherIssuer = {
  ...issuer,
  key: { type: 'SharedKey', secret: Buffer.alloc(64, 'o').toString('base64'), sample: true },
} as TenantPolicy['issuers'][number]
const target = targetGateway([
  tenantPolicy({ channels }),
  tenantPolicy({ name: 'other', channels, issuers: [otherIssuer] }),
])

const token = (user: string, tenant?: string) => target.running.token(user, tenant ? { tenant } : {})

describe('before connect, at the Centrifuge door', () => {
  test.each([
    'subscribe',
    'unsubscribe',
    'publish',
    'presence',
    'presence_stats',
    'history',
    'rpc',
    'refresh',
    'sub_refresh',
    'send',
  ])('%s: 3501', async (method) => {
    const client = await target.upgraded({ target: centrifugeDoor })
    client.send({ id: 1, [method]: { channel: 'general', data: 1, token: 'x' } })
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })

  test('a publish in front of connect in one frame: 3501, and nothing is published', async () => {
    const watcher = await target.centrifuge('bob')
    watcher.send({ id: 2, subscribe: { channel: 'general' } })
    await watcher.json(({ id }) => id === 2)
    const client = await target.upgraded({ target: centrifugeDoor })
    client.send(
      `{"id":1,"publish":{"channel":"general","data":"early"}}\n{"id":2,"connect":{"token":"${await token('alice')}"}}`,
    )
    expect(await client.closed()).toMatchObject({ code: 3501 })
    watcher.send({ id: 3, publish: { channel: 'general', data: 'next' } })
    expect(await watcher.json(({ push }) => push?.pub)).toMatchObject({ push: { pub: { data: 'next' } } })
  })

  test('commands behind a connect that fails are not looked at', async () => {
    const client = await target.upgraded({ target: centrifugeDoor })
    const expired = await target.running.token('alice', { expiresInS: -60 })
    client.send(
      `{"id":1,"connect":{"token":"${expired}"}}\n{"id":2,"publish":{"channel":"general","data":1}}`,
    )
    expect(await client.json()).toMatchObject({ id: 1, error: { code: 109 } })
    client.send('not JSON')
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })
})

describe('connect again', () => {
  test('twice: 3501', async () => {
    const client = await target.centrifuge('alice')
    client.send({ id: 2, connect: { token: await token('alice') } })
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })

  test('twice in one frame: the first is answered, then 3501', async () => {
    const client = await target.upgraded({ target: centrifugeDoor })
    const bearer = await token('alice')
    client.send(`{"id":1,"connect":{"token":"${bearer}"}}\n{"id":2,"connect":{"token":"${bearer}"}}`)
    expect(await client.json()).toMatchObject({ id: 1, connect: {} })
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })

  test('as somebody else, by a refresh: 3500', async () => {
    const client = await target.centrifuge('alice')
    client.send({ id: 2, refresh: { token: await token('bob') } })
    expect(await client.closed()).toMatchObject({
      code: 3500,
      reason: expect.stringContaining('another user'),
    })
  })

  test('as the same user of another tenant, by a refresh: 3500', async () => {
    const client = await target.centrifuge('alice')
    client.send({ id: 2, refresh: { token: await token('alice', 'demo/other') } })
    expect(await client.closed()).toMatchObject({ code: 3500, reason: expect.stringContaining('not signed') })
  })
})

describe('subscribe and leave', () => {
  test('twice, at both doors', async () => {
    const chat = await target.chat('alice')
    for (const id of [1, 2]) chat.send({ type: 'join_room', room: 'general', id })
    expect(await chat.json(({ event }) => event === 'error')).toMatchObject({
      id: 2,
      code: 'ALREADY_SUBSCRIBED',
    })
    chat.send({ type: 'join_room', room: 'lobby', id: 3 })
    expect(await chat.json(({ event }) => event === 'error')).toMatchObject({
      id: 3,
      code: 'ALREADY_SUBSCRIBED',
    })
    const centrifuge = await target.centrifuge('alice')
    centrifuge.send('{"id":2,"subscribe":{"channel":"general"}}\n{"id":3,"subscribe":{"channel":"general"}}')
    expect(await centrifuge.json(({ id }) => id === 2)).toMatchObject({ subscribe: {} })
    expect(await centrifuge.json(({ id }) => id === 3)).toMatchObject({ error: { code: 105 } })
  })

  test('what was never joined is left all the same', async () => {
    const chat = await target.chat('alice')
    chat.send({ type: 'leave_room', room: 'nowhere', id: 1 })
    expect(await chat.json(({ id }) => id === 1)).toMatchObject({ event: 'left', room: 'nowhere' })
    const centrifuge = await target.centrifuge('alice')
    centrifuge.send({ id: 2, unsubscribe: { channel: 'nowhere' } })
    expect(await centrifuge.json()).toEqual({ id: 2, unsubscribe: {} })
  })

  test('in rapid alternation: each answered, in order, and the last one holds', async () => {
    const client = await target.centrifuge('alice')
    const lines = Array.from({ length: 100 }, (_, index) =>
      JSON.stringify({
        id: index + 2,
        [index % 2 === 0 ? 'subscribe' : 'unsubscribe']: { channel: 'general' },
      }),
    )
    client.send(lines.join('\n'))
    for (let id = 2; id < 102; id += 1) {
      const answer = await client.json((message) => message['id'] !== undefined)
      expect(answer).toMatchObject({ id })
      expect(answer).not.toHaveProperty('error')
    }
    client.send({ id: 200, subscribe: { channel: 'general' } })
    expect(await client.json(({ id }) => id === 200)).toMatchObject({ subscribe: {} })
  })
})

describe('positions', () => {
  let client: RawClient
  let epoch: string
  let top: number
  beforeEach(async () => {
    client = await target.chat('alice')
    for (let id = 1; id <= 5; id += 1) client.send({ type: 'room_message', room: 'short', content: id, id })
    const last = await client.json(({ event, id }) => event === 'ack' && id === 5)
    epoch = last['epoch']
    top = last['offset']
  })

  const resume = async (since: unknown): Promise<Json> => {
    client.send({ type: 'join_room', room: 'short', since, id: 'resume' })
    return client.json(({ event }) => event === 'joined' || event === 'error')
  }

  test.each([
    ['of another epoch', () => ({ epoch: 'foreign', offset: 1 })],
    ['of the future', () => ({ epoch, offset: top + 1 })],
    ['of the far future', () => ({ epoch, offset: 2 ** 53 - 1 })],
    ['of 1e300', () => ({ epoch, offset: 1e300 })],
    ['older than the history', () => ({ epoch, offset: 1 })],
    ['of the beginning', () => ({ epoch, offset: 0 })],
    ['of another generation', () => ({ epoch, offset: 2 ** 32 + 1 })],
  ])('%s: joined, and told that something is missing', async (_what, since) => {
    expect(await resume(since())).toMatchObject({ event: 'joined', recovered: false, epoch, offset: top })
  })

  test.each([
    ['a negative offset', () => ({ epoch, offset: -1 })],
    ['a fraction', () => ({ epoch, offset: 0.5 })],
    ['a text for an offset', () => ({ epoch, offset: '1' })],
    ['no offset', () => ({ epoch })],
    ['no epoch', () => ({ offset: 1 })],
    ['an empty epoch', () => ({ epoch: '', offset: 1 })],
    ['an epoch of 1,000 characters', () => ({ epoch: 'e'.repeat(1_000), offset: 1 })],
  ])('%s: BAD_REQUEST', async (_what, since) => {
    const answer = await resume(since())
    expect(answer).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining('"since') })
    expectSentence(answer['message'])
  })

  test('the same at the Centrifuge door: not recovered, or error 112 where the client asks for it', async () => {
    for (const offset of [top + 1, 2 ** 53, '18446744073709551615', 1]) {
      for (const flag of [0, 2]) {
        const centrifuge = await target.centrifuge('bob')
        const foreign = `{"id":2,"subscribe":{"channel":"short","recover":true,"epoch":"${epoch}","offset":${offset},"flag":${flag}}}`
        centrifuge.send(foreign)
        const answer = await centrifuge.json(({ id }) => id === 2)
        if (flag === 2) expect(answer).toMatchObject({ error: { code: 112 } })
        else expect(answer).toMatchObject({ subscribe: { was_recovering: true, epoch, offset: top } })
        expect(answer['subscribe']?.recovered).toBeUndefined()
        centrifuge.destroy()
      }
    }
  })

  test.each([
    ['0: only the position', 0, 0],
    ['the most', 300, 3],
  ])('history with a limit of %s', async (_what, limit, count) => {
    client.send({ type: 'history', room: 'short', limit, id: 'h' })
    const answer = await client.json(({ event }) => event === 'history')
    expect(answer).toMatchObject({ epoch, offset: top })
    expect(answer['messages']).toHaveLength(count)
  })

  test.each(['-1', '1e9', '1.5', '"10"', '1e400', '{}'])(
    'history with a limit of %s: BAD_REQUEST',
    async (limit) => {
      client.send(`{"type":"history","room":"short","limit":${limit},"id":"h"}`)
      expect(await client.json(({ id }) => id === 'h')).toMatchObject({
        code: 'BAD_REQUEST',
        message: expect.stringContaining('"limit"'),
      })
    },
  )

  test('history with a limit of NaN is no JSON', async () => {
    client.send('{"type":"history","room":"short","limit":NaN,"id":"h"}')
    expect(await client.json(({ event }) => event === 'error')).toMatchObject({ code: 'INVALID_JSON' })
  })

  test.each([
    [-1, 3],
    [-2_147_483_648, 3],
    [1e9, 3],
    [0, 0],
  ])('history at the Centrifuge door with a limit of %i: %i publications', async (limit, count) => {
    const centrifuge = await target.centrifuge('bob')
    centrifuge.send({ id: 2, history: { channel: 'short', limit } })
    const { history: page } = await centrifuge.json()
    expect(page).toMatchObject({ epoch, offset: top })
    expect(page.publications).toHaveLength(count)
  })

  test('history since a position that is none', async () => {
    client.send({ type: 'history', room: 'short', since: { epoch: 'foreign', offset: 1 }, id: 1 })
    expect(await client.json(({ id, event }) => id === 1 && event !== 'ack')).toMatchObject({
      code: 'UNRECOVERABLE_POSITION',
    })
    client.send({ type: 'history', room: 'short', since: { epoch, offset: 1e15 }, id: 2 })
    expect(await client.json(({ id, event }) => id === 2 && event !== 'ack')).toMatchObject({
      event: 'history',
      messages: [],
    })
  })
})
