// The server API of real gateways that follow the catalog: changes of keys apply on all gateways, and surveys
// reach all gateways.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CatalogWriter } from '../../src/catalog/redis/writer.js'
import type { ApiKey } from '../../src/tenant/policy.js'
import { apiKey, apiResult, callApi } from '../support/api-client.js'
import { CatalogGateways } from '../support/catalog-gateways.js'
import { chatAs, joined } from '../support/chat-client.js'
import { untilGatewaysSee, type GatewayProcess } from '../support/gateway-process.js'
import { tenantPolicy } from '../support/policies.js'
import { endRedisProcesses } from '../support/redis-processes.js'

let gateways: CatalogGateways
let writer: CatalogWriter
let a: GatewayProcess
let b: GatewayProcess

beforeAll(async () => {
  gateways = await CatalogGateways.start()
  writer = gateways.writer
  ;[a, b] = gateways.gateways
  await writer.snapshot([tenantPolicy({ apiKeys: [apiKey()] })])
})
afterAll(() => gateways.stop())

/** The status that each of the two gateways answers for the key. */
async function statuses(): Promise<number[]> {
  const answers = await Promise.all([a, b].map((gateway) => callApi(gateway, 'info')))
  return answers.map(({ status }) => status)
}

/** The requirement is 2 s (issue 8). */
const revokedWithinMs = 10_000

test.each<[string, ApiKey[]]>([
  ['that is removed', []],
  ['that is replaced', [apiKey('parley_test-key-that-replaces-the-other-one')]],
  ['that expires', [apiKey(undefined, { expiresAtMs: Date.now() })]],
])('a key %s is refused by both gateways', async (_, apiKeys) => {
  await writer.put(tenantPolicy({ apiKeys: [apiKey()] }))
  await expect.poll(statuses, { timeout: 30_000 }).toEqual([200, 200])
  await writer.put(tenantPolicy({ apiKeys }))
  await expect.poll(statuses, { timeout: revokedWithinMs }).toEqual([401, 401])
})

test('info and channels cover both gateways', async () => {
  await writer.put(tenantPolicy({ apiKeys: [apiKey()] }))
  await expect.poll(statuses, { timeout: 30_000 }).toEqual([200, 200])
  await untilGatewaysSee([a, b], 2)
  await joined(await chatAs(a, 'ann'), 'general')
  await joined(await chatAs(b, 'bob'), 'general')
  const { nodes } = await apiResult(a, 'info')
  expect(nodes).toMatchObject([{ num_clients: 1 }, { num_clients: 1 }])
  expect(await apiResult(b, 'channels', { pattern: 'gen*' })).toEqual({
    channels: { general: { num_clients: 2 } },
  })
})

test('without Redis the answer is a temporary error', async () => {
  await endRedisProcesses()
  for (const [method, fields] of Object.entries({
    publish: { channel: 'general', data: 1 },
    history: { channel: 'general', limit: 1 },
    presence: { channel: 'general' },
    disconnect: { user: 'ann' },
    channels: {},
  })) {
    const { body, headers, status } = await callApi(a, method, fields)
    expect([method, status, body]).toEqual([
      method,
      200,
      { error: { code: 100, message: expect.stringMatching(/^BROKER_UNAVAILABLE: /) } },
    ])
    expect([method, Number(headers.get('retry-after')) > 0]).toEqual([method, true])
  }
})
