// Every method of the server API by `cent`, Centrifugo's own client for Python backends: what it asks at one gateway holds for users at another.
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, apiKey } from '../support/api-client.js'
import { collect, connectedAs, dataOf, next, subscribed } from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { rule } from '../support/policies.js'
import { brokers, type BrokerKind } from './brokers.js'
import { pythonClients } from './clients.js'
import { LineProgram } from './line-program.js'

const policy = {
  apiKeys: [apiKey()],
  channels: [rule('room:*'), rule('passing', { history: null, presence: false, joinLeave: false })],
}

let cent: LineProgram
beforeAll(async () => {
  const driver = fileURLToPath(new URL('python/cent_driver.py', import.meta.url))
  cent = new LineProgram('cent', [await pythonClients(), driver])
})
afterAll(() => cent.end())

const kinds = [
  { client: 'Client', async: false },
  { client: 'AsyncClient', async: true },
]

describe.each(kinds.flatMap((kind) => brokers.map((broker) => ({ ...kind, ...broker }))))(
  '$client on $broker',
  (kind) => {
    async function backend({ start }: BrokerKind = kind) {
      const { here, there } = await start(policy)
      const ask = (method: string, request: object, { at = here, key = adminKey, tenant = 'acme' } = {}) =>
        cent.order(method, {
          url: `http://127.0.0.1:${at.port}/demo/${tenant}/api`,
          key,
          async: kind.async,
          request,
        })
      return { ask, here, there }
    }

    test('publish', async () => {
      const { ask, there } = await backend()
      const atBob = dataOf(await subscribed(await connectedAs(there, 'bob'), 'room:1'))
      expect(await ask('publish', { channel: 'room:1', data: { text: 'ж' } })).toMatchObject({
        offset: 1,
        epoch: expect.stringMatching(/./) as string,
      })
      expect(await atBob.next()).toEqual({ text: 'ж' })
    })

    test('publish with tags, which history has too', async () => {
      const { ask } = await backend()
      const tags = { kind: 'goal' }
      await ask('publish', { channel: 'room:1', data: 'x', tags })
      expect(await ask('history', { channel: 'room:1', limit: 1 })).toMatchObject({
        publications: [{ data: 'x', tags }],
      })
    })

    test('publish with an idempotency key, twice: delivered once', async () => {
      const { ask, there } = await backend()
      const atBob = dataOf(await subscribed(await connectedAs(there, 'bob'), 'room:1'))
      const message = { channel: 'room:1', data: 'once', idempotency_key: 'k' }
      expect(await ask('publish', message)).toEqual(await ask('publish', message))
      await ask('publish', { channel: 'room:1', data: 'next' })
      expect(await atBob.take(2)).toEqual(['once', 'next'])
    })

    test('broadcast', async () => {
      const { ask } = await backend()
      expect(
        await ask('broadcast', { channels: ['room:1', 'no channel', 'room:2'], data: 'to all' }),
      ).toMatchObject({
        responses: [{ result: { offset: 1 } }, { error: { code: 107 } }, { result: { offset: 1 } }],
      })
    })

    test('subscribe and unsubscribe', async () => {
      const { ask, there } = await backend()
      const bob = await connectedAs(there, 'bob')
      const [entered, left] = [next(bob, 'subscribed'), next(bob, 'unsubscribed')]
      const heard = collect(bob, 'publication')
      expect(await ask('subscribe', { user: 'bob', channel: 'room:1', data: { why: 1 } })).toEqual({})
      expect(await entered).toMatchObject({ channel: 'room:1', data: { why: 1 } })
      await ask('publish', { channel: 'room:1', data: 'x' })
      expect(await heard.next()).toMatchObject({ channel: 'room:1', data: 'x' })
      expect(await ask('unsubscribe', { user: 'bob', channel: 'room:1' })).toEqual({})
      expect(await left).toMatchObject({ channel: 'room:1' })
    })

    test('disconnect, with a code of its own', async () => {
      const { ask, there } = await backend()
      const bob = await connectedAs(there, 'bob')
      const over = next(bob, 'disconnected')
      const disconnect = { code: 4501, reason: 'enough' }
      expect(await ask('disconnect', { user: 'bob', disconnect })).toEqual({})
      expect(await over).toEqual(disconnect)
    })

    test('refresh: an expired user fetches a new token', async () => {
      const { ask, there } = await backend()
      const bob = await connectedAs(there, 'bob')
      const [left, back] = [next(bob, 'connecting'), next(bob, 'connected')]
      expect(await ask('refresh', { user: 'bob', expired: true })).toEqual({})
      expect((await left).code).toBe(3005)
      await back
    })

    test('presence, presence_stats and channels', async () => {
      const { ask, here, there } = await backend()
      for (const gateway of [here, there]) await subscribed(await connectedAs(gateway, 'bob'), 'room:1')
      const { presence } = (await ask('presence', { channel: 'room:1' })) as { presence: object }
      expect(Object.values(presence)).toMatchObject([{ user: 'bob' }, { user: 'bob' }])
      expect(await ask('presence_stats', { channel: 'room:1' })).toEqual({ num_clients: 2, num_users: 1 })
      expect(await ask('channels', { pattern: 'room:*' })).toEqual({
        channels: { 'room:1': { num_clients: 2 } },
      })
    })

    test('history and history_remove', async () => {
      const { ask } = await backend()
      for (const n of [1, 2, 3]) await ask('publish', { channel: 'room:1', data: { n } })
      const { epoch } = (await ask('history', { channel: 'room:1' })) as { epoch: string }
      const since = { offset: 1, epoch }
      expect(await ask('history', { channel: 'room:1', limit: 10, since })).toMatchObject({
        publications: [
          { data: { n: 2 }, offset: 2 },
          { data: { n: 3 }, offset: 3 },
        ],
        offset: 3,
        epoch,
      })
      expect(await ask('history_remove', { channel: 'room:1' })).toEqual({})
      expect(await ask('history', { channel: 'room:1', limit: 10 })).toEqual({
        publications: [],
        offset: 3,
        epoch,
      })
    })

    test('info', async () => {
      const { ask, here, there } = await backend()
      await connectedAs(there, 'bob')
      const { nodes } = (await ask('info', {})) as { nodes: { uid: string; num_clients: number }[] }
      expect(nodes).toHaveLength(new Set<TestGateway>([here, there]).size)
      expect(nodes.reduce((sum, node) => sum + node.num_clients, 0)).toBe(1)
    })

    test.each([true, false])('batch, parallel: %s', async (parallel) => {
      const { ask } = await backend()
      const commands = [
        { publish: { channel: 'room:1', data: 1 } },
        { presence_stats: { channel: 'room:1' } },
        { broadcast: { channels: ['room:2'], data: 2 } },
      ]
      expect(await ask('batch', { commands, parallel })).toMatchObject({
        replies: [
          { offset: 1 },
          { num_clients: 0, num_users: 0 },
          { responses: [{ result: { offset: 1 } }] },
        ],
      })
    })

    test('what is refused for its content is the exception that cent has for it', async () => {
      const { ask } = await backend()
      await expect(ask('publish', { channel: 'no name', data: 1 })).rejects.toMatchObject({
        fields: {
          type: 'CentApiResponseError',
          code: 107,
          message: expect.stringMatching(/^INVALID_CHANNEL: /) as string,
        },
      })
      await expect(ask('presence', { channel: 'passing' })).rejects.toMatchObject({
        fields: {
          type: 'CentApiResponseError',
          code: 108,
          message: expect.stringMatching(/^NOT_AVAILABLE: /) as string,
        },
      })
    })

    test.each(['', 'parley_no-such-key'])('the key "%s" is CentUnauthorizedError', async (key) => {
      const { ask } = await backend()
      await expect(ask('info', {}, { key })).rejects.toMatchObject({
        fields: { type: 'CentUnauthorizedError' },
      })
    })

    test('an unknown tenant is CentTransportError with 404', async () => {
      const { ask } = await backend()
      await expect(ask('info', {}, { tenant: 'nobody' })).rejects.toMatchObject({
        fields: { type: 'CentTransportError', code: 404 },
      })
    })
  },
)
