// Gateways that share a Redis, with official clients of both formats.
import { Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  connected,
  dataOf,
  centrifugeUrl,
  gatewayOnRedis,
  next,
  proxyFor,
  sdkAt,
  subscribed,
} from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { ProtobufSdk } from '../support/protobuf-sdk.js'
import { endRedisProcesses, startRedis } from '../support/redis-processes.js'

let redis: Awaited<ReturnType<typeof startRedis>>
beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(() => redis.cli('FLUSHALL'))
afterAll(() => endRedisProcesses())

describe.each([
  ['JSON', Centrifuge, ProtobufSdk],
  ['protobuf', ProtobufSdk, Centrifuge],
])('%s', (_wire, Mine, Theirs) => {
  const clientAt = (
    at: { port: number },
    gateway: TestGateway,
    user: string,
    Client = Mine,
  ): Promise<Centrifuge> =>
    connected(sdkAt(centrifugeUrl(at), { getToken: () => gateway.token(user) }, Client))

  test('publish, history, presence and recovery with a client of the other format at another gateway', async () => {
    const url = `redis://127.0.0.1:${redis.port}`
    const [here, there] = [await gatewayOnRedis(url), await gatewayOnRedis(url)]
    const proxy = await proxyFor(here)
    const ann = await clientAt(proxy, here, 'ann')
    const bob = await clientAt(there, there, 'bob', Theirs)
    const general = await subscribed(ann, 'general', { recoverable: true })
    const atAnn = dataOf(general)
    const atBob = dataOf(await subscribed(bob, 'general'))

    await bob.publish('general', { n: 1 })
    await general.publish('two')
    expect(await atAnn.take(2)).toEqual([{ n: 1 }, 'two'])
    expect(await atBob.take(2)).toEqual([{ n: 1 }, 'two'])

    const { publications } = await general.history({ limit: 10 })
    expect(publications.map(({ data }) => data as unknown)).toEqual([{ n: 1 }, 'two'])
    const { clients } = await bob.presence('general')
    expect(
      Object.values(clients)
        .map(({ user }) => user)
        .toSorted(),
    ).toEqual(['ann', 'bob'])
    expect(await ann.presenceStats('general')).toEqual({ numClients: 2, numUsers: 2 })

    const again = next(general, 'subscribed')
    proxy.refuse()
    await bob.publish('general', 3)
    proxy.refuse(false)
    expect(await again).toMatchObject({ wasRecovering: true, recovered: true })
    expect(await atAnn.next()).toBe(3)
  })
})
