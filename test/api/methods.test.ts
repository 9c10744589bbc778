// Every method of the server API, on memory and on two gateways with one Redis: what is asked of the one holds for users on the other.
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ApiKey } from '../../src/tenant/policy.js'
import { adminKey, apiError, apiKey, apiResult, askApi } from '../support/api-client.js'
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
      rule('shut', { grants: [deny(['Subscribe'])] }),
      rule('passing', { history: null, presence: false, joinLeave: false }),
      rule('clean', { sanitize: 'stripMarkup' }),
      rule('open', { grants: [allow(allOperations, [{ authenticated: true }, { anonymous: true }])] }),
    ],
  }),
  tenantPolicy({ name: 'beta', apiKeys: [apiKey()], channels: [rule('room:*')] }),
]

/** With names of two characters. */
const tagsOf = (count: number, bytesEach: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [String(n + 10), 'x'.repeat(bytesEach)]))

interface World {
  /** Where the API is asked. */
  here: TestGateway
  /** Where users are. The same gateway where there is one alone. */
  there: TestGateway
  count: number
  stop(): Promise<void>
}

async function onMemory(): Promise<World> {
  const gateway = await startGateway(policies)
  return { here: gateway, there: gateway, count: 1, stop: () => gateway.stop() }
}

async function onRedis(): Promise<World> {
  const redis = await startRedis()
  const url = `redis://127.0.0.1:${redis.port}`
  const brokers = [openTestBroker(url), openTestBroker(url)]
  const presences = [openTestPresence(url), openTestPresence(url)]
  const [here, there] = await Promise.all(
    brokers.map(({ broker }, index) =>
      startGateway(policies, { broker, presence: presences[index]!.presence, countGateways: async () => 2 }),
    ),
  )
  if (!here || !there) throw new Error('there are two')
  await until('gateways that hear orders', () =>
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
  let world: World
  beforeAll(async () => {
    world = await start()
  })
  afterAll(() => world.stop())

  let rooms = 0
  /** Of this test alone. */
  const newRoom = (): string => `room:${(rooms += 1)}`
  const result = (method: string, fields: object, key = adminKey) =>
    apiResult(world.here, method, fields, { key })
  const error = (method: string, fields: object, key = adminKey) =>
    apiError(world.here, method, fields, { key })

  describe('publish', () => {
    test('reaches users of both doors, byte for byte, and nobody is said to have sent it', async () => {
      const room = newRoom()
      const bob = await connectedAs(world.there, 'bob')
      const ann = await chatAs(world.there, 'ann')
      await joined(ann, room)
      const subscription = await subscribed(bob, room)
      const publication = next(subscription, 'publication')
      const body = `{"channel":"${room}","data":{"n":1.0,"big":12345678901234567890,\n "a":"\\u00e9"}}`
      const { body: answer } = await askApi(world.here, 'publish', body)
      expect(answer).toEqual({
        result: { offset: 1, epoch: expect.any(String), durability: 'accepted' },
      })
      expect(await publication).toMatchObject({ channel: room, offset: 1 })
      expect((await publication).info).toBeUndefined()
      await ann.next('chat', ({ from }) => from === '')
      expect(ann.texts.at(-1)).toContain('{"n":1.0,"big":12345678901234567890, "a":"\\u00e9"}')
    })

    test('answers with the position only where there is one', async () => {
      expect(await result('publish', { channel: 'passing', data: 0 })).toEqual({ durability: 'accepted' })
    })

    test('goes by no user’s rights, but by the channel’s settings', async () => {
      await result('publish', { channel: 'clean', data: { text: '<b>bold</b>' } })
      const { publications } = await result('history', { channel: 'clean', limit: 1 })
      expect(publications).toMatchObject([{ data: { text: 'bold' } }])
    })

    test('with tags: live, in history and after a while away', async () => {
      const room = newRoom()
      const bob = await connectedAs(world.there, 'bob')
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
      const later = await connectedAs(world.there, 'ann')
      const missed = later.newSubscription(room, { since: { offset: 0, epoch: '' } })
      const heard = collect(missed, 'publication')
      missed.subscribe()
      expect((await heard.take(3)).map((one) => one.tags)).toEqual([tags, undefined, tagsOf(32, 8)])
    })

    test('takes base64 of JSON', async () => {
      const room = newRoom()
      const b64data = Buffer.from('{"x":\n1.50}').toString('base64')
      await result('publish', { channel: room, b64data })
      const { body } = await askApi(world.here, 'history', { channel: room, limit: 1 })
      expect(body).toMatchObject({ result: { publications: [{ data: { x: 1.5 } }] } })
      for (const bad of ['{', 'no JSON', Buffer.from([0xc3, 0x28])])
        expect(
          await error('publish', { channel: room, b64data: Buffer.from(bad).toString('base64') }),
        ).toMatchObject({ code: 107 })
      expect(await error('publish', { channel: room, b64data: '***' })).toMatchObject({ code: 107 })
    })

    test('with skip_history reaches who is there and is forgotten', async () => {
      const room = newRoom()
      const bob = await connectedAs(world.there, 'bob')
      const data = dataOf(await subscribed(bob, room, { recoverable: true }))
      await result('publish', { channel: room, data: 'kept' })
      const skipped = await result('publish', { channel: room, data: 'passing', skip_history: true })
      expect(skipped).toEqual({ durability: 'accepted' })
      await result('publish', { channel: room, data: 'kept too' })
      expect(await data.take(3)).toEqual(['kept', 'passing', 'kept too'])
      const { publications } = await result('history', { channel: room, limit: -1 })
      expect(publications).toMatchObject([{ data: 'kept' }, { data: 'kept too' }])
    })

    test('with a key that was used is answered like the first and delivered once', async () => {
      const room = newRoom()
      const bob = await connectedAs(world.there, 'bob')
      const data = dataOf(await subscribed(bob, room))
      const message = { channel: room, data: 'once', idempotency_key: 'k1' }
      const first = await result('publish', message)
      expect(await apiResult(world.there, 'publish', message)).toEqual(first)
      await result('publish', { ...message, data: 'next', idempotency_key: 'k2' })
      expect(await data.take(2)).toEqual(['once', 'next'])
      expect(await error('publish', { ...message, data: 'another' })).toEqual({
        code: 409,
        message: expect.stringMatching(/^IDEMPOTENCY_MISMATCH: /),
      })
    })

    test('has keys of its own, whatever users call theirs', async () => {
      const room = newRoom()
      const ann = await chatAs(world.there, 'ann')
      await ann.done({ type: 'room_message', room, content: 'hers', key: 'k' })
      expect(await result('publish', { channel: room, data: 'ours', idempotency_key: 'k' })).toMatchObject({
        offset: 2,
      })
    })

    test.each<[string, object, number, string]>([
      ['no channel', { data: 1 }, 107, '"channel" is missing'],
      ['an empty channel', { channel: '', data: 1 }, 107, '"channel": It is empty'],
      ['a channel that is no name', { channel: 'a b', data: 1 }, 107, 'INVALID_CHANNEL: '],
      ['no data', { channel: 'lobby' }, 107, 'data is missing'],
      ['null for data', { channel: 'lobby', data: null }, 107, 'data is missing'],
      ['data that is too long', { channel: 'lobby', data: 'x'.repeat(32_768) }, 107, 'MESSAGE_TOO_LARGE: '],
      ['tags that are no text', { channel: 'lobby', data: 1, tags: { a: 1 } }, 107, 'tags'],
      ['too many tags', { channel: 'lobby', data: 1, tags: tagsOf(33, 1) }, 107, 'tags'],
      ['tags that are too long', { channel: 'lobby', data: 1, tags: tagsOf(1, 129) }, 107, 'tags'],
      ['too much in its tags', { channel: 'lobby', data: 1, tags: tagsOf(20, 128) }, 107, 'tags'],
      ['a version', { channel: 'lobby', data: 1, version: 3 }, 108, 'version'],
      [
        'a key with a line break',
        { channel: 'lobby', data: 1, idempotency_key: 'a\nb' },
        107,
        'idempotency_key',
      ],
      [
        'a key that is too long',
        { channel: 'lobby', data: 1, idempotency_key: 'k'.repeat(129) },
        107,
        'idempotency_key',
      ],
    ])('with %s is refused', async (_name, fields, code, words) => {
      expect(await error('publish', fields)).toEqual({ code, message: expect.stringContaining(words) })
    })

    test('with data nested too deep is refused', async () => {
      const deep = '['.repeat(129) + ']'.repeat(129)
      const { body } = await askApi(world.here, 'publish', `{"channel":"lobby","data":${deep}}`)
      expect(body).toMatchObject({ error: { code: 107 } })
    })

    test('takes the zero values that clients write for what they leave out', async () => {
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
    test('sends to each, and answers in order', async () => {
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

    test('fails as a whole when the message is none, or there are too many channels', async () => {
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

    test('tells who sent what, as their token says', async () => {
      const room = newRoom()
      const ann = await connectedAs(world.there, 'ann')
      await ann.publish(room, { text: 'hello' })
      const { publications } = await result('history', { channel: room, limit: 1 })
      expect(publications).toMatchObject([{ data: { text: 'hello' }, offset: 1, info: { user: 'ann' } }])
    })

    test('has more than clients get at once', async () => {
      const room = newRoom()
      for (let round = 0; round < 4; round += 1) {
        const commands = Array.from({ length: 100 }, (_value, n) => ({ publish: { channel: room, data: n } }))
        await askApi(world.here, 'batch', { commands, parallel: true })
      }
      const { publications } = await result('history', { channel: room, limit: -1 })
      expect(publications).toHaveLength(400)
    })

    test('of another epoch is 112, where there is none 108', async () => {
      const room = newRoom()
      await result('publish', { channel: room, data: 1 })
      const since = { offset: 1, epoch: 'another' }
      expect(await error('history', { channel: room, limit: 1, since })).toMatchObject({ code: 112 })
      expect(await error('history', { channel: 'passing', limit: 1 })).toMatchObject({ code: 108 })
      expect(await error('history', { channel: room, since: { offset: 0 }, reverse: true })).toMatchObject({
        code: 107,
      })
    })

    test('is forgotten by history_remove, and the offset goes on', async () => {
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
      expect(await error('history_remove', { channel: 'passing' })).toMatchObject({ code: 108 })
    })
  })

  describe('presence', () => {
    test('lists connections and counts users', async () => {
      const room = newRoom()
      const [desk, phone, bob] = [
        await connectedAs(world.there, 'ann'),
        await connectedAs(world.here, 'ann'),
        await connectedAs(world.there, 'bob'),
      ]
      for (const client of [desk, phone, bob]) await subscribed(client, room)
      const { presence } = await result('presence', { channel: room })
      const people = Object.values(presence as Record<string, { user: string }>)
      expect(people.map(({ user }) => user).toSorted()).toEqual(['ann', 'ann', 'bob'])
      expect(await result('presence_stats', { channel: room })).toEqual({ num_clients: 3, num_users: 2 })
    })

    test('of nobody is empty, and 108 where none is kept', async () => {
      const room = newRoom()
      expect(await result('presence', { channel: room })).toEqual({ presence: {} })
      expect(await result('presence_stats', { channel: room })).toEqual({ num_clients: 0, num_users: 0 })
      expect(await error('presence', { channel: 'passing' })).toMatchObject({ code: 108 })
      expect(await error('presence_stats', { channel: 'passing' })).toMatchObject({ code: 108 })
    })
  })

  describe('disconnect', () => {
    test('ends a user’s connections wherever they are, with 3503', async () => {
      const ann = await chatAs(world.there, 'ann')
      const sdk = await connectedAs(world.here, 'ann')
      const bob = await chatAs(world.there, 'bob')
      const gone = next(sdk, 'disconnected')
      expect(await result('disconnect', { user: 'ann' })).toEqual({})
      expect(await ann.closed()).toEqual({ code: 3503, reason: 'force disconnect' })
      expect(await gone).toMatchObject({ code: 3503 })
      await bob.settle()
    })

    test('can mean one connection, spare some, and bear a code', async () => {
      const [one, two, three] = [
        await chatAs(world.there, 'ann', { clientId: 'one' }),
        await chatAs(world.there, 'ann', { clientId: 'two' }),
        await chatAs(world.there, 'ann', { clientId: 'three' }),
      ]
      await result('disconnect', { user: 'ann', client: 'one', disconnect: { code: 4123, reason: 'bye' } })
      expect(await one.closed()).toEqual({ code: 4123, reason: 'bye' })
      await result('disconnect', { user: 'ann', whitelist: ['three'], disconnect: { code: 0, reason: '' } })
      expect(await two.closed()).toMatchObject({ code: 3503 })
      await three.settle()
    })

    test('of nobody by name means guests', async () => {
      const { there } = world
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
      const sdk = await connectedAs(world.there, 'ann')
      const subscription = await subscribed(sdk, room)
      const chat = await chatAs(world.there, 'ann')
      await joined(chat, room)
      const bob = await subscribed(await connectedAs(world.there, 'bob'), room)
      const ended = next(subscription, 'unsubscribed')
      expect(await result('unsubscribe', { user: 'ann', channel: room })).toEqual({})
      expect(await ended).toMatchObject({ code: 2000, reason: 'server unsubscribe' })
      expect(await chat.next('left')).toMatchObject({ room, code: 'UNSUBSCRIBED' })
      expect([sdk.state, bob.state]).toEqual(['connected', 'subscribed'])
    })

    test('of what nobody is subscribed to is done', async () => {
      expect(await result('unsubscribe', { user: 'nobody', channel: newRoom() })).toEqual({})
    })
  })

  describe('refresh', () => {
    test('lets a connection live longer than its token, or less long', async () => {
      const ann = await chatAs(world.there, 'ann', { expiresInS: 60 })
      const bob = await chatAs(world.there, 'bob', { expiresInS: 3600 })
      const soonS = Math.floor(Date.now() / 1000) + 2
      await result('refresh', { user: 'ann', expire_at: soonS + 3600 })
      await result('refresh', { user: 'bob', expire_at: soonS })
      expect(await bob.closed()).toMatchObject({ code: 4001 })
      const session = [...(world.there.gateway.tenant('demo/acme')?.sessions ?? [])].find(
        ({ identity }) => identity.user === 'ann',
      )
      expect(session?.identity.expiresAtMs).toBe((soonS + 3600) * 1000)
      await ann.settle()
    })

    test('expired asks for a new token', async () => {
      const ann = await connectedAs(world.there, 'ann')
      const gone = next(ann, 'connecting')
      await result('refresh', { user: 'ann', expired: true })
      expect(await gone).toMatchObject({ code: 3005 })
      await ann.ready()
    })

    test('info is what others see from then on', async () => {
      const room = newRoom()
      const ann = await connectedAs(world.there, 'ann')
      await result('refresh', { user: 'ann', info: { mood: 'fine' } })
      const shown = async (): Promise<unknown> => {
        await ann.publish(room, 'hello')
        const { publications } = await result('history', { channel: room, limit: 1, reverse: true })
        return (publications as { info?: { conn_info?: unknown } }[])[0]?.info?.conn_info
      }
      await expect.poll(shown, { timeout: 20_000 }).toEqual({ mood: 'fine' })
    })
  })

  describe('subscribe', () => {
    test('puts a user’s connections on a channel, at both doors', async () => {
      const room = newRoom()
      const [ann, chat] = [await connectedAs(world.there, 'ann'), await chatAs(world.there, 'ann')]
      const bob = await connectedAs(world.there, 'bob')
      const told = next(ann, 'subscribed')
      const heard = next(ann, 'publication')
      const bobs = collect(bob, 'subscribed')
      const data = { welcome: 1.5 }
      expect(await result('subscribe', { user: 'ann', channel: room, data })).toEqual({})
      expect(await told).toMatchObject({ channel: room, recoverable: true, data })
      expect(await chat.next('joined')).toMatchObject({ room, recovered: true })
      await bob.publish(room, 'hello')
      expect(await heard).toMatchObject({ channel: room, data: 'hello', offset: 1 })
      expect(await chat.next('chat', (event) => event['room'] === room)).toMatchObject({ content: 'hello' })
      expect(bobs.waiting).toEqual([])
    })

    test('can mean one connection', async () => {
      const room = newRoom()
      const [one, two] = [
        await chatAs(world.there, 'ann', { clientId: 'one' }),
        await chatAs(world.there, 'ann', { clientId: 'two' }),
      ]
      await result('subscribe', { user: 'ann', channel: room, client: 'one' })
      expect(await one.next('joined')).toMatchObject({ room })
      await result('subscribe', { user: 'ann', channel: `${room}:all` })
      for (const client of [one, two])
        expect(await client.next('joined')).toMatchObject({ room: `${room}:all` })
    })

    test('begins with what was missed since a position', async () => {
      const room = newRoom()
      for (const data of [1, 2, 3]) await result('publish', { channel: room, data })
      const { epoch } = await result('history', { channel: room })
      const [ann, chat] = [await connectedAs(world.there, 'ann'), await chatAs(world.there, 'ann')]
      const heard = collect(ann, 'publication')
      await result('subscribe', { user: 'ann', channel: room, recover_since: { offset: 1, epoch } })
      expect(await chat.next('joined')).toMatchObject({ room, recovered: true, offset: 3 })
      const missed = chat.events.waiting.filter((event) => event['room'] === room)
      expect(missed.map(({ content }) => content)).toEqual([2, 3])
      await result('publish', { channel: room, data: 4 })
      expect((await heard.take(3)).map(({ data }): unknown => data)).toEqual([2, 3, 4])
    })

    test('leaves what is there as it is, and does not pass a deny', async () => {
      const room = newRoom()
      const ann = await connectedAs(world.there, 'ann')
      const own = await subscribed(ann, room)
      const told = collect(ann, 'subscribed')
      for (const channel of [room, 'shut', `${room}:last`])
        expect(await result('subscribe', { user: 'ann', channel })).toEqual({})
      await told.next(({ channel }) => channel === `${room}:last`)
      expect(told.waiting).toEqual([])
      expect(own.state).toBe('subscribed')
    })

    test('ends by unsubscribe, and by the time that was given', async () => {
      const [room, brief] = [newRoom(), newRoom()]
      const [ann, chat] = [await connectedAs(world.there, 'ann'), await chatAs(world.there, 'ann')]
      const told = collect(ann, 'subscribed')
      const over = collect(ann, 'unsubscribed')
      await result('subscribe', { user: 'ann', channel: room })
      const soonS = Math.floor(Date.now() / 1000) + 1
      await result('subscribe', { user: 'ann', channel: brief, expire_at: soonS })
      await told.take(2)
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
    test('speak for all gateways, and of this tenant alone', async () => {
      const [one, two] = [newRoom(), newRoom()]
      const here = await connectedAs(world.here, 'ann')
      const there = await connectedAs(world.there, 'bob')
      await subscribed(here, one)
      await subscribed(there, one)
      await subscribed(there, two)
      const other = await chatAs(world.there, 'eve', { tenant: 'demo/beta' })
      await joined(other, 'room:secret')
      const { channels } = await result('channels', { pattern: 'room:*' })
      expect(channels).toMatchObject({ [one]: { num_clients: 2 }, [two]: { num_clients: 1 } })
      expect(channels).not.toHaveProperty(['room:secret'])
      expect(await result('channels', { pattern: 'nothing*' })).toEqual({ channels: {} })
      const { nodes } = await result('info', {})
      expect(nodes).toHaveLength(world.count)
      const beta = await apiResult(world.here, 'info', {}, { tenant: 'demo/beta' })
      const clients = (beta['nodes'] as { num_clients: number }[]).reduce(
        (sum, node) => sum + node.num_clients,
        0,
      )
      expect(clients).toBe(1)
    })
  })

  describe('batch', () => {
    test('answers each under its name, in order', async () => {
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
      const { body } = await askApi(world.here, 'batch', { commands, parallel: false })
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

    test('keeps each message’s own bytes', async () => {
      const room = newRoom()
      const ann = await chatAs(world.there, 'ann')
      await joined(ann, room)
      const body = `{"commands": [ {"publish":{"channel":"${room}","data":1.0}} , {"publish":{"data":[ 2.50 ],"channel":"${room}"}}]}`
      await askApi(world.here, 'batch', body)
      await ann.next('chat')
      await ann.next('chat')
      expect(ann.texts.slice(-2).map((text) => /"content":(\[.*?\]|[^,]*)/.exec(text)?.[1])).toEqual([
        '1.0',
        '[ 2.50 ]',
      ])
    })

    test('that is none, or too long, is refused as a whole', async () => {
      expect((await askApi(world.here, 'batch', {})).body).toMatchObject({ error: { code: 107 } })
      const commands = Array.from({ length: 101 }, () => ({ info: {} }))
      expect((await askApi(world.here, 'batch', { commands })).body).toMatchObject({ error: { code: 107 } })
      const broadcast = { channels: Array.from({ length: 600 }, () => 'room:x'), data: 1 }
      const wide = await askApi(world.here, 'batch', { commands: [{ broadcast }, { broadcast }] })
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
    const readings = ['presence', 'presence_stats', 'history', 'channels', 'info']

    test.each<[string, string, string[]]>([
      ['Admin', adminKey, Object.keys(methods)],
      ['Publisher', keys.publisher, ['publish']],
      ['ReadOnly', keys.reader, readings],
    ])('%s may do what its description says', async (_role, key, allowed) => {
      for (const [method, fields] of Object.entries(methods)) {
        const { body } = await askApi(world.here, method, fields, { key })
        const code = (body['error'] as { code: number } | undefined)?.code
        expect([method, code]).toEqual([method, allowed.includes(method) ? undefined : 103])
      }
    })

    test('a scope narrows it to channels and operations', async () => {
      const may = async (method: string, fields: object): Promise<boolean> => {
        const { body } = await askApi(world.here, method, fields, { key: keys.scoped })
        return body['error'] === undefined
      }
      expect(await may('publish', { channel: 'news:today', data: 1 })).toBe(true)
      expect(await may('publish', { channel: 'inbox:ann', data: 1 })).toBe(true)
      expect(await may('history', { channel: 'news:today' })).toBe(true)
      expect(await may('subscribe', { user: 'ann', channel: 'inbox:ann' })).toBe(true)
      expect(await may('unsubscribe', { user: 'ann', channel: 'inbox:ann' })).toBe(true)
      expect(await may('publish', { channel: 'lobby', data: 1 })).toBe(false)
      expect(await may('history', { channel: 'inbox:ann' })).toBe(false)
      expect(await may('subscribe', { user: 'ann', channel: 'news:today' })).toBe(false)
      expect(await may('unsubscribe', { user: 'ann', channel: 'news:today' })).toBe(false)
      expect(await may('disconnect', { user: 'ann' })).toBe(false)
      expect(await may('refresh', { user: 'ann' })).toBe(false)
    })

    test('a scoped key is told of channels in its scopes alone', async () => {
      const ann = await connectedAs(world.there, 'ann')
      await subscribed(ann, 'news:sports')
      await subscribed(ann, newRoom())
      const { channels } = await result('channels', {}, keys.scoped)
      expect(Object.keys(channels as object)).toEqual(['news:sports'])
    })
  })
})

test('a gateway that died meanwhile is left out after two seconds', async () => {
  const gateway = await startGateway(policies, { countGateways: async () => 2 })
  onTestFinished(() => gateway.stop())
  const { nodes } = await apiResult(gateway, 'info')
  expect(nodes).toHaveLength(1)
})
