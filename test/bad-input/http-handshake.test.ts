// The WebSocket handshake: keys, versions, offers, deadlines, and bytes after the request.
import { createHash } from 'node:crypto'
import { setInterval as every } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { text } from '../support/raw-frames.js'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { centrifugePath, chatPath, upgradeRequest, type UpgradeRequest } from '../support/raw-http.js'

const timing = { headersTimeoutMs: 400, handshakeTimeoutMs: 800, checkIntervalMs: 50 }
const target = targetGateway(undefined, {}, { timing })

const key = 'dGhlIHNhbXBsZSBub25jZQ=='
const withHeader = (name: string, value: string | undefined): UpgradeRequest => ({
  headers: { [name]: value },
})

async function tokenFor(user: string): Promise<string> {
  return target.running.token(user)
}

describe('refused', () => {
  const rows: (readonly [string, UpgradeRequest, 400 | 426])[] = [
    ['no key', withHeader('Sec-WebSocket-Key', undefined), 400],
    ['an empty key', withHeader('Sec-WebSocket-Key', ''), 400],
    ['a key of 15 bytes', withHeader('Sec-WebSocket-Key', 'AAAAAAAAAAAAAAAAAAAA'), 400],
    ['a key of 17 bytes', withHeader('Sec-WebSocket-Key', 'AAAAAAAAAAAAAAAAAAAAAAA='), 400],
    ['a key that is not base64', withHeader('Sec-WebSocket-Key', '!!!!!!!!!!!!!!!!!!!!!!=='), 400],
    ['a key twice', { lines: [`Sec-WebSocket-Key: ${key}`] }, 400],
    ['a key twice, in two cases', { lines: [`sec-websocket-key: ${key}`] }, 400],
    ['another Upgrade', withHeader('Upgrade', 'h2c'), 400],
    ['Upgrade with a version', withHeader('Upgrade', 'websocket/13'), 400],
    ['a version twice', { lines: ['Sec-WebSocket-Version: 13'] }, 400],
    ['version 8', withHeader('Sec-WebSocket-Version', '8'), 426],
    ['version 14', withHeader('Sec-WebSocket-Version', '14'), 426],
    ['version 0x0d', withHeader('Sec-WebSocket-Version', '0x0d'), 426],
    ['version 13.0', withHeader('Sec-WebSocket-Version', '13.0'), 426],
    ['version 013', withHeader('Sec-WebSocket-Version', '013'), 426],
    ['version -1', withHeader('Sec-WebSocket-Version', '-1'), 426],
    ['no Upgrade, only Connection', withHeader('Upgrade', undefined), 426],
    ['no Connection, only Upgrade', withHeader('Connection', undefined), 426],
    ['Connection: close', withHeader('Connection', 'close'), 426],
    ['the same subprotocol twice', withHeader('Sec-WebSocket-Protocol', 'a, a'), 400],
    ['an empty subprotocol', withHeader('Sec-WebSocket-Protocol', ''), 400],
    ['a subprotocol with a space', withHeader('Sec-WebSocket-Protocol', 'a b'), 400],
    ['a comma at the end', withHeader('Sec-WebSocket-Protocol', 'a,'), 400],
  ]
  test.each(rows)('%s', async (_what, request, status) => {
    const code = status === 400 ? 'BAD_REQUEST' : 'UPGRADE_REQUIRED'
    const answer = await target.request({
      target: `${chatPath}?token=${await tokenFor('alice')}`,
      ...request,
    })
    expectRefusal(answer, { status, code })
    if (status === 426)
      expect(answer.headers).toMatchObject({ 'sec-websocket-version': '13', upgrade: 'websocket' })
  })
})

describe('never negotiated', () => {
  const rows = [
    'constructor',
    '__proto__',
    'hasOwnProperty; toString',
    'permessage-deflate',
    'permessage-deflate; client_max_window_bits; server_max_window_bits=15',
    'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; server_max_window_bits=999999999999999999999',
    'permessage-deflate; client_max_window_bits=abc',
    'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
    'permessage-deflate, permessage-deflate',
    'x-webkit-deflate-frame',
    `a${'; b'.repeat(2000)}`,
    ';;;,,,"',
  ]
  test.each(rows)('the extension %.60s', async (offer) => {
    const client = await target.connect()
    const request = { target: `${chatPath}?token=${await tokenFor('alice')}` }
    client.write(upgradeRequest({ ...request, ...withHeader('Sec-WebSocket-Extensions', offer) }))
    const answer = await client.answer()
    expect(answer.status).toBe(101)
    expect(answer.headers).not.toHaveProperty('sec-websocket-extensions')
  })

  test('64 subprotocols: none is echoed, in particular no token', async () => {
    const token = await tokenFor('alice')
    const others = Array.from({ length: 62 }, (_, index) => `protocol-${index}`)
    for (const [offer, echoed] of [
      [['parley.chat.v1', token, ...others], 'parley.chat.v1'],
      [[...others, 'parley.chat.v1', token], undefined],
    ] as const) {
      const client = await target.connect()
      const path = echoed ? chatPath : `${chatPath}?token=${token}`
      client.write(
        upgradeRequest({ target: path, ...withHeader('Sec-WebSocket-Protocol', offer.join(', ')) }),
      )
      const answer = await client.answer()
      expect(answer.status).toBe(101)
      expect(answer.headers['sec-websocket-protocol']).toBe(echoed)
      expect(JSON.stringify(answer)).not.toContain(token)
    }
  })
})

