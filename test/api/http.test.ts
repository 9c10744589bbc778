// The server API over HTTP: paths, keys, bodies, and the errors with an HTTP status.
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, apiError, apiKey, apiResult, callApi } from '../support/api-client.js'
import { bugsOf, startGateway, type TestGateway } from '../support/gateway.js'
import { generousLimits, rule, tenantPolicy } from '../support/policies.js'
import { within } from '../support/waiting.js'

const expiredKey = 'parley_test-key-that-has-expired-already----'
const publisherKey = 'parley_test-key-of-a-publisher-of-acme-----'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway([
    tenantPolicy({
      apiKeys: [
        apiKey(),
        apiKey(expiredKey, { credential: 'old', expiresAtMs: 1 }),
        apiKey(publisherKey, { role: 'Publisher' }),
      ],
      channels: [rule('general')],
    }),
    tenantPolicy({ name: 'beta' }),
    tenantPolicy({ name: 'shut', suspended: true, apiKeys: [apiKey()] }),
    tenantPolicy({
      name: 'slow',
      apiKeys: [apiKey()],
      limits: {
        ...generousLimits,
        messages: { ...generousLimits.messages, publishPerSecond: 1, publishBurst: 1 },
      },
      channels: [rule('general')],
    }),
  ])
})
afterAll(() => gateway.stop())

const publish = { channel: 'general', data: { hello: 1 } }

describe('a key', () => {
  test.each([
    ['X-API-Key', { 'x-api-key': adminKey }],
    ['Authorization: apikey', { authorization: `apikey ${adminKey}` }],
    ['Authorization: ApiKey', { authorization: `ApiKey  ${adminKey}` }],
  ])('is taken as %s', async (_, headers) => {
    expect((await callApi(gateway, 'publish', publish, { key: '', headers })).body).toHaveProperty('result')
  })

  test.each<[string, { key?: string; headers?: Record<string, string>; tenant?: string }, string]>([
    ['is missing', { key: '' }, 'Send an API key'],
    ['is unknown', { key: `${adminKey}x` }, 'No ChatCredential'],
    [
      'has the wrong scheme',
      { key: '', headers: { authorization: `Bearer ${adminKey}` } },
      'Send an API key',
    ],
    [
      'has two words',
      { key: '', headers: { authorization: `apikey ${adminKey} ${adminKey}` } },
      'Send an API key',
    ],
    ['has expired', { key: expiredKey }, 'ChatCredential "old" has expired'],
    ['belongs to another tenant', { tenant: 'demo/beta' }, 'No ChatCredential'],
  ])('that %s is 401', async (_, asking, words) => {
    const { body, headers, status } = await callApi(gateway, 'publish', publish, asking)
    expect([status, headers.get('www-authenticate')]).toEqual([401, 'apikey'])
    expect(body).toEqual({ code: 'UNAUTHORIZED', message: expect.stringContaining(words) })
  })

  test('in the URL is ignored, because URLs end up in logs', async () => {
    expect((await callApi(gateway, `publish?api_key=${adminKey}`, publish, { key: '' })).status).toBe(401)
  })
})

describe('a request', () => {
  test.each([
    ['GET', 405, 'METHOD_NOT_ALLOWED'],
    ['PUT', 405, 'METHOD_NOT_ALLOWED'],
    ['OPTIONS', 405, 'METHOD_NOT_ALLOWED'],
  ])('%s is %i', async (method, status, code) => {
    const response = await fetch(`${gateway.http}/demo/acme/api/publish`, { method })
    expect([response.status, response.headers.get('allow')]).toEqual([status, 'POST'])
    expect(await response.json()).toMatchObject({ code })
  })

  test.each(['', 'nothing', 'publish/general', 'toString', '__proto__', 'batch/'])(
    'to /api/%s is 404',
    async (method) => {
      const { body, status } = await callApi(gateway, method, publish)
      expect([status, body['code']]).toEqual([404, 'NOT_FOUND'])
    },
  )

  test('to an unknown tenant is 404', async () => {
    const { body, status } = await callApi(gateway, 'publish', publish, { tenant: 'demo/nobody' })
    expect([status, body['code']]).toEqual([404, 'NOT_FOUND'])
  })

  test.each([
    ['an empty text', ''],
    ['incomplete JSON', '{"channel":'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a string', '"publish"'],
  ])('with %s for a body is 400', async (_, body) => {
    const answer = await callApi(gateway, 'publish', body)
    expect([answer.status, answer.body['code']]).toEqual([400, 'BAD_REQUEST'])
  })

  test('with invalid UTF-8 is 400', async () => {
    const response = await fetch(`${gateway.http}/demo/acme/api/publish`, {
      method: 'POST',
      headers: { 'x-api-key': adminKey, 'content-type': 'application/json' },
      body: Buffer.from('7b22c3282273', 'hex'),
    })
    expect(response.status).toBe(400)
  })

  test.each([
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/x-www-form-urlencoded' },
    { 'content-encoding': 'gzip' },
  ])('with %j is 400', async (headers) => {
    const { body, status } = await callApi(gateway, 'publish', publish, { headers })
    expect([status, body['code']]).toEqual([400, 'BAD_REQUEST'])
  })

  test('may have a charset in its content type', async () => {
    const headers = { 'content-type': 'application/json; charset=utf-8' }
    expect(await apiResult(gateway, 'publish', publish, { headers })).toHaveProperty('offset')
  })

  test('of more than 1 MiB is 413, with and without Content-Length', async () => {
    const long = JSON.stringify({ ...publish, data: 'x'.repeat(1_048_577) })
    const { body, status } = await callApi(gateway, 'publish', long)
    expect([status, body['code']]).toEqual([413, 'MESSAGE_TOO_LARGE'])
    const streamed = await fetch(`${gateway.http}/demo/acme/api/publish`, {
      method: 'POST',
      headers: { 'x-api-key': adminKey, 'content-type': 'application/json' },
      body: new Blob([long]).stream(),
      duplex: 'half',
    } as RequestInit)
    expect(streamed.status).toBe(413)
  })

  test('without a key is answered before its body arrives', async () => {
    const socket = connect(gateway.port, '127.0.0.1')
    socket.write('POST /demo/acme/api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n')
    const answer = await within(
      'an answer',
      new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString()))),
    )
    socket.destroy()
    expect(answer).toMatch(/^HTTP\/1\.1 401 /)
  })

  test('of a suspended tenant is refused with an error in the body', async () => {
    expect(await apiError(gateway, 'publish', publish, { tenant: 'demo/shut' })).toEqual({
      code: 103,
      message: expect.stringMatching(/^TENANT_SUSPENDED: /),
    })
  })

  test('over the tenant’s rate has Retry-After', async () => {
    const responses = await Promise.all(
      Array.from({ length: 3 }, () => callApi(gateway, 'publish', publish, { tenant: 'demo/slow' })),
    )
    const refused = responses.filter(({ body }) => body['error'] !== undefined)
    expect(refused.length).toBeGreaterThan(0)
    for (const { body, headers, status } of refused) {
      expect(status).toBe(200)
      expect(body).toEqual({ error: { code: 111, message: expect.stringMatching(/^QUOTA_EXCEEDED: /) } })
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    }
  })
})

