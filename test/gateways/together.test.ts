// Two gateways on one Redis behave as one: their clients share channels, history and presence, at both
// endpoints.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collect, connectedAs, dataOf, next, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, joined, type ChatEvent } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import {
  chatIn,
  clusterOf,
  defaultRules,
  ManifestFolder,
  openRule,
  startGateways,
  untilGatewaysSee,
  type GatewayProcess,
} from '../support/gateway-process.js'
import { endRedisProcesses, startRedis, until } from '../support/redis-processes.js'

const rooms = ['talk', 'mixed', 'order', 'joins', 'people', 'keys', 'past', 'back', 'standalone'] as const
const rules = [...defaultRules, ...rooms.map((room) => openRule(room))]

let manifests: ManifestFolder
let a: GatewayProcess
let b: GatewayProcess

beforeAll(async () => {
  const redis = await startRedis()
  manifests = await ManifestFolder.make(rules)
  const options = { redis: `redis://127.0.0.1:${redis.port}`, args: ['--tenants', manifests.path] }
  ;[a, b] = (await startGateways(2, options)) as [GatewayProcess, GatewayProcess]
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

describe('messages', () => {
  test('a room has members on both gateways', async () => {
    const [ann, bob] = [await chatAs(a, 'ann'), await chatAs(b, 'bob')]
    await joined(ann, 'talk')
    await joined(bob, 'talk')
    await ann.done({ type: 'room_message', room: 'talk', content: { hello: 1.5 } })
    expect(await bob.next('chat')).toMatchObject({ from: 'ann', room: 'talk', content: { hello: 1.5 } })
    await bob.done({ type: 'room_message', room: 'talk', content: 'and back' })
    expect(await ann.next('chat', ({ from }) => from === 'bob')).toMatchObject({ content: 'and back' })
  })

  test('the two endpoints share rooms', async () => {
    const [ann, bob] = [await chatAs(a, 'ann'), await connectedAs(b, 'bob')]
    await joined(ann, 'mixed')
    const atBob = dataOf(await subscribed(bob, 'mixed'))
    await ann.done({ type: 'room_message', room: 'mixed', content: 1 })
    await bob.publish('mixed', 2)
    expect(await ann.next('chat', ({ from }) => from === 'bob')).toMatchObject({ content: 2 })
    expect(await atBob.take(2)).toEqual([1, 2])
  })

  test('all subscribers see the same order, wherever the publishers are', async () => {
    const [ann, bob] = [await connectedAs(a, 'ann'), await connectedAs(b, 'bob')]
    const seen = [dataOf(await subscribed(ann, 'order')), dataOf(await subscribed(bob, 'order'))]
    const publishes = Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? ann : bob).publish('order', n))
    await Promise.all(publishes)
    const [atAnn, atBob] = await Promise.all(seen.map((arrivals) => arrivals.take(100)))
    expect(atAnn).toEqual(atBob)
    expect(new Set(atAnn).size).toBe(100)
  })

  test('a message to the lobby reaches users of both gateways', async () => {
    const [ann, bob] = [await chatIn(a, 'ann'), await chatIn(b, 'bob')]
    await ann.done({ type: 'chat', content: 'to all' })
    expect(await bob.next('chat')).toMatchObject({ from: 'ann', content: 'to all' })
  })

  test('a direct message reaches every connection of its user', async () => {
    const bob = await chatAs(b, 'bob')
    const anns = [await chatIn(a, 'ann'), await chatIn(b, 'ann')]
    const inbox = dataOf(await subscribed(await connectedAs(a, 'ann'), 'dm:ann'))
    await bob.done({ type: 'direct_message', target_user: 'ann', content: 'psst' })
    for (const ann of anns)
      expect(await ann.next('direct_message', ({ from }) => from === 'bob')).toMatchObject({
        from: 'bob',
        content: 'psst',
      })
    expect(await inbox.next()).toBe('psst')
  })

  test('standalone Redis: an ack says accepted', async () => {
    const ann = await chatAs(a, 'ann')
    expect(await ann.done({ type: 'room_message', room: 'standalone', content: 1 })).toMatchObject({
      durability: 'accepted',
      offset: 1,
    })
  })

  test('a message whose key is repeated on the other gateway is delivered once', async () => {
    const [ann, annOnOther] = [await chatAs(a, 'ann'), await chatAs(b, 'ann')]
    const seen = dataOf(await subscribed(await connectedAs(b, 'bob'), 'keys'))
    const message = { type: 'room_message', room: 'keys', content: 'once', key: 'k1' }
    const first = await ann.done(message)
    const again = await annOnOther.done(message)
    await ann.done({ ...message, content: 'next', key: 'k2' })
    expect(again['offset']).toBe(first['offset'])
    expect(await seen.take(2)).toEqual(['once', 'next'])
    expect(await annOnOther.ask({ ...message, content: 'another' })).toMatchObject({
      code: 'IDEMPOTENCY_MISMATCH',
    })
  })
})

