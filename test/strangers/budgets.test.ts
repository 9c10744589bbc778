// Budgets by address: plain requests and handshakes of one address are refused above its rate, and nobody
// else's. The clock stands still, so no budget is refilled.
import { describe, expect, test } from 'vitest'
import { adminKey, apiKey } from '../support/api-client.js'
import { MovableClock } from '../support/clock.js'
import { tenantPolicy } from '../support/policies.js'
import type { HttpAnswer, RawClient } from '../support/raw-client.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { centrifugePath, chatPath, upgradeRequest } from '../support/raw-http.js'

/** An address may send three at once. */
const rates = { perSecond: 1_000, perAddress: 1 }
const target = targetGateway(
  [tenantPolicy({ apiKeys: [apiKey()] }), tenantPolicy({ name: 'other' })],
  { clock: new MovableClock(), random: () => 0 },
  {
    requestRates: rates,
    handshakeRates: rates,
    trustedProxies: ['127.9.0.0/16'],
    timing: { refusalDelayMs: 20 },
  },
)

const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`

/** Sends a request on a new connection from the address. */
async function send(localAddress: string, request: string): Promise<HttpAnswer & { client: RawClient }> {
  const client = await target.connect({ localAddress })
  client.write(request)
  return { ...(await client.answer()), client }
}

async function statuses(localAddress: string, requests: readonly string[]): Promise<number[]> {
  const found: number[] = []
  for (const request of requests) {
    const { client, status } = await send(localAddress, request)
    client.destroy()
    found.push(status)
  }
  return found
}

const times = <Item>(count: number, item: Item): Item[] => Array.from({ length: count }, () => item)
const upgrade = (headers: Record<string, string> = {}): string =>
  upgradeRequest({ target: centrifugePath, headers })

describe('plain requests above the budget of their address', () => {
  test.each([
    ['checks of an endpoint', 1, get(chatPath), 401],
    ['documents', 2, get('/api/openapi.json'), 200],
    ['unknown paths', 3, get('/nothing'), 404],
    ['unknown tenants', 4, get('/demo/nobody/ws'), 404],
    ['other methods', 5, 'DELETE /nothing HTTP/1.1\r\nHost: a\r\n\r\n', 404],
  ])('%s are refused with 429', async (_what, n, request, status) => {
    const [address, other] = [`127.1.0.${n}`, `127.1.1.${n}`]
    expect(await statuses(address, times(3, request))).toEqual(times(3, status))
    const { client, ...answer } = await send(address, request)
    expectRefusal(answer, { status: 429, code: 'ADDRESS_LIMIT' })
    expect(answer.headers['retry-after']).toBe('1')
    client.destroy()
    // Others are not affected, and handshakes of the same address have a budget of their own.
    expect(await statuses(other, [get('/demo/nobody/ws')])).toEqual([404])
    expect(await statuses(address, times(3, upgrade()))).toEqual([101, 101, 101])
  })

  test('do not refuse calls of the server API with a valid key', async () => {
    const body = '{"channel":"general","data":1}'
    const call = (key: string): string =>
      `POST /demo/acme/api/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${key}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    expect(await statuses('127.2.0.1', times(5, get('/nothing')))).toEqual([404, 404, 404, 429, 429])
    expect(await statuses('127.2.0.1', times(5, call(adminKey)))).toEqual(times(5, 200))
    // Above the budget, a wrong key costs the client its connection.
    const { client, status } = await send('127.2.0.1', call('wrong'))
    expect(status).toBe(401)
    await client.end()
  })
})

describe('handshakes above the budget of their address', () => {
  test('are refused with 429 at both endpoints, before their tokens are verified', async () => {
    expect(await statuses('127.3.0.1', times(3, upgrade()))).toEqual([101, 101, 101])
    for (const path of [centrifugePath, `${chatPath}?token=nonsense`, '/demo/other/ws']) {
      const { client, ...answer } = await send('127.3.0.1', upgradeRequest({ target: path }))
      expectRefusal(answer, { status: 429, code: 'ADDRESS_LIMIT' })
      expect(answer.headers['retry-after']).toBe('1')
      client.destroy()
    }
    expect(await statuses('127.3.0.2', [upgrade(), get(chatPath)])).toEqual([101, 401])
    const metrics = await target.running.gateway.metrics.registry.metrics()
    expect(metrics).toContain('parley_handshake_refusals_total{endpoint="centrifuge",code="ADDRESS_LIMIT"} 1')
  })
})

describe('the address of a client', () => {
  const forwarded = (text: string) => ({ 'X-Forwarded-For': text })

  test('is what a trusted proxy says', async () => {
    const many = ['203.0.113.1', '203.0.113.1', '203.0.113.1', '203.0.113.1', '203.0.113.2']
    const requests = many.map((client) => upgrade(forwarded(client)))
    expect(await statuses('127.9.0.1', requests)).toEqual([101, 101, 101, 429, 101])
    // The same client through another proxy, and with something invented in front.
    expect(await statuses('127.9.0.2', [upgrade(forwarded('9.9.9.9, 203.0.113.1'))])).toEqual([429])
  })

  test('is not what a stranger says', async () => {
    const requests = [1, 2, 3, 4].map((n) => upgrade(forwarded(`203.0.113.${100 + n}`)))
    expect(await statuses('127.4.0.1', requests)).toEqual([101, 101, 101, 429])
  })

  test('is the network of 64 bits for IPv6', async () => {
    const requests = ['2001:db8::1', '2001:db8::2', '2001:db8:0:0:ffff::3', '2001:db8::4', '2001:db8:0:1::1']
    expect(
      await statuses(
        '127.9.0.1',
        requests.map((client) => upgrade(forwarded(client))),
      ),
    ).toEqual([101, 101, 101, 429, 101])
  })

  test('is read from several headers as from one', async () => {
    const lines = ['X-Forwarded-For: 9.9.9.9', 'X-Forwarded-For: 203.0.113.7']
    const request = upgradeRequest({ target: centrifugePath, lines })
    expect(await statuses('127.9.0.1', times(4, request))).toEqual([101, 101, 101, 429])
    expect(await statuses('127.9.0.1', [upgrade(forwarded('203.0.113.7'))])).toEqual([429])
  })
})

test('the response to a client above its budget comes later, and then the connection is used again', async () => {
  const client = await target.connect({ localAddress: '127.5.0.1' })
  client.write(get('/nothing').repeat(6))
  for (const status of [404, 404, 404, 429, 429, 429]) expect(await client.answer()).toMatchObject({ status })
  const metrics = await target.running.gateway.metrics.registry.metrics()
  expect(metrics).toMatch(/parley_request_refusals_total\{code="ADDRESS_LIMIT"\} \d/)
})
