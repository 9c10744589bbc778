// Every method of the server API, with the memory broker and with two gateways on one Redis. A request to one
// gateway takes effect for users on the other.
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ApiKey } from '../../src/tenant/policy.js'
import { adminKey, apiError, apiKey, apiResult, callApi } from '../support/api-client.js'
import { collect, connectedAs, dataOf, next, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, ChatClient, chatUrl, joined } from '../support/chat-client.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { allOperations, allow, deny, rule, tenantPolicy } from '../support/policies.js'
import { openTestBroker } from '../support/redis-gateway.js'
import { openTestPresence } from '../support/redis-presence.js'
import { endRedisProcesses, startRedis, until } from '../support/redis-processes.js'

const keys = {
  publisher: 'parley_test-key-of-a-publisher-of-acme-----',
  reader: 'parley_test-key-of-a-reader-of-acme--------',
  scoped: 'parley_test-key-that-has-scopes-of-acme----',
}

const scopes: ApiKey['scopes'] = [
  { match: { type: 'Prefix', value: 'news:' }, operations: ['Publish', 'History', 'Presence'] },
  { match: { type: 'Pattern', value: 'inbox:{user}' }, operations: ['Publish', 'Subscribe'] },
]

const policies = [
  tenantPolicy({
    apiKeys: [
      apiKey(),
      apiKey(keys.publisher, { role: 'Publisher', credential: 'publisher' }),
      apiKey(keys.reader, { role: 'ReadOnly', credential: 'reader' }),
      apiKey(keys.scoped, { credential: 'scoped', scopes }),
    ],
    channels: [
      rule('room:*'),
      rule('news:'),
      rule('inbox:{user}'),
      rule('lobby'),
      rule('denied', { grants: [deny(['Subscribe'])] }),
      rule('ephemeral', { history: null, presence: false, joinLeave: false }),
      rule('clean', { sanitize: 'stripMarkup' }),
      rule('open', { grants: [allow(allOperations, [{ authenticated: true }, { anonymous: true }])] }),
    ],
  }),
  tenantPolicy({ name: 'beta', apiKeys: [apiKey()], channels: [rule('room:*')] }),
]

/** Tags with names of two characters. */
const tagsOf = (count: number, bytesEach: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [String(n + 10), 'x'.repeat(bytesEach)]))

interface ApiGateways {
  /** The gateway that receives the API requests. */
  here: TestGateway
  /** The gateway that the users are connected to. The same one when there is only one. */
  there: TestGateway
  count: number
  stop(): Promise<void>
}

async function onMemory(): Promise<ApiGateways> {
  const gateway = await startGateway(policies)
  return { here: gateway, there: gateway, count: 1, stop: () => gateway.stop() }
}

async function onRedis(): Promise<ApiGateways> {
  const redis = await startRedis()
  const url = `redis://127.0.0.1:${redis.port}`
  const brokers = [openTestBroker(url), openTestBroker(url)]
  const presences = [openTestPresence(url), openTestPresence(url)]
  const [here, there] = await Promise.all(
    brokers.map(({ broker }, index) =>
      startGateway(policies, { broker, presence: presences[index]!.presence, countGateways: async () => 2 }),
    ),
  )
  if (!here || !there) throw new Error('two gateways were expected')
  await until('gateways subscribed to the control channel', () =>
    [here, there].every(({ gateway }) => gateway.unreadyReasons().length === 0),
  )
  return {
    here,
    there,
    count: 2,
    async stop() {
      await Promise.all([here.stop(), there.stop()])
      await Promise.all([...brokers, ...presences].map((part) => part.close()))
    },
  }
}

afterAll(() => endRedisProcesses())

