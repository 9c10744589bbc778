// Plain requests of strangers: one request at a time on each connection, and budgets by address and for all.
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import { adminKey, apiKey } from '../support/api-client.js'
import { heldJwks } from '../support/held-jwks.js'
import { tenantPolicy } from '../support/policies.js'
import type { RawClient } from '../support/raw-client.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { centrifugePath, upgradeRequest } from '../support/raw-http.js'
import { deadlineMs } from '../support/waiting.js'

const timing = {
  responseTimeoutMs: 500,
  handshakeTimeoutMs: 30_000,
  headersTimeoutMs: 1_000,
  checkIntervalMs: 100,
}
const policies = [tenantPolicy({ apiKeys: [apiKey()] }), tenantPolicy({ name: 'other' })]
// The limit of one address is in another file.
const target = targetGateway(
  policies,
  { allowPrivateJwks: true },
  { timing, requestRates: { perSecond: 100_000 } },
)

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const document = '/api/openapi.json'

async function cuts(reason: string): Promise<number> {
  const { values } = await target.running.gateway.metrics.cutConnections.get()
  return values.find(({ labels }) => labels.reason === reason)?.value ?? 0
}

async function expectCut(client: RawClient, reason: string, before: number): Promise<void> {
  await vi.waitFor(
    () => expect(client.socket.destroyed || client.socket.readableEnded).toBe(true),
    deadlineMs,
  )
  await vi.waitFor(async () => expect(await cuts(reason)).toBe(before + 1), deadlineMs)
}