test('a valid handshake is answered with the hash of the example in the RFC', async () => {
  const client = await target.connect()
  client.write(upgradeRequest({ target: centrifugePath }))
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  expect((await client.answer()).headers['sec-websocket-accept']).toBe(accept)
})

describe('bytes after the handshake', () => {
  test('in the same packet are the first frame, at both endpoints', async () => {
    const token = await tokenFor('alice')
    const chat = await target.connect()
    chat.write(
      upgradeRequest({ target: `${chatPath}?token=${token}` }),
      text('{"type":"presence","room":"general","id":7}'),
    )
    expect(await chat.answer()).toMatchObject({ status: 101 })
    expect(await chat.json(({ event }) => event === 'presence')).toMatchObject({ id: 7 })

    const centrifuge = await target.connect()
    centrifuge.write(
      upgradeRequest({ target: centrifugePath }),
      text(`{"id":1,"connect":{"token":"${token}"}}\n{"id":2,"subscribe":{"channel":"general"}}`),
    )
    expect(await centrifuge.answer()).toMatchObject({ status: 101 })
    expect(await centrifuge.json()).toMatchObject({ id: 1, connect: {} })
    expect(await centrifuge.json(({ id }) => id === 2)).toMatchObject({ subscribe: {} })
  })

  test('that are a second request are a malformed frame', async () => {
    const client = await target.connect()
    client.write(upgradeRequest({ target: centrifugePath }) + upgradeRequest())
    expect(await client.answer()).toMatchObject({ status: 101 })
    expect(await client.closed()).toMatchObject({ code: 1002 })
  })

  test('that are an upgrade before the earlier request is answered cut the connection', async () => {
    const token = await tokenFor('alice')
    const client = await target.connect()
    client.write(
      `GET ${chatPath}?token=${token} HTTP/1.1\r\nHost: a\r\n\r\n${upgradeRequest({ target: centrifugePath })}`,
    )
    expect((await client.end()).toString('latin1')).not.toContain('101')
  })

  test('that are an upgrade after a plain request was answered become a WebSocket', async () => {
    const client = await target.connect()
    client.write('GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n')
    expectRefusal(await client.answer(), { status: 404, code: 'NOT_FOUND' })
    client.write(upgradeRequest({ target: centrifugePath }))
    expect(await client.answer()).toMatchObject({ status: 101 })
  })
})

describe('deadlines', () => {
  test('a request sent byte by byte is cut at the deadline, with 408', async () => {
    const client = await target.connect()
    const startedMs = performance.now()
    const request = upgradeRequest({ target: `${chatPath}?q=${'x'.repeat(5_000)}` })
    const dripping = (async () => {
      let sent = 0
      for await (const _ of every(10)) {
        if (client.socket.destroyed || sent === request.length) return
        client.write(request.charAt(sent++))
      }
    })()
    expectRefusal(await client.answer(), { status: 408, code: 'REQUEST_TIMEOUT' })
    expect(performance.now() - startedMs).toBeGreaterThan(timing.headersTimeoutMs - 100)
    await client.end()
    client.destroy()
    await dripping
  })

  test('a connection that sends nothing is cut too', async () => {
    const client = await target.connect()
    expectRefusal(await client.answer(), { status: 408, code: 'REQUEST_TIMEOUT' })
    await client.end()
  })

  test('a client that closes its half during the handshake gets an error', async () => {
    const client = await target.connect()
    client.write(upgradeRequest().slice(0, 60))
    client.socket.end()
    expectRefusal(await client.answer(), { status: 400, code: 'BAD_REQUEST' })
    await client.end()
  })

  test('a refused client that closed its half gets its response, and the connection ends', async () => {
    const client = await target.connect()
    client.write(upgradeRequest({ target: '/nowhere' }))
    client.socket.end()
    expectRefusal(await client.answer(), { status: 404, code: 'NOT_FOUND' })
    await client.end()
  })

  test('a refused client that never closes is cut', async () => {
    const client = await target.connect()
    client.write(upgradeRequest({ target: '/nowhere' }))
    expectRefusal(await client.answer(), { status: 404, code: 'NOT_FOUND' })
    // Only a write detects that the other end is gone.
    for await (const _ of every(50)) {
      if (client.socket.destroyed) break
      client.write('x')
    }
    expect(client.socket.errored).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) })
  })

  test('a reset at any point of the handshake does no harm', async () => {
    const token = await tokenFor('alice')
    for (const cutAt of [10, 150, undefined]) {
      const client = await target.connect()
      client.write(upgradeRequest({ target: `${chatPath}?token=${token}` }).slice(0, cutAt))
      client.socket.resetAndDestroy()
      expect(client.socket.destroyed).toBe(true)
    }
    await target.expectHealthy()
  })
})
