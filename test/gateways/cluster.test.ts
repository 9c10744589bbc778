// Two gateways on a Redis Cluster: each channel is on one of three masters, and moves when that master fails.
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { collect, connectedAs, dataOf, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, joined } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import {
  chatIn,
  clusterOf,
  defaultRules,
  GatewayProcess,
  ManifestFolder,
  openRule,
  startGateways,
  untilGatewaysSee,
} from '../support/gateway-process.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

const rooms = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight']
const connectionsMax = 8

let cluster: RedisCluster
let manifests: ManifestFolder
let a: GatewayProcess
let b: GatewayProcess

beforeAll(async () => {
  cluster = await startRedisCluster({ replicasPerMaster: 2 })
  manifests = await ManifestFolder.make(
    [...defaultRules, openRule('hasty', { durability: 'Accepted' }), ...rooms.map((room) => openRule(room))],
    { connectionsMax },
  )
  const args = ['--tenants', manifests.path]
  ;[a, b] = (await startGateways(2, { redis: cluster.url, args })) as [GatewayProcess, GatewayProcess]
}, 90_000)
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

/** The master that holds the room's stream. The room must have a publication. */
async function masterOf(room: string): Promise<RedisProcess> {
  for (const master of await cluster.masters())
    if ((await master.cli('--scan', '--pattern', `parley:*:stream:${room}`)) !== '') return master
  throw new Error(`no master has a stream of "${room}"`)
}

test('users of both gateways share every room, on every master', async () => {
  const [ann, bob] = [await chatIn(a, 'ann'), await chatIn(b, 'bob')]
  for (const room of rooms) {
    await joined(ann, room)
    await joined(bob, room)
    await ann.next('user_joined', (event) => event['user_id'] === 'bob' && event['room'] === room)
    expect(await ann.done({ type: 'room_message', room, content: room })).toMatchObject({
      durability: 'replicated',
      offset: 1,
    })
    expect(await bob.next('chat', (event) => event['room'] === room)).toMatchObject({ content: room })
  }
  expect(new Set(await Promise.all(rooms.map(masterOf))).size).toBe(3)
  await bob.done({ type: 'direct_message', target_user: 'ann', content: 'psst' })
  expect(await ann.next('direct_message', ({ from }) => from === 'bob')).toMatchObject({ content: 'psst' })
  expect(await ann.done({ type: 'room_message', room: 'hasty', content: 1 })).toMatchObject({
    durability: 'accepted',
  })
})

test('presence lists the users of both gateways', async () => {
  const [ann, bob] = [await connectedAs(a, 'ann'), await connectedAs(b, 'bob')]
  await subscribed(ann, 'general')
  await subscribed(bob, 'general')
  await until('both', async () => (await ann.presenceStats('general')).numUsers === 2)
  expect(await bob.presenceStats('general')).toMatchObject({ numClients: 2, numUsers: 2 })
})

test('the tenant’s connections are counted across both gateways', async () => {
  await until('no connection of earlier tests', async () => (await clusterOf(a)).connections === 0)
  const inside = await Promise.all(
    Array.from({ length: connectionsMax }, (_, n) => connectedAs(n % 2 === 0 ? a : b, `user${n}`)),
  )
  await expect(chatAs(a, 'one too many')).rejects.toThrow('429')
  for (const client of inside) client.disconnect()
  await until('a free connection', async () => (await clusterOf(a)).connections === 0)
})

test('killing a master closes no connection, and every acknowledged message arrives', async () => {
  const [ann, bob] = [await connectedAs(a, 'ann'), await connectedAs(b, 'bob')]
  const subscriptions = await Promise.all(
    rooms.map(async (room) => ({ room, heard: dataOf(await subscribed(bob, room, { recoverable: true })) })),
  )
  const moves = [ann, bob].map((client) => collect(client, 'connecting'))
  const say = async (text: string) =>
    Promise.all(
      rooms.map((room) =>
        until(`"${text}" in ${room}`, () => ann.publish(room, text), { deadlineMs: 30_000, everyMs: 500 }),
      ),
    )
  await say('before')
  const old = await masterOf('one')
  await old.kill()
  await say('meanwhile')
  await say('after')
  for (const { heard } of subscriptions) {
    const seen = new Set<unknown>()
    while (!seen.has('after')) seen.add(await heard.next())
    expect([...seen]).toEqual(['before', 'meanwhile', 'after'])
  }
  expect(moves.map(({ waiting }) => waiting)).toEqual([[], []])
  await old.start()
  await cluster.settled()
  await untilGatewaysSee([a, b], 2)
  for (const gateway of [a, b]) expect(await gateway.ops('/readyz')).toMatchObject({ status: 200 })
})

test('a URL of a Redis without Cluster mode ends the start with a message', async () => {
  const redis = await startRedis()
  const gateway = GatewayProcess.spawn({
    redis: `redis+cluster://127.0.0.1:${redis.port}`,
    args: ['--tenants', manifests.path],
  })
  onTestFinished(() => gateway.kill())
  const { code } = await within('the end', gateway.program.ended)
  expect([code, gateway.program.output]).toEqual([78, expect.stringContaining('is not a node of a Cluster')])
})