function publish(body: string, headers: Record<string, string>): string {
  const all = { Host: 'a', 'X-API-Key': adminKey, 'Content-Type': 'application/json', ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
  return `POST /demo/acme/api/publish HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`
}
const message = JSON.stringify({ channel: 'general', data: 'a\r\n\r\nb' }, undefined, '\r\n\r\n')
const sized = publish(message, { 'Content-Length': String(Buffer.byteLength(message)) })
const chunked = publish(`${message.length.toString(16)}\r\n${message}\r\n0\r\n\r\n`, {
  'Transfer-Encoding': 'chunked',
})

describe('pipelined requests', () => {
  test('are answered one after the other, in order', async () => {
    const client = await target.connect()
    client.write(get('/a') + get(document) + get('/demo/acme/ws') + get(document) + get('/b'))
    for (const status of [404, 200, 401, 200, 404]) expect(await client.answer()).toMatchObject({ status })
  })

  test('are found wherever the packets end', async () => {
    const bytes = Buffer.from(get('/a') + sized + get(document) + chunked + get('/b'), 'latin1')
    for (const size of [1, 7, 64]) {
      const client = await target.connect()
      client.socket.setNoDelay(true)
      for (let at = 0; at < bytes.byteLength; at += size) {
        client.write(bytes.subarray(at, at + size))
        if (size > 1 || at % 16 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      for (const status of [404, 200, 200, 200, 404]) expect(await client.answer()).toMatchObject({ status })
    }
  })

  test('with a stray CRLF between them are answered', async () => {
    const client = await target.connect()
    client.write(`${sized}\r\n${get('/a')}\r\n\r\n\r\n${get('/b')}`)
    for (const status of [200, 404, 404]) expect(await client.answer()).toMatchObject({ status })
  })

  test('of more than 16 KiB cut the connection', async () => {
    const before = await cuts('pipelining')
    const client = await target.connect()
    client.write(get('/nothing').repeat(2_000))
    await expectCut(client, 'pipelining', before)
  })

  test('whose responses nobody reads cut the connection', async () => {
    const before = await cuts('unread_response')
    const socket = connect({ port: target.running.port, host: '127.0.0.1' })
    socket.on('error', () => {})
    await once(socket, 'connect')
    // The stream is never read. The kernel's buffers take several megabytes before the gateway has to wait.
    socket.pause()
    socket.write(get(document).repeat(300))
    await vi.waitFor(async () => expect(await cuts('unread_response')).toBe(before + 1), deadlineMs)
    socket.destroy()
  })

  test('that end with an upgrade cut the connection', async () => {
    const before = await cuts('pipelining')
    const client = await target.connect()
    client.write(get('/a') + upgradeRequest({ target: centrifugePath }))
    expect((await client.end()).toString('latin1')).not.toContain(' 101 ')
    await expectCut(client, 'pipelining', before)
  })
})

describe('bodies', () => {
  test.each([
    ['of a known length', sized],
    ['in chunks', chunked],
  ])('%s may contain empty lines, and the connection is used again', async (_what, request) => {
    const client = await target.connect()
    for (let time = 0; time < 3; time += 1) {
      client.write(request)
      expect(await client.answer()).toMatchObject({ status: 200 })
    }
  })

  test('of thousands of empty lines in chunks are read in many turns', async () => {
    const padding = '\r\n\r\n'.repeat(20_000)
    const client = await target.connect()
    const body = `{"channel":"general",${padding}"data":1}`
    client.write(
      publish(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`, { 'Transfer-Encoding': 'chunked' }),
    )
    expect(await client.answer()).toMatchObject({ status: 200 })
  })

  test('that nobody reads do not confuse the next request', async () => {
    const client = await target.connect()
    client.write(
      `POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n${'\r\n\r\n'.repeat(5_000)}`,
    )
    expect(await client.answer()).toMatchObject({ status: 404 })
    client.write(get(document))
    expect(await client.answer()).toMatchObject({ status: 200 })
  })

  const post = (headers: string): string => `POST /nothing HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n`

  test('of thousands of chunks of one byte cut the connection', async () => {
    for (const chunk of ['1\r\n\n\r\n', '1;a=b\r\nx\r\n', '0001\r\nx\r\n']) {
      const before = await cuts('small_chunks')
      const client = await target.connect()
      client.write(post('Transfer-Encoding: chunked') + chunk.repeat(4_000))
      await expectCut(client, 'small_chunks', before)
    }
  })

  test('of hundreds of small chunks, or of thousands of larger ones, are read', async () => {
    for (const [count, bytes] of [
      [200, 1],
      [4_000, 70],
    ] as const) {
      const client = await target.connect()
      const padding = `${bytes.toString(16)}\r\n${' '.repeat(bytes)}\r\n`.repeat(count)
      const body = '{"channel":"general","data":1}'
      client.write(
        publish(`${padding}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`, {
          'Transfer-Encoding': 'chunked',
        }),
      )
      expect(await client.answer()).toMatchObject({ status: 200 })
    }
  })

  test('of which more than 64 KiB follow the response cut the connection', async () => {
    for (const [headers, body] of [
      ['Content-Length: 900000000', 'x'.repeat(200_000)],
      ['Transfer-Encoding: chunked', `${(200_000).toString(16)}\r\n${'x'.repeat(200_000)}`],
    ] as const) {
      const before = await cuts('unread_body')
      const client = await target.connect()
      client.write(post(headers))
      expect(await client.answer()).toMatchObject({ status: 404 })
      client.write(body)
      await expectCut(client, 'unread_body', before)
    }
  })

  test('after headers that end without CR are refused', async () => {
    const client = await target.connect()
    client.write(
      `POST /nothing HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n${'1\r\n\n\r\n'.repeat(9_000)}`,
    )
    expectRefusal(await client.answer(), { status: 400, code: 'BAD_REQUEST' })
  })

  test('after Expect: 100-continue are asked for', async () => {
    const client = await target.connect()
    const [head, body] = [
      sized.slice(0, sized.indexOf('\r\n\r\n')),
      sized.slice(sized.indexOf('\r\n\r\n') + 4),
    ]
    client.write(`${head}\r\nExpect: 100-continue\r\n\r\n`)
    expect(await client.answer()).toMatchObject({ status: 100 })
    client.write(body)
    expect(await client.answer()).toMatchObject({ status: 200 })
  })

  test('after another expectation are refused', async () => {
    const client = await target.connect()
    client.write(`GET ${document} HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n${get('/a')}`)
    expectRefusal(await client.answer(), { status: 400, code: 'BAD_REQUEST' })
  })
})

describe('other requests', () => {
  test('a URL instead of a path is refused, for documents too', async () => {
    const client = await target.connect()
    client.write(get('http://evil.example/api/openapi.json'))
    expectRefusal(await client.answer(), { status: 400, code: 'BAD_REQUEST' })
  })

  test('HTTP/1.0 is answered, and the connection ends', async () => {
    const client = await target.connect()
    client.write(`GET ${document} HTTP/1.0\r\n\r\n`)
    expect(await client.answer()).toMatchObject({ status: 200 })
    await client.end()
  })

  test('CONNECT cuts the connection', async () => {
    const client = await target.connect()
    client.write('CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n')
    expect((await client.end()).byteLength).toBe(0)
  })

  test('a half-closed connection is answered and ends', async () => {
    const client = await target.connect()
    client.socket.end(get(document))
    expect(await client.answer()).toMatchObject({ status: 200 })
    await client.end()
  })

  test('a half-closed connection whose request takes time is answered and ends', async () => {
    const jwks = await heldJwks()
    target.running.catalog.put(tenantPolicy({ name: 'slow', issuers: [jwks.issuer] }))
    const client = await target.connect()
    client.socket.end(get(`/demo/slow/ws?token=${await jwks.sign('ann')}`))
    const sendKeys = await jwks.requested()
    sendKeys()
    expect(await client.answer()).toMatchObject({ status: 426 })
    await client.end()
  })

  test('more than 16 KiB of frames before the upgrade cut the connection', async () => {
    const before = await cuts('early_frames')
    const client = await target.connect()
    client.write(upgradeRequest({ target: centrifugePath }), Buffer.alloc(60_000, 0x81))
    await expectCut(client, 'early_frames', before)
  })

  test('more of them while the token is checked cut the connection, and no session is opened', async () => {
    const jwks = await heldJwks()
    target.running.catalog.put(tenantPolicy({ name: 'provider', issuers: [jwks.issuer] }))
    const before = await cuts('early_frames')
    const client = await target.connect()
    client.write(upgradeRequest({ target: `/demo/provider/ws?token=${await jwks.sign('ann')}` }))
    const sendKeys = await jwks.requested()
    client.write(Buffer.alloc(60_000, 0x81))
    await vi.waitFor(async () => expect(await cuts('early_frames')).toBe(before + 1), deadlineMs)
    sendKeys()
    expect((await client.end()).toString('latin1')).toBe('')
    const { counters } = target.running.gateway.tenant('demo/provider')!.quota
    expect(counters.refusals).toEqual(new Map())
  })

  test('a token that is refused after them gets no answer', async () => {
    const jwks = await heldJwks()
    target.running.catalog.put(tenantPolicy({ name: 'refusing', issuers: [jwks.issuer] }))
    const before = await cuts('early_frames')
    const client = await target.connect()
    const forged = (await jwks.sign('ann')).slice(0, -8) + 'AAAAAAAA'
    client.write(upgradeRequest({ target: `/demo/refusing/ws?token=${forged}` }))
    const sendKeys = await jwks.requested()
    client.write(Buffer.alloc(60_000, 0x81))
    await vi.waitFor(async () => expect(await cuts('early_frames')).toBe(before + 1), deadlineMs)
    sendKeys()
    expect((await client.end()).toString('latin1')).toBe('')
  })
})