describe('X-Centrifugo-Error-Mode: transport', () => {
  const headers = { 'x-centrifugo-error-mode': 'transport' }
  test.each<[string, object, number, number]>([
    ['publish', { channel: 'general' }, 400, 107],
    ['publish', { channel: 'a b', data: 1 }, 400, 107],
    ['presence', { channel: 'undefined-channel' }, 400, 108],
    ['history', { channel: 'general', since: { epoch: 'another', offset: 1 } }, 416, 112],
  ])('%s %j is %i', async (method, fields, status, code) => {
    const answer = await callApi(gateway, method, fields, { headers })
    expect([answer.status, answer.body]).toEqual([status, { code, message: expect.any(String) }])
  })

  test('an error without a status of the protocol has the status of Parley’s code', async () => {
    const answer = await callApi(gateway, 'history', { channel: 'general' }, { headers, key: publisherKey })
    expect([answer.status, answer.body['code']]).toEqual([403, 103])
  })

  test('does not change results or a batch', async () => {
    expect((await callApi(gateway, 'publish', publish, { headers })).body).toHaveProperty('result')
    const { body, status } = await callApi(gateway, 'batch', { commands: [{ presence: {} }] }, { headers })
    expect([status, body]).toEqual([200, { replies: [{ error: expect.anything() }] }])
  })
})

test('the number of concurrent requests of a tenant is limited', async () => {
  const held = Array.from({ length: 64 }, () => {
    const socket = connect(gateway.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(
      `POST /demo/acme/api/info HTTP/1.1\r\nHost: a\r\nX-API-Key: ${adminKey}\r\nContent-Length: 2\r\n\r\n{`,
    )
    return socket
  })
  try {
    await expect
      .poll(async () => (await callApi(gateway, 'info')).status, { timeout: 20_000, interval: 20 })
      .toBe(429)
    const { body, headers } = await callApi(gateway, 'info')
    expect(body).toMatchObject({ code: 'TOO_MANY_REQUESTS' })
    expect(headers.get('retry-after')).toBe('1')
    // The requests of other tenants are accepted.
    expect((await callApi(gateway, 'publish', publish, { tenant: 'demo/slow' })).status).toBe(200)
  } finally {
    for (const socket of held) socket.destroy()
  }
  await expect
    .poll(async () => (await callApi(gateway, 'info')).status, { timeout: 20_000, interval: 20 })
    .toBe(200)
  // A client that disconnects during a request does not count as a bug.
  expect(await bugsOf(gateway)).toBe(0)
})

test('requests are counted by method and code, and unknown methods share one label', async () => {
  await apiError(gateway, 'publish', { channel: 'general' })
  await callApi(gateway, 'made-up')
  const text = await gateway.gateway.metrics.registry.metrics()
  expect(text).toMatch(/parley_api_requests_total\{method="publish",code="BAD_REQUEST"\} \d/)
  expect(text).toMatch(/parley_api_requests_total\{method="unknown",code="NOT_FOUND"\} \d/)
  expect(text).toMatch(/parley_api_request_duration_seconds_count\{method="publish"\} \d/)
  expect(text).not.toContain('made-up')
})
