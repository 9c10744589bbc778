// Events between a subscribe or connect command and its reply: the reply is correct when it is sent.
import { expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { rawAs, rawAt } from '../support/frames.js'
import { HeldBroker } from '../support/held-broker.js'
import { rule, tenantPolicy } from '../support/policies.js'
import { deadlineMs } from '../support/waiting.js'

const ref = { tenantId: 'id-of-demo-acme', channel: 'general' }

/** The subscribe command of ann (id 2) has read the empty history and waits. `release` continues it. */
async function annCatchingUp(command: object = { recoverable: true }) {
  const broker = new HeldBroker()
  const gateway = await gatewayFor({}, { broker })
  const [ann, bob] = await Promise.all([rawAs(gateway, 'ann'), rawAs(gateway, 'bob')])
  broker.holding = true
  ann.send({ id: 2, subscribe: { channel: 'general', ...command } })
  const release = await broker.held.next()
  broker.holding = false
  const publish = (id: number) => bob.ask(id, { publish: { channel: 'general', data: id } })
  return { gateway, ann, bob, release, publish }
}

test('what is published meanwhile follows the reply, in order', async () => {
  const { ann, publish, release } = await annCatchingUp()
  for (let id = 1; id <= 3; id += 1) await publish(id)
  release()
  const { subscribe } = (await ann.object()) as { subscribe: object }
  expect(subscribe).not.toHaveProperty('offset')
  for (let offset = 1; offset <= 3; offset += 1)
    expect(await ann.object()).toMatchObject({ push: { pub: { offset } } })
})

test('what is published meanwhile is part of the reply in a recovery', async () => {
  const { ann, publish, release } = await annCatchingUp({ recover: true, epoch: '' })
  for (let id = 1; id <= 3; id += 1) await publish(id)
  release()
  expect(await ann.object()).toMatchObject({
    subscribe: { recovered: true, publications: [{ offset: 1 }, { offset: 2 }, { offset: 3 }] },
  })
})

test('more publications than can be kept: a new subscriber starts after them, without a gap', async () => {
  const { ann, publish, release } = await annCatchingUp()
  for (let id = 1; id <= 1500; id += 1) await publish(id)
  release()
  expect(await ann.object()).toMatchObject({ subscribe: { positioned: true, offset: 1500 } })
  await publish(1501)
  expect(await ann.object()).toMatchObject({ push: { pub: { offset: 1501 } } })
})

test('more publications than can be kept: a returning subscriber is not recovered', async () => {
  const { ann, publish, release } = await annCatchingUp({ recover: true, epoch: '' })
  for (let id = 1; id <= 1500; id += 1) await publish(id)
  release()
  const reply = await ann.object()
  expect(reply).toMatchObject({ subscribe: { was_recovering: true, offset: 1500 } })
  expect(reply['subscribe']).not.toHaveProperty('recovered')
  await publish(1501)
  expect(await ann.object()).toMatchObject({ push: { pub: { offset: 1501 } } })
})

test('continuity lost meanwhile: the position of the reply is after the loss', async () => {
  const { gateway, ann, release } = await annCatchingUp({ recover: true, epoch: '' })
  gateway.gateway.hub.onContinuityLost(ref, { epoch: 'e', offset: 7 })
  release()
  const reply = await ann.object()
  expect(reply).toMatchObject({ subscribe: { was_recovering: true, epoch: 'e', offset: 7 } })
  expect(reply['subscribe']).not.toHaveProperty('recovered')
})

test('rules that change meanwhile apply: 103, and no presence entry is left', async () => {
  const { gateway, ann, bob, release } = await annCatchingUp()
  gateway.catalog.put(tenantPolicy({ channels: [rule('lobby')] }))
  release()
  expect(await ann.object()).toMatchObject({ id: 2, error: { code: 103 } })
  gateway.catalog.put(tenantPolicy())
  expect(await bob.ask(9, { presence_stats: { channel: 'general' } })).toMatchObject({
    presence_stats: { num_clients: 0 },
  })
})

test('a client that leaves meanwhile leaves nothing behind', async () => {
  const { gateway, ann, bob, release } = await annCatchingUp()
  ann.socket.terminate()
  await expect.poll(() => gateway.gateway.context.sessions.size, { timeout: deadlineMs }).toBe(1)
  release()
  expect(await bob.ask(9, { presence_stats: { channel: 'general' } })).toMatchObject({
    presence_stats: { num_clients: 0 },
  })
  expect(gateway.gateway.hub.subscriptions).toBe(0)
})

test('an unsubscribe waits for the subscribe before it', async () => {
  const { ann, publish, release } = await annCatchingUp()
  ann.send({ id: 3, unsubscribe: { channel: 'general' } }, { id: 4, subscribe: { channel: 'general' } })
  ann.send({ id: 5, unsubscribe: { channel: 'general' } })
  release()
  const ids = (await ann.lines.take(4)).map((line) => (JSON.parse(line) as { id: number }).id)
  expect(ids).toEqual([2, 3, 4, 5])
  await publish(1)
  await ann.ask(6, { rpc: { method: 'x' } })
  expect(ann.lines.waiting).toEqual([])
})

test('a drain does not wait: 3001', async () => {
  const { gateway, ann, release } = await annCatchingUp()
  for (const session of gateway.gateway.context.sessions) session.close({ code: 3001, reason: 'shutdown' })
  expect((await ann.closed()).code).toBe(3001)
  release()
  expect(ann.lines.waiting).toEqual([])
})

test('connect with channels in the token: what is published meanwhile follows its reply', async () => {
  const broker = new HeldBroker()
  const gateway = await gatewayFor({}, { broker })
  const bob = await rawAs(gateway, 'bob')
  const ann = await rawAt(gateway)
  broker.holding = true
  const token = await gateway.token('ann', { claims: { channels: ['general', 'lobby'] } })
  ann.send({ id: 1, connect: { token } })
  const releases = await broker.held.take(2)
  broker.holding = false
  await bob.ask(2, { publish: { channel: 'general', data: 1 } })
  releases[0]?.()
  await bob.ask(3, { publish: { channel: 'lobby', data: 2 } })
  releases[1]?.()
  const [reply, ...pushes] = [await ann.object(), await ann.object(), await ann.object()]
  expect(reply).toMatchObject({ id: 1, connect: { subs: { general: { positioned: true }, lobby: {} } } })
  expect(pushes).toMatchObject([
    { push: { channel: 'general', pub: { data: 1 } } },
    { push: { channel: 'lobby', pub: { data: 2 } } },
  ])
  expect(await ann.ask(4, { unsubscribe: { channel: 'general' } })).toMatchObject({ error: { code: 103 } })
  expect(await ann.ask(5, { sub_refresh: { channel: 'general', token: 'x' } })).toMatchObject({
    error: { code: 103 },
  })
})

test('commands of a backend for a connection that is not answered yet take effect after the reply', async () => {
  const broker = new HeldBroker()
  const gateway = await gatewayFor({}, { broker })
  broker.holding = true
  const ann = await rawAt(gateway)
  ann.send({ id: 1, connect: { token: await gateway.token('ann', { claims: { channels: ['general'] } }) } })
  const release = await broker.held.next()
  const { userCommands } = gateway.gateway
  const tenant = gateway.gateway.tenant('demo/acme')
  if (!tenant) throw new Error('there is no tenant')
  broker.holding = false
  await userCommands.refresh(tenant, { user: 'ann' }, { expiresAtMs: Date.now() + 7_200_000 })
  await userCommands.subscribe(tenant, { user: 'ann' }, { channel: 'lobby' })
  // Once another client has been answered, everything before it has been sent.
  await rawAs(gateway, 'bob')
  release()
  // The reply already contains the change.
  const reply = (await ann.object()) as { connect: { ttl: number; subs: object } }
  expect(reply.connect.ttl).toBeGreaterThan(3600)
  expect(reply.connect.subs).toHaveProperty('general')
  expect(await ann.object()).toMatchObject({ push: { refresh: { expires: true } } })
  expect(await ann.object()).toMatchObject({ push: { channel: 'lobby', subscribe: { positioned: true } } })
})
