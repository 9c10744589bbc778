// Every method of the server API with `cent`, Centrifugo's client for Python backends. Calls at one gateway
// apply to users at another.
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
  channels: [rule('room:*'), rule('ephemeral', { history: null, presence: false, joinLeave: false })],
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
      const call = (method: string, request: object, { at = here, key = adminKey, tenant = 'acme' } = {}) =>
        cent.send(method, {
          url: `http://127.0.0.1:${at.port}/demo/${tenant}/api`,
          key,
          async: kind.async,
          request,
        })
      return { call, here, there }
    }

    test('publish', async () => {
      const { call, there } = await backend()
      const atBob = dataOf(await subscribed(await connectedAs(there, 'bob'), 'room:1'))
      expect(await call('publish', { channel: 'room:1', data: { text: 'ж' } })).toMatchObject({
        offset: 1,
        epoch: expect.stringMatching(/./) as string,
      })
      expect(await atBob.next()).toEqual({ text: 'ж' })
    })

    test('publish with tags, which are also in the history', async () => {
      const { call } = await backend()
      const tags = { kind: 'goal' }
      await call('publish', { channel: 'room:1', data: 'x', tags })
      expect(await call('history', { channel: 'room:1', limit: 1 })).toMatchObject({
        publications: [{ data: 'x', tags }],
      })
    })

    test('publish with an idempotency key, twice: delivered once', async () => {
      const { call, there } = await backend()
      const atBob = dataOf(await subscribed(await connectedAs(there, 'bob'), 'room:1'))
      const message = { channel: 'room:1', data: 'once', idempotency_key: 'k' }
      expect(await call('publish', message)).toEqual(await call('publish', message))
      await call('publish', { channel: 'room:1', data: 'next' })
      expect(await atBob.take(2)).toEqual(['once', 'next'])
    })

    test('broadcast', async () => {
      const { call } = await backend()
      expect(
        await call('broadcast', { channels: ['room:1', 'no channel', 'room:2'], data: 'to all' }),
      ).toMatchObject({
        responses: [{ result: { offset: 1 } }, { error: { code: 107 } }, { result: { offset: 1 } }],
      })
    })

    test('subscribe and unsubscribe', async () => {
      const { call, there } = await backend()
      const bob = await connectedAs(there, 'bob')
      const [subscribedEvent, unsubscribedEvent] = [next(bob, 'subscribed'), next(bob, 'unsubscribed')]
      const received = collect(bob, 'publication')
      expect(await call('subscribe', { user: 'bob', channel: 'room:1', data: { why: 1 } })).toEqual({})
      expect(await subscribedEvent).toMatchObject({ channel: 'room:1', data: { why: 1 } })
      await call('publish', { channel: 'room:1', data: 'x' })
      expect(await received.next()).toMatchObject({ channel: 'room:1', data: 'x' })
      expect(await call('unsubscribe', { user: 'bob', channel: 'room:1' })).toEqual({})
      expect(await unsubscribedEvent).toMatchObject({ channel: 'room:1' })
    })

    test('disconnect with a custom code', async () => {
      const { call, there } = await backend()
      const bob = await connectedAs(there, 'bob')
      const disconnected = next(bob, 'disconnected')
      const disconnect = { code: 4501, reason: 'enough' }
      expect(await call('disconnect', { user: 'bob', disconnect })).toEqual({})
      expect(await disconnected).toEqual(disconnect)
    })

    test('refresh: the client of an expired user requests a new token', async () => {
      const { call, there } = await backend()
      const bob = await connectedAs(there, 'bob')
      const [left, back] = [next(bob, 'connecting'), next(bob, 'connected')]
      expect(await call('refresh', { user: 'bob', expired: true })).toEqual({})
      expect((await left).code).toBe(3005)
      await back
    })

    test('presence, presence_stats and channels', async () => {
      const { call, here, there } = await backend()
      for (const gateway of [here, there]) await subscribed(await connectedAs(gateway, 'bob'), 'room:1')
      const { presence } = (await call('presence', { channel: 'room:1' })) as { presence: object }
      expect(Object.values(presence)).toMatchObject([{ user: 'bob' }, { user: 'bob' }])
      expect(await call('presence_stats', { channel: 'room:1' })).toEqual({ num_clients: 2, num_users: 1 })
      expect(await call('channels', { pattern: 'room:*' })).toEqual({
        channels: { 'room:1': { num_clients: 2 } },
      })
    })

    test('history and history_remove', async () => {
      const { call } = await backend()
      for (const n of [1, 2, 3]) await call('publish', { channel: 'room:1', data: { n } })
      const { epoch } = (await call('history', { channel: 'room:1' })) as { epoch: string }
      const since = { offset: 1, epoch }
      expect(await call('history', { channel: 'room:1', limit: 10, since })).toMatchObject({
        publications: [
          { data: { n: 2 }, offset: 2 },
          { data: { n: 3 }, offset: 3 },
        ],
        offset: 3,
        epoch,
      })
      expect(await call('history_remove', { channel: 'room:1' })).toEqual({})
      expect(await call('history', { channel: 'room:1', limit: 10 })).toEqual({
        publications: [],
        offset: 3,
        epoch,
      })
    })

    test('info', async () => {
      const { call, here, there } = await backend()
      await connectedAs(there, 'bob')
      const { nodes } = (await call('info', {})) as { nodes: { uid: string; num_clients: number }[] }
      expect(nodes).toHaveLength(new Set<TestGateway>([here, there]).size)
      expect(nodes.reduce((sum, node) => sum + node.num_clients, 0)).toBe(1)
    })

    test.each([true, false])('batch, parallel: %s', async (parallel) => {
      const { call } = await backend()
      const commands = [
        { publish: { channel: 'room:1', data: 1 } },
        { presence_stats: { channel: 'room:1' } },
        { broadcast: { channels: ['room:2'], data: 2 } },
      ]
      expect(await call('batch', { commands, parallel })).toMatchObject({
        replies: [
          { offset: 1 },
          { num_clients: 0, num_users: 0 },
          { responses: [{ result: { offset: 1 } }] },
        ],
      })
    })

    test('a refusal because of the content is a CentApiResponseError', async () => {
      const { call } = await backend()
      await expect(call('publish', { channel: 'no name', data: 1 })).rejects.toMatchObject({
        fields: {
          type: 'CentApiResponseError',
          code: 107,
          message: expect.stringMatching(/^INVALID_CHANNEL: /) as string,
        },
      })
      await expect(call('presence', { channel: 'ephemeral' })).rejects.toMatchObject({
        fields: {
          type: 'CentApiResponseError',
          code: 108,
          message: expect.stringMatching(/^NOT_AVAILABLE: /) as string,
        },
      })
    })

    test.each(['', 'parley_no-such-key'])('the key "%s" is CentUnauthorizedError', async (key) => {
      const { call } = await backend()
      await expect(call('info', {}, { key })).rejects.toMatchObject({
        fields: { type: 'CentUnauthorizedError' },
      })
    })

    test('an unknown tenant is CentTransportError with 404', async () => {
      const { call } = await backend()
      await expect(call('info', {}, { tenant: 'nobody' })).rejects.toMatchObject({
        fields: { type: 'CentTransportError', code: 404 },
      })
    })
  },
)
