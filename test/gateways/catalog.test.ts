// Tenants from the catalog in Redis: what a controller writes applies on all gateways.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CatalogWriter } from '../../src/catalog/redis/writer.js'
import { CatalogGateways } from '../support/catalog-gateways.js'
import { connectedAs, next, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, chatUrl, joined, plainGet } from '../support/chat-client.js'
import { chatIn, clusterOf, type GatewayProcess } from '../support/gateway-process.js'
import { acmeSecret, rule, tenantPolicy } from '../support/policies.js'
import { keyLineB } from '../support/redis-catalog.js'
import { until } from '../support/redis-processes.js'

let fixture: CatalogGateways
let writer: CatalogWriter
let a: GatewayProcess
let b: GatewayProcess

beforeAll(async () => {
  fixture = await CatalogGateways.start()
  writer = fixture.writer
  ;[a, b] = fixture.gateways
})
afterAll(() => fixture.stop())

/** The status of a plain GET by ann at the tenant's chat endpoint, which is what an upgrade would get. */
async function chatStatus(gateway: GatewayProcess, tenant: string): Promise<number> {
  const { status } = await plainGet(`${chatUrl(gateway, tenant)}?token=${await gateway.token('ann')}`)
  return status ?? 0
}

/** Resolves when the tenant's chat endpoint has the status on both gateways. */
async function untilBoth(tenant: string, status: number): Promise<void> {
  await until(`${status} at ${tenant}`, async () => {
    const answers = await Promise.all([chatStatus(a, tenant), chatStatus(b, tenant)])
    return answers.every((answer) => answer === status)
  })
}

const open = 426
const missing = 404

test('a gateway is not ready until there is a catalog', async () => {
  // The other reasons disappear first, when the control channel is subscribed.
  await until('only that reason', async () => {
    const { body, status } = await a.ops('/readyz')
    expect(body).toMatchObject({ reasons: [expect.stringContaining('The catalog has not been read yet')] })
    return status === 503
  })
  await writer.snapshot([tenantPolicy({ name: 'first' })])
  await until('two ready gateways', async () => {
    const answers = await Promise.all([a.ops('/readyz'), b.ops('/readyz')])
    return answers.every(({ status }) => status === 200)
  })
  expect([await chatStatus(a, 'demo/first'), await chatStatus(b, 'demo/first')]).toEqual([open, open])
})

test('a new tenant is served by both gateways', async () => {
  expect(await chatStatus(a, 'demo/newcomer')).toBe(missing)
  await writer.put(tenantPolicy({ name: 'newcomer' }))
  await untilBoth('demo/newcomer', open)
  const ann = await chatAs(a, 'ann', { tenant: 'demo/newcomer' })
  const bob = await chatIn(b, 'bob', { tenant: 'demo/newcomer' })
  await ann.done({ type: 'chat', content: 'hello' })
  expect(await bob.next('chat')).toMatchObject({ from: 'ann', content: 'hello' })
})

test('a change reaches live connections of both gateways, at both endpoints', async () => {
  await writer.put(tenantPolicy())
  await untilBoth('demo/acme', open)
  const [ann, bob] = [await chatAs(a, 'ann'), await connectedAs(b, 'bob')]
  await joined(ann, 'general')
  const general = await subscribed(bob, 'general')
  const unsubscribed = next(general, 'unsubscribed')
  const startMs = performance.now()
  await writer.put(tenantPolicy({ channels: [rule('lobby')] }))
  const left = await ann.next('left', (event) => event['room'] === 'general')
  expect(left).toMatchObject({ code: 'PERMISSION_DENIED' })
  expect(await unsubscribed).toMatchObject({ code: 2103 })
  // The requirement is 2 s (issue 4).
  expect(performance.now() - startMs).toBeLessThan(10_000)
})

test('the connections of a removed tenant are closed', async () => {
  await writer.put(tenantPolicy({ name: 'leaver' }))
  await untilBoth('demo/leaver', open)
  const [ann, bob] = [
    await chatAs(a, 'ann', { tenant: 'demo/leaver' }),
    await chatAs(b, 'bob', { tenant: 'demo/leaver' }),
  ]
  await writer.remove({ key: 'demo/leaver' })
  const closed = { code: 3503, reason: 'force disconnect: the tenant was removed' }
  expect(await Promise.all([ann.closed(), bob.closed()])).toEqual([closed, closed])
  expect([await chatStatus(a, 'demo/leaver'), await chatStatus(b, 'demo/leaver')]).toEqual([missing, missing])
})

test('each gateway reports the catalog version it enforces', async () => {
  const outcome = await writer.put(tenantPolicy({ name: 'last' }))
  const version = 'version' in outcome ? outcome.version : undefined
  await until('that version everywhere', async () => {
    const { gateways } = await clusterOf(a)
    return gateways.length === 2 && gateways.every((gateway) => isVersion(gateway.catalog_version, version))
  })
  expect(version).toBeDefined()
})

test('a gateway that starts later serves the existing tenants', async () => {
  await writer.put(tenantPolicy({ name: 'early' }))
  const late = await fixture.addGateway()
  await until('the catalog', async () => (await late.ops('/readyz')).status === 200)
  expect(await chatStatus(late, 'demo/early')).toBe(open)
  expect(await late.stop()).toEqual({ code: 0, signal: null })
})

test('a gateway without the sealing key does not serve tenants whose secrets it cannot open', async () => {
  await writer.put(tenantPolicy({ name: 'sealed' }))
  const stranger = await fixture.addGateway(keyLineB)
  const line = await stranger.logged('the newest revision of a tenant cannot be served')
  expect(JSON.stringify(line)).not.toContain(acmeSecret.toString('base64'))
  expect(await chatStatus(stranger, 'demo/sealed')).toBe(missing)
  await stranger.stop()
})

function isVersion(reported: object | undefined, version: object | undefined): boolean {
  return JSON.stringify(reported) === JSON.stringify(version)
}