describe.each([
  ['memory', onMemory],
  ['two gateways on one Redis', onRedis],
])('on %s', (_, start) => {
  let gateways: ApiGateways
  beforeAll(async () => {
    gateways = await start()
  })
  afterAll(() => gateways.stop())

  let rooms = 0
  /** A room that no other test uses. */
  const newRoom = (): string => `room:${(rooms += 1)}`
  const result = (method: string, fields: object, key = adminKey) =>
    apiResult(gateways.here, method, fields, { key })
  const error = (method: string, fields: object, key = adminKey) =>
    apiError(gateways.here, method, fields, { key })

  describe('publish', () => {
    test('reaches users at both endpoints, byte for byte, without a sender', async () => {
      const room = newRoom()
      const bob = await connectedAs(gateways.there, 'bob')
      const ann = await chatAs(gateways.there, 'ann')
      await joined(ann, room)
      const subscription = await subscribed(bob, room)
      const publication = next(subscription, 'publication')
      const body = `{"channel":"${room}","data":{"n":1.0,"big":12345678901234567890,\n "a":"\\u00e9"}}`
      const { body: answer } = await callApi(gateways.here, 'publish', body)
      expect(answer).toEqual({
        result: { offset: 1, epoch: expect.any(String), durability: 'accepted' },
      })
      expect(await publication).toMatchObject({ channel: room, offset: 1 })
      expect((await publication).info).toBeUndefined()
      await ann.next('chat', ({ from }) => from === '')
      expect(ann.texts.at(-1)).toContain('{"n":1.0,"big":12345678901234567890, "a":"\\u00e9"}')
    })

    test('answers with the position only in a channel with history', async () => {
      expect(await result('publish', { channel: 'ephemeral', data: 0 })).toEqual({ durability: 'accepted' })
    })

    test('is subject to the channel’s settings but not to users’ rights', async () => {
      await result('publish', { channel: 'clean', data: { text: '<b>bold</b>' } })
      const { publications } = await result('history', { channel: 'clean', limit: 1 })
      expect(publications).toMatchObject([{ data: { text: 'bold' } }])
    })

    test('delivers tags live, in history and in recovery', async () => {
      const room = newRoom()
      const bob = await connectedAs(gateways.there, 'bob')
      const live = next(await subscribed(bob, room), 'publication')
      const tags = { kind: 'shot', 'a "name"': '' }
      await result('publish', { channel: room, data: 1, tags })
      await result('publish', { channel: room, data: 2, tags: {} })
      await result('broadcast', { channels: [room], data: 3, tags: tagsOf(32, 8) })
      expect(await live).toMatchObject({ data: 1, tags })
      const { publications } = await result('history', { channel: room, limit: 3 })
      expect((publications as { tags?: object }[]).map((one) => one.tags)).toEqual([
        tags,
        undefined,
        tagsOf(32, 8),
      ])
      const later = await connectedAs(gateways.there, 'ann')
      const missed = later.newSubscription(room, { since: { offset: 0, epoch: '' } })
      const heard = collect(missed, 'publication')
      missed.subscribe()
      expect((await heard.take(3)).map((one) => one.tags)).toEqual([tags, undefined, tagsOf(32, 8)])
    })

    test('accepts base64 of JSON', async () => {
      const room = newRoom()
      const b64data = Buffer.from('{"x":\n1.50}').toString('base64')
      await result('publish', { channel: room, b64data })
      const { body } = await callApi(gateways.here, 'history', { channel: room, limit: 1 })
      expect(body).toMatchObject({ result: { publications: [{ data: { x: 1.5 } }] } })
      for (const bad of ['{', 'no JSON', Buffer.from([0xc3, 0x28])])
        expect(
          await error('publish', { channel: room, b64data: Buffer.from(bad).toString('base64') }),
        ).toMatchObject({ code: 107 })
      expect(await error('publish', { channel: room, b64data: '***' })).toMatchObject({ code: 107 })
    })

    test('with skip_history reaches subscribers and is not stored', async () => {
      const room = newRoom()
      const bob = await connectedAs(gateways.there, 'bob')
      const data = dataOf(await subscribed(bob, room, { recoverable: true }))
      await result('publish', { channel: room, data: 'kept' })
      const skipped = await result('publish', { channel: room, data: 'ephemeral', skip_history: true })
      expect(skipped).toEqual({ durability: 'accepted' })
      await result('publish', { channel: room, data: 'kept too' })
      expect(await data.take(3)).toEqual(['kept', 'ephemeral', 'kept too'])
      const { publications } = await result('history', { channel: room, limit: -1 })
      expect(publications).toMatchObject([{ data: 'kept' }, { data: 'kept too' }])
    })

    test('with a repeated key gets the first result and is delivered once', async () => {
      const room = newRoom()
      const bob = await connectedAs(gateways.there, 'bob')
      const data = dataOf(await subscribed(bob, room))
      const message = { channel: room, data: 'once', idempotency_key: 'k1' }
      const first = await result('publish', message)
      expect(await apiResult(gateways.there, 'publish', message)).toEqual(first)
      await result('publish', { ...message, data: 'next', idempotency_key: 'k2' })
      expect(await data.take(2)).toEqual(['once', 'next'])
      expect(await error('publish', { ...message, data: 'another' })).toEqual({
        code: 409,
        message: expect.stringMatching(/^IDEMPOTENCY_MISMATCH: /),
      })
    })

    test('has its own key space, apart from the keys of users', async () => {
      const room = newRoom()
      const ann = await chatAs(gateways.there, 'ann')
      await ann.done({ type: 'room_message', room, content: 'hers', key: 'k' })
      expect(
        await result('publish', { channel: room, data: 'from the backend', idempotency_key: 'k' }),
      ).toMatchObject({
        offset: 2,
      })
    })

    test.each<[string, object, number, string]>([
      ['no channel', { data: 1 }, 107, '"channel" is missing'],
      ['an empty channel', { channel: '', data: 1 }, 107, '"channel": It is empty'],
      ['an invalid channel name', { channel: 'a b', data: 1 }, 107, 'INVALID_CHANNEL: '],
      ['no data', { channel: 'lobby' }, 107, 'data is missing'],
      ['null for data', { channel: 'lobby', data: null }, 107, 'data is missing'],
      ['too long data', { channel: 'lobby', data: 'x'.repeat(32_768) }, 107, 'MESSAGE_TOO_LARGE: '],
      ['tags that are not text', { channel: 'lobby', data: 1, tags: { a: 1 } }, 107, 'tags'],
      ['too many tags', { channel: 'lobby', data: 1, tags: tagsOf(33, 1) }, 107, 'tags'],
      ['too long tags', { channel: 'lobby', data: 1, tags: tagsOf(1, 129) }, 107, 'tags'],
      ['too many bytes of tags', { channel: 'lobby', data: 1, tags: tagsOf(20, 128) }, 107, 'tags'],
      ['a version', { channel: 'lobby', data: 1, version: 3 }, 108, 'version'],
      [
        'a key with a line break',
        { channel: 'lobby', data: 1, idempotency_key: 'a\nb' },
        107,
        'idempotency_key',
      ],
      [
        'a too long key',
        { channel: 'lobby', data: 1, idempotency_key: 'k'.repeat(129) },
        107,
        'idempotency_key',
      ],
    ])('with %s is refused', async (_name, fields, code, words) => {
      expect(await error('publish', fields)).toEqual({ code, message: expect.stringContaining(words) })
    })

    test('with data nested too deeply is refused', async () => {
      const deep = '['.repeat(129) + ']'.repeat(129)
      const { body } = await callApi(gateways.here, 'publish', `{"channel":"lobby","data":${deep}}`)
      expect(body).toMatchObject({ error: { code: 107 } })
    })

    test('accepts the zero values that client libraries send for absent fields', async () => {
      const zeros = {
        b64data: '',
        tags: {},
        idempotency_key: '',
        delta: true,
        version: 0,
        version_epoch: '',
        later: 1,
      }
      expect(
        await result('publish', { channel: newRoom(), data: 1, skip_history: null, ...zeros }),
      ).toMatchObject({ offset: 1 })
    })
  })

  describe('broadcast', () => {
    test('publishes to each channel, and answers in order', async () => {
      const [one, two] = [newRoom(), newRoom()]
      await result('publish', { channel: two, data: 0 })
      const { responses } = await result('broadcast', { channels: [one, 'a b', two], data: 'to all' })
      expect(responses).toEqual([
        { result: { offset: 1, epoch: expect.any(String), durability: 'accepted' } },
        { error: { code: 107, message: expect.stringMatching(/^INVALID_CHANNEL: /) } },
        { result: { offset: 2, epoch: expect.any(String), durability: 'accepted' } },
      ])
      expect(await result('history', { channel: two, limit: 1, reverse: true })).toMatchObject({
        publications: [{ data: 'to all' }],
      })
    })

    test('fails as a whole without a message and with too many channels', async () => {
      expect(await error('broadcast', { channels: [newRoom()] })).toMatchObject({ code: 107 })
      const channels = Array.from({ length: 1001 }, () => 'room:x')
      expect(await error('broadcast', { channels, data: 1 })).toMatchObject({ code: 107 })
      expect(await result('broadcast', { channels: [], data: 1 })).toEqual({ responses: [] })
    })
  })

  describe('history', () => {
    test('pages by limit, since and reverse', async () => {
      const room = newRoom()
      for (const data of [1, 2, 3, 4]) await result('publish', { channel: room, data })
      const { epoch } = await result('history', { channel: room })
      const read = async (fields: object): Promise<unknown[]> => {
        const page = await result('history', { channel: room, ...fields })
        expect(page).toMatchObject({ offset: 4, epoch })
        return (page['publications'] as { data: unknown }[]).map(({ data }) => data)
      }
      expect(await read({})).toEqual([])
      expect(await read({ limit: 0, since: null, reverse: false })).toEqual([])
      expect(await read({ limit: 2 })).toEqual([1, 2])
      expect(await read({ limit: -1 })).toEqual([1, 2, 3, 4])
      expect(await read({ limit: 2, reverse: true })).toEqual([4, 3])
      expect(await read({ limit: 5, since: { offset: 2, epoch } })).toEqual([3, 4])
      expect(await read({ limit: 5, since: { offset: 2 } })).toEqual([3, 4])
      expect(await read({ limit: 5, since: { offset: 3, epoch }, reverse: true })).toEqual([2, 1])
    })

    test('has the sender of each publication, from the sender’s token', async () => {
      const room = newRoom()
      const ann = await connectedAs(gateways.there, 'ann')
      await ann.publish(room, { text: 'hello' })
      const { publications } = await result('history', { channel: room, limit: 1 })
      expect(publications).toMatchObject([{ data: { text: 'hello' }, offset: 1, info: { user: 'ann' } }])
    })

    test('returns more publications than a client can read at once', async () => {
      const room = newRoom()
      for (let round = 0; round < 4; round += 1) {
        const commands = Array.from({ length: 100 }, (_value, n) => ({ publish: { channel: room, data: n } }))
        await callApi(gateways.here, 'batch', { commands, parallel: true })
      }
      const { publications } = await result('history', { channel: room, limit: -1 })
      expect(publications).toHaveLength(400)
    })

    test('of another epoch is error 112, and of a channel without history 108', async () => {
      const room = newRoom()
      await result('publish', { channel: room, data: 1 })
      const since = { offset: 1, epoch: 'another' }
      expect(await error('history', { channel: room, limit: 1, since })).toMatchObject({ code: 112 })
      expect(await error('history', { channel: 'ephemeral', limit: 1 })).toMatchObject({ code: 108 })
      expect(await error('history', { channel: room, since: { offset: 0 }, reverse: true })).toMatchObject({
        code: 107,
      })
    })

    test('is deleted by history_remove, and the offset continues', async () => {
      const room = newRoom()
      await result('publish', { channel: room, data: 1 })
      const { epoch } = await result('history', { channel: room })
      expect(await result('history_remove', { channel: room })).toEqual({})
      expect(await result('history', { channel: room, limit: -1 })).toEqual({
        publications: [],
        offset: 1,
        epoch,
      })
      expect(await result('publish', { channel: room, data: 2 })).toMatchObject({ offset: 2, epoch })
      expect(await error('history_remove', { channel: 'ephemeral' })).toMatchObject({ code: 108 })
    })
  })

  describe('presence', () => {
    test('lists connections and counts users', async () => {
      const room = newRoom()
      const [desk, phone, bob] = [
        await connectedAs(gateways.there, 'ann'),
        await connectedAs(gateways.here, 'ann'),
        await connectedAs(gateways.there, 'bob'),
      ]
      for (const client of [desk, phone, bob]) await subscribed(client, room)
      const { presence } = await result('presence', { channel: room })
      const people = Object.values(presence as Record<string, { user: string }>)
      expect(people.map(({ user }) => user).toSorted()).toEqual(['ann', 'ann', 'bob'])
      expect(await result('presence_stats', { channel: room })).toEqual({ num_clients: 3, num_users: 2 })
    })

    test('of an empty channel is empty, and of a channel without presence error 108', async () => {
      const room = newRoom()
      expect(await result('presence', { channel: room })).toEqual({ presence: {} })
      expect(await result('presence_stats', { channel: room })).toEqual({ num_clients: 0, num_users: 0 })
      expect(await error('presence', { channel: 'ephemeral' })).toMatchObject({ code: 108 })
      expect(await error('presence_stats', { channel: 'ephemeral' })).toMatchObject({ code: 108 })
    })
  })

  describe('disconnect', () => {
    test('ends a user’s connections on all gateways, with 3503', async () => {
      const ann = await chatAs(gateways.there, 'ann')
      const sdk = await connectedAs(gateways.here, 'ann')
      const bob = await chatAs(gateways.there, 'bob')
      const gone = next(sdk, 'disconnected')
      expect(await result('disconnect', { user: 'ann' })).toEqual({})
      expect(await ann.closed()).toEqual({ code: 3503, reason: 'force disconnect' })
      expect(await gone).toMatchObject({ code: 3503 })
      await bob.settle()
    })

    test('can select one connection, spare some, and set the code', async () => {
      const [one, two, three] = [
        await chatAs(gateways.there, 'ann', { clientId: 'one' }),
        await chatAs(gateways.there, 'ann', { clientId: 'two' }),
        await chatAs(gateways.there, 'ann', { clientId: 'three' }),
      ]
      await result('disconnect', { user: 'ann', client: 'one', disconnect: { code: 4123, reason: 'bye' } })
      expect(await one.closed()).toEqual({ code: 4123, reason: 'bye' })
      await result('disconnect', { user: 'ann', whitelist: ['three'], disconnect: { code: 0, reason: '' } })
      expect(await two.closed()).toMatchObject({ code: 3503 })
      await three.settle()
    })

    test('of the empty user ends the connections of guests', async () => {
      const { there } = gateways
      const guest = await ChatClient.open(`${chatUrl(there)}?client_id=visitor`)
      await guest.settle()
      const ann = await chatAs(there, 'ann')
      await result('disconnect', { user: '' })
      expect(await guest.closed()).toMatchObject({ code: 3503 })
      await ann.settle()
    })

    test.each<object>([
      {},
      { user: 1 },
      { user: 'a', disconnect: { code: 1000 } },
      { user: 'a', disconnect: { code: 5000 } },
      { user: 'a', disconnect: { code: 3000.5 } },
      { user: 'a', disconnect: { code: 4000, reason: 'ü'.repeat(62) } },
    ])('%j is refused', async (fields) => {
      expect(await error('disconnect', fields)).toMatchObject({ code: 107 })
    })
  })

  describe('unsubscribe', () => {
    test('ends the subscription and not the connection', async () => {
      const room = newRoom()
      const sdk = await connectedAs(gateways.there, 'ann')
      const subscription = await subscribed(sdk, room)
      const chat = await chatAs(gateways.there, 'ann')
      await joined(chat, room)
      const bob = await subscribed(await connectedAs(gateways.there, 'bob'), room)
      const ended = next(subscription, 'unsubscribed')
      expect(await result('unsubscribe', { user: 'ann', channel: room })).toEqual({})
      expect(await ended).toMatchObject({ code: 2000, reason: 'server unsubscribe' })
      expect(await chat.next('left')).toMatchObject({ room, code: 'UNSUBSCRIBED' })
      expect([sdk.state, bob.state]).toEqual(['connected', 'subscribed'])
    })

    test('of a channel without subscribers succeeds', async () => {
      expect(await result('unsubscribe', { user: 'nobody', channel: newRoom() })).toEqual({})
    })
  })

  describe('refresh', () => {
    test('extends or shortens the life of a connection', async () => {
      const ann = await chatAs(gateways.there, 'ann', { expiresInS: 60 })
      const bob = await chatAs(gateways.there, 'bob', { expiresInS: 3600 })
      const soonS = Math.floor(Date.now() / 1000) + 2
      await result('refresh', { user: 'ann', expire_at: soonS + 3600 })
      await result('refresh', { user: 'bob', expire_at: soonS })
      expect(await bob.closed()).toMatchObject({ code: 4001 })
      const session = [...(gateways.there.gateway.tenant('demo/acme')?.sessions ?? [])].find(
        ({ identity }) => identity.user === 'ann',
      )
      expect(session?.identity.expiresAtMs).toBe((soonS + 3600) * 1000)
      await ann.settle()
    })

    test('with expired asks for a new token', async () => {
      const ann = await connectedAs(gateways.there, 'ann')
      const gone = next(ann, 'connecting')
      await result('refresh', { user: 'ann', expired: true })
      expect(await gone).toMatchObject({ code: 3005 })
      await ann.ready()
    })

    test('with info changes what other clients see', async () => {
      const room = newRoom()
      const ann = await connectedAs(gateways.there, 'ann')
      await result('refresh', { user: 'ann', info: { mood: 'fine' } })
      const visibleInfo = async (): Promise<unknown> => {
        await ann.publish(room, 'hello')
        const { publications } = await result('history', { channel: room, limit: 1, reverse: true })
        return (publications as { info?: { conn_info?: unknown } }[])[0]?.info?.conn_info
      }
      await expect.poll(visibleInfo, { timeout: 20_000 }).toEqual({ mood: 'fine' })
    })
  })

  describe('subscribe', () => {
    test('subscribes a user’s connections to a channel, at both endpoints', async () => {
      const room = newRoom()
      const [ann, chat] = [await connectedAs(gateways.there, 'ann'), await chatAs(gateways.there, 'ann')]
      const bob = await connectedAs(gateways.there, 'bob')
      const subscriptions = next(ann, 'subscribed')
      const heard = next(ann, 'publication')
      const bobs = collect(bob, 'subscribed')
      const data = { welcome: 1.5 }
      expect(await result('subscribe', { user: 'ann', channel: room, data })).toEqual({})
      expect(await subscriptions).toMatchObject({ channel: room, recoverable: true, data })
      expect(await chat.next('joined')).toMatchObject({ room, recovered: true })
      await bob.publish(room, 'hello')
      expect(await heard).toMatchObject({ channel: room, data: 'hello', offset: 1 })
      expect(await chat.next('chat', (event) => event['room'] === room)).toMatchObject({ content: 'hello' })
      expect(bobs.waiting).toEqual([])
    })

    test('can select one connection', async () => {
      const room = newRoom()
      const [one, two] = [
        await chatAs(gateways.there, 'ann', { clientId: 'one' }),
        await chatAs(gateways.there, 'ann', { clientId: 'two' }),
      ]
      await result('subscribe', { user: 'ann', channel: room, client: 'one' })
      expect(await one.next('joined')).toMatchObject({ room })
      await result('subscribe', { user: 'ann', channel: `${room}:all` })
      for (const client of [one, two])
        expect(await client.next('joined')).toMatchObject({ room: `${room}:all` })
    })

    test('starts with the publications since a position', async () => {
      const room = newRoom()
      for (const data of [1, 2, 3]) await result('publish', { channel: room, data })
      const { epoch } = await result('history', { channel: room })
      const [ann, chat] = [await connectedAs(gateways.there, 'ann'), await chatAs(gateways.there, 'ann')]
      const heard = collect(ann, 'publication')
      await result('subscribe', { user: 'ann', channel: room, recover_since: { offset: 1, epoch } })
      expect(await chat.next('joined')).toMatchObject({ room, recovered: true, offset: 3 })
      const missed = chat.events.waiting.filter((event) => event['room'] === room)
      expect(missed.map(({ content }) => content)).toEqual([2, 3])
      await result('publish', { channel: room, data: 4 })
      expect((await heard.take(3)).map(({ data }): unknown => data)).toEqual([2, 3, 4])
    })

    test('keeps existing subscriptions, and is subject to deny rules', async () => {
      const room = newRoom()
      const ann = await connectedAs(gateways.there, 'ann')
      const own = await subscribed(ann, room)
      const subscriptions = collect(ann, 'subscribed')
      for (const channel of [room, 'denied', `${room}:last`])
        expect(await result('subscribe', { user: 'ann', channel })).toEqual({})
      await subscriptions.next(({ channel }) => channel === `${room}:last`)
      expect(subscriptions.waiting).toEqual([])
      expect(own.state).toBe('subscribed')
    })

    test('ends by unsubscribe and at its expiry', async () => {
      const [room, brief] = [newRoom(), newRoom()]
      const [ann, chat] = [await connectedAs(gateways.there, 'ann'), await chatAs(gateways.there, 'ann')]
      const subscriptions = collect(ann, 'subscribed')
      const over = collect(ann, 'unsubscribed')
      await result('subscribe', { user: 'ann', channel: room })
      const soonS = Math.floor(Date.now() / 1000) + 1
      await result('subscribe', { user: 'ann', channel: brief, expire_at: soonS })
      await subscriptions.take(2)
      await result('unsubscribe', { user: 'ann', channel: room })
      const ended = new Set((await over.take(2)).map(({ channel }) => channel))
      expect(ended).toEqual(new Set([room, brief]))
      const left = [await chat.next('left'), await chat.next('left')]
      expect(left).toMatchObject([{ code: 'UNSUBSCRIBED' }, { code: 'UNSUBSCRIBED' }])
      expect(ann.state).toBe('connected')
    })

    test.each<object>([
      { user: 'ann' },
      { channel: 'lobby' },
      { user: 'ann', channel: 'a b' },
      { user: 'ann', channel: 'lobby', data: 'x'.repeat(32_768) },
      { user: 'ann', channel: 'lobby', b64data: 'no base64' },
      { user: 'ann', channel: 'lobby', recover_since: { offset: -1 } },
    ])('%# is refused', async (fields) => {
      expect(await error('subscribe', fields)).toMatchObject({ code: 107 })
    })
  })

  describe('channels and info', () => {
    test('cover all gateways, and only this tenant', async () => {
      const [one, two] = [newRoom(), newRoom()]
      const here = await connectedAs(gateways.here, 'ann')
      const there = await connectedAs(gateways.there, 'bob')
      await subscribed(here, one)
      await subscribed(there, one)
      await subscribed(there, two)
      const other = await chatAs(gateways.there, 'eve', { tenant: 'demo/beta' })
      await joined(other, 'room:secret')
      const { channels } = await result('channels', { pattern: 'room:*' })
      expect(channels).toMatchObject({ [one]: { num_clients: 2 }, [two]: { num_clients: 1 } })
      expect(channels).not.toHaveProperty(['room:secret'])
      expect(await result('channels', { pattern: 'nothing*' })).toEqual({ channels: {} })
      const { nodes } = await result('info', {})
      expect(nodes).toHaveLength(gateways.count)
      const beta = await apiResult(gateways.here, 'info', {}, { tenant: 'demo/beta' })
      const clients = (beta['nodes'] as { num_clients: number }[]).reduce(
        (sum, node) => sum + node.num_clients,
        0,
      )
      expect(clients).toBe(1)
    })
  })

  describe('batch', () => {
    test('answers each command under its name, in order', async () => {
      const room = newRoom()
      const commands = [
        { publish: { channel: room, data: { n: 1.0 } } },
        { publish: { channel: room } },
        { history: { channel: room, limit: 1 } },
        { nothing: {} },
        {},
        { batch: { commands: [] } },
        { presence_stats: null, broadcast: { channels: [room], data: 'x' } },
      ]
      const { body } = await callApi(gateways.here, 'batch', { commands, parallel: false })
      expect(body).toEqual({
        replies: [
          { publish: { offset: 1, epoch: expect.any(String), durability: 'accepted' } },
          { error: { code: 107, message: expect.any(String) } },
          { history: expect.objectContaining({ offset: 1 }) },
          { error: { code: 104, message: expect.stringMatching(/^UNKNOWN_TYPE: /) } },
          { error: { code: 104, message: expect.any(String) } },
          { error: { code: 104, message: expect.any(String) } },
          { broadcast: { responses: [{ result: expect.objectContaining({ offset: 2 }) }] } },
        ],
      })
    })

    test('keeps the bytes of each message', async () => {
      const room = newRoom()
      const ann = await chatAs(gateways.there, 'ann')
      await joined(ann, room)
      const body = `{"commands": [ {"publish":{"channel":"${room}","data":1.0}} , {"publish":{"data":[ 2.50 ],"channel":"${room}"}}]}`
      await callApi(gateways.here, 'batch', body)
      await ann.next('chat')
      await ann.next('chat')
      expect(ann.texts.slice(-2).map((text) => /"content":(\[.*?\]|[^,]*)/.exec(text)?.[1])).toEqual([
        '1.0',
        '[ 2.50 ]',
      ])
    })

    test('without commands or with too many is refused as a whole', async () => {
      expect((await callApi(gateways.here, 'batch', {})).body).toMatchObject({ error: { code: 107 } })
      const commands = Array.from({ length: 101 }, () => ({ info: {} }))
      expect((await callApi(gateways.here, 'batch', { commands })).body).toMatchObject({
        error: { code: 107 },
      })
      const broadcast = { channels: Array.from({ length: 600 }, () => 'room:x'), data: 1 }
      const wide = await callApi(gateways.here, 'batch', { commands: [{ broadcast }, { broadcast }] })
      expect(wide.body).toMatchObject({ error: { code: 107 } })
    })
  })

  describe('a role', () => {
    const methods: Readonly<Record<string, object>> = {
      publish: { channel: 'lobby', data: 1 },
      subscribe: { user: 'nobody', channel: 'lobby' },
      unsubscribe: { user: 'nobody', channel: 'lobby' },
      disconnect: { user: 'nobody' },
      refresh: { user: 'nobody' },
      presence: { channel: 'lobby' },
      presence_stats: { channel: 'lobby' },
      history: { channel: 'lobby' },
      history_remove: { channel: 'lobby' },
      channels: {},
      info: {},
    }
    const readMethods = ['presence', 'presence_stats', 'history', 'channels', 'info']

    test.each<[string, string, string[]]>([
      ['Admin', adminKey, Object.keys(methods)],
      ['Publisher', keys.publisher, ['publish']],
      ['ReadOnly', keys.reader, readMethods],
    ])('%s may call the documented methods', async (_role, key, allowed) => {
      for (const [method, fields] of Object.entries(methods)) {
        const { body } = await callApi(gateways.here, method, fields, { key })
        const code = (body['error'] as { code: number } | undefined)?.code
        expect([method, code]).toEqual([method, allowed.includes(method) ? undefined : 103])
      }
    })

    test('is restricted by a scope to channels and operations', async () => {
      const isAllowed = async (method: string, fields: object): Promise<boolean> => {
        const { body } = await callApi(gateways.here, method, fields, { key: keys.scoped })
        return body['error'] === undefined
      }
      expect(await isAllowed('publish', { channel: 'news:today', data: 1 })).toBe(true)
      expect(await isAllowed('publish', { channel: 'inbox:ann', data: 1 })).toBe(true)
      expect(await isAllowed('history', { channel: 'news:today' })).toBe(true)
      expect(await isAllowed('subscribe', { user: 'ann', channel: 'inbox:ann' })).toBe(true)
      expect(await isAllowed('unsubscribe', { user: 'ann', channel: 'inbox:ann' })).toBe(true)
      expect(await isAllowed('publish', { channel: 'lobby', data: 1 })).toBe(false)
      expect(await isAllowed('history', { channel: 'inbox:ann' })).toBe(false)
      expect(await isAllowed('subscribe', { user: 'ann', channel: 'news:today' })).toBe(false)
      expect(await isAllowed('unsubscribe', { user: 'ann', channel: 'news:today' })).toBe(false)
      expect(await isAllowed('disconnect', { user: 'ann' })).toBe(false)
      expect(await isAllowed('refresh', { user: 'ann' })).toBe(false)
    })

    test('with scopes sees only the channels in its scopes', async () => {
      const ann = await connectedAs(gateways.there, 'ann')
      await subscribed(ann, 'news:sports')
      await subscribed(ann, newRoom())
      const { channels } = await result('channels', {}, keys.scoped)
      expect(Object.keys(channels as object)).toEqual(['news:sports'])
    })
  })
})

test('a gateway that does not answer is left out after two seconds, and the result says so', async () => {
  const gateway = await startGateway(policies, { countGateways: async () => 2 })
  onTestFinished(() => gateway.stop())
  const incomplete = { answered: 1, expected: 2 }
  const [info, channels] = await Promise.all([apiResult(gateway, 'info'), apiResult(gateway, 'channels')])
  expect(info).toMatchObject({ nodes: [{ num_clients: 0 }], incomplete })
  expect(channels).toEqual({ channels: {}, incomplete })
})