describe('history', () => {
  test('is the same on both gateways', async () => {
    const [ann, bob] = [await chatAs(a, 'ann'), await connectedAs(b, 'bob')]
    for (const content of [1, 2, 3]) await ann.done({ type: 'room_message', room: 'past', content })
    const { publications } = await bob.history('past', { limit: 10 })
    expect(publications.map(({ data }): unknown => data)).toEqual([1, 2, 3])
  })

  test('a client that reconnects to the other gateway gets what it missed', async () => {
    const [ann, bob] = [await chatAs(a, 'ann'), await chatAs(b, 'bob')]
    const { epoch, offset } = await joined(bob, 'back')
    bob.socket.close(1000)
    for (const content of [1, 2, 3]) await ann.done({ type: 'room_message', room: 'back', content })
    const again = await chatAs(a, 'bob')
    again.send({ type: 'join_room', room: 'back', since: { epoch, offset } })
    expect(await again.next('joined')).toMatchObject({ recovered: true, offset: 3 })
    const missed = again.events.waiting.filter(({ event }) => event === 'chat')
    expect(missed.map(({ content }) => content)).toEqual([1, 2, 3])
  })
})

describe('users', () => {
  test('presence lists the users of both gateways', async () => {
    const [ann, bob] = [await chatAs(a, 'ann'), await connectedAs(b, 'bob')]
    await joined(ann, 'people')
    await subscribed(bob, 'people')
    const { members } = await ann.done({ type: 'presence', room: 'people' }).then(() => ann.next('presence'))
    expect((members as { user_id: string }[]).map(({ user_id }) => user_id).toSorted()).toEqual([
      'ann',
      'bob',
    ])
    expect(await bob.presenceStats('people')).toMatchObject({ numClients: 2, numUsers: 2 })
  })

  test('a room is notified of a user’s first and last connection only, across gateways', async () => {
    const ann = await chatAs(a, 'ann')
    const ofBob = ({ user_id }: ChatEvent) => user_id === 'bob'
    await joined(ann, 'joins')
    const [desk, phone] = [await chatAs(a, 'bob'), await chatAs(b, 'bob')]
    await joined(desk, 'joins')
    await ann.next('user_joined', ofBob)
    await joined(phone, 'joins')
    desk.socket.close(1000)
    await untilPresent('joins', 2)
    await phone.done({ type: 'leave_room', room: 'joins' })
    await ann.next('user_left', ofBob)
    // There are no further events of bob in this room.
    const more = ann.events.waiting.filter(({ room, user_id }) => room === 'joins' && user_id === 'bob')
    expect(more).toEqual([])
  })

  test('the lobby is notified in the same way', async () => {
    const ann = await chatIn(a, 'ann')
    const ofDora = ({ user_id }: ChatEvent) => user_id === 'dora'
    const desk = await chatAs(a, 'dora')
    await ann.next('user_connected', ofDora)
    const phone = await chatIn(b, 'dora')
    desk.socket.close(1000)
    await untilPresent('lobby', 1, 'dora')
    phone.socket.close(1000)
    await ann.next('user_disconnected', ofDora)
    expect(ann.events.waiting.filter(ofDora)).toEqual([])
  })

  test('Centrifuge clients are notified of each connection', async () => {
    const ann = await connectedAs(a, 'ann')
    const general = await subscribed(ann, 'general', { joinLeave: true })
    const bob = await connectedAs(b, 'bob')
    // The join of ann herself may still arrive.
    const joins = collect(general, 'join')
    await subscribed(bob, 'general')
    await joins.next(({ info }) => info.user === 'bob')
    const went = next(general, 'leave')
    bob.disconnect()
    expect(await went).toMatchObject({ info: { user: 'bob' } })
  })
})

describe('operators', () => {
  test('/stats covers all gateways', async () => {
    await chatAs(a, 'ann')
    await connectedAs(b, 'bob')
    await untilGatewaysSee([a, b], 2)
    const { connections, gateways, tenants } = await until('connections of both', async () => {
      const cluster = await clusterOf(b)
      return cluster.gateways.every((gateway) => gateway.connections >= 1) && cluster
    })
    const total = gateways.reduce((sum, gateway) => sum + gateway.connections, 0)
    expect([connections, tenants['demo/acme']?.connections]).toEqual([total, total])
  })

  test('an edit of the manifests reaches live connections of both gateways', async () => {
    const [ann, bob] = [await chatAs(a, 'ann'), await chatAs(b, 'bob')]
    await joined(ann, 'general')
    await joined(bob, 'general')
    const startMs = performance.now()
    await manifests.write(rules.filter(({ name }) => name !== 'general'))
    const left = await Promise.all([ann.next('left'), bob.next('left')])
    expect(left).toMatchObject([
      { room: 'general', code: 'PERMISSION_DENIED' },
      { room: 'general', code: 'PERMISSION_DENIED' },
    ])
    // The requirement is 2 s (issue 4).
    expect(performance.now() - startMs).toBeLessThan(10_000)
  })
})

/** Resolves when the room has `count` connections, of `user` if given. */
async function untilPresent(room: string, count: number, user?: string): Promise<void> {
  const observer = await connectedAs(a, 'observer')
  await until(`${count} in ${room}`, async () => {
    const { clients } = await observer.presence(room)
    return (
      Object.values(clients).filter((client) => user === undefined || client.user === user).length === count
    )
  })
}
