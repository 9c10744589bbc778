// Two gateways on a master with replicas and Sentinels, as in production.
import type { Centrifuge } from 'centrifuge'
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
import { endRedisProcesses, startSentinelTrio, until, type SentinelTrio } from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

let trio: SentinelTrio
let manifests: ManifestFolder
let a: GatewayProcess
let b: GatewayProcess

beforeAll(async () => {
  trio = await startSentinelTrio()
  manifests = await ManifestFolder.make([
    ...defaultRules,
    openRule('hasty', { durability: 'Accepted' }),
    openRule('careful', { durability: 'Replicated' }),
    openRule('through'),
  ])
  const args = ['--tenants', manifests.path]
  ;[a, b] = (await startGateways(2, { redis: trio.url, args })) as [GatewayProcess, GatewayProcess]
}, 60_000)
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

test('an ack says replicated, unless the channel’s rule asks for less', async () => {
  const ann = await chatAs(a, 'ann')
  const publishTo = async (room: string) => ann.done({ type: 'room_message', room, content: 1 })
  expect(await publishTo('general')).toMatchObject({ durability: 'replicated' })
  expect(await publishTo('careful')).toMatchObject({ durability: 'replicated' })
  expect(await publishTo('hasty')).toMatchObject({ durability: 'accepted' })
})

test('users of both gateways share rooms and direct messages', async () => {
  const [ann, bob] = [await chatIn(a, 'ann'), await chatAs(b, 'bob')]
  await joined(ann, 'general')
  await joined(bob, 'general')
  await ann.next('user_joined', ({ user_id }) => user_id === 'bob')
  await bob.done({ type: 'direct_message', target_user: 'ann', content: 'psst' })
  expect(await ann.next('direct_message')).toMatchObject({ from: 'bob', content: 'psst' })
})

test('a failover closes no connection, and every acknowledged message arrives', async () => {
  const [ann, bob] = [await connectedAs(a, 'ann'), await connectedAs(b, 'bob')]
  const subscription = await subscribed(bob, 'through', { recoverable: true })
  const heard = dataOf(subscription)
  const moves = [ann, bob].map((client) => collect(client, 'connecting'))
  const old = await trio.master()
  await ann.publish('through', 'before')
  await old.kill()
  await published(ann, 'meanwhile')
  await trio.failedOver(old)
  await published(ann, 'after')
  const received = new Set<unknown>()
  while (!received.has('after')) received.add(await heard.next())
  expect([...received]).toEqual(['before', 'meanwhile', 'after'])
  expect(moves.map(({ waiting }) => waiting)).toEqual([[], []])
  await untilGatewaysSee([a, b], 2)
  await until('both connections', async () => (await clusterOf(b)).connections === 2)
})

test('a wrong master name ends the start with a message', async () => {
  const sentinels = trio.url.slice(0, trio.url.lastIndexOf('/'))
  const gateway = GatewayProcess.spawn({
    redis: `${sentinels}/nobody`,
    args: ['--tenants', manifests.path],
  })
  onTestFinished(() => gateway.kill())
  const { code } = await within('the end', gateway.program.ended)
  const sentences = gateway.program.output.split('\n').filter((line) => line.startsWith('parley: '))
  expect([code, sentences]).toEqual([78, [expect.stringContaining('nobody')]])
})

/** Publishes until it is acknowledged: an election may take longer than a publish waits. */
async function published(client: Centrifuge, data: string): Promise<void> {
  await until('an acknowledgement', async () => client.publish('through', data).then(() => true), {
    deadlineMs: 60_000,
  })
}
