// Malformed HTTP requests before any WebSocket: request lines, paths and headers.
import { describe, expect, test } from 'vitest'
import { expectRefusal, targetGateway } from '../support/raw-gateway.js'
import { chatPath, upgradeRequest, type UpgradeRequest } from '../support/raw-http.js'

const target = targetGateway()

const many = (count: number) => Array.from({ length: count }, (_, index) => `x${index}: 1`)
const without = (...names: string[]) => Object.fromEntries(names.map((name) => [name, undefined]))
const plain = without('Upgrade', 'Connection', 'Sec-WebSocket-Key', 'Sec-WebSocket-Version')

/** The description, the request, and the status of the refusal. */
type Row = readonly [string, UpgradeRequest | string, keyof typeof codes]

const codes = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  404: 'NOT_FOUND',
  405: 'METHOD_NOT_ALLOWED',
  426: 'UPGRADE_REQUIRED',
  431: 'HEADERS_TOO_LARGE',
} as const

describe('the request line', () => {
  const rows: Row[] = [
    ['POST', { method: 'POST' }, 405],
    ['DELETE', { method: 'DELETE' }, 405],
    ['POST without an upgrade', { method: 'POST', headers: plain }, 405],
    ['a method in lower case', { method: 'get' }, 400],
    ['an unknown method', { method: 'PARLEY' }, 400],
    ['HTTP/1.0', { version: 'HTTP/1.0' }, 400],
    ['HTTP/2.0', { version: 'HTTP/2.0' }, 400],
    ['HTTP/9.9', { version: 'HTTP/9.9' }, 400],
    ['no version', `GET ${chatPath}\r\n\r\n`, 400],
    ['an absolute URI', { target: `http://evil.example${chatPath}` }, 400],
    ['an asterisk', { target: '*' }, 400],
    ['a path without its slash', { target: 'demo/acme/ws' }, 400],
    ['binary noise', '\u0000\u0001\u0016\u0003\u0001\r\n\r\n', 400],
    ['the start of TLS', Buffer.from('160301020001000001fc0303', 'hex').toString('latin1'), 400],
    ['a bare WebSocket frame', '\u0081\u0085abcdhello\r\n\r\n', 400],
  ]
  test.each(rows)('%s', async (_what, request, status) => {
    expectRefusal(await target.request(request), { status, code: codes[status] })
  })
})

describe('the path', () => {
  const rows: (readonly [string, 400 | 404])[] = [
    ['/', 404],
    ['/ws', 404],
    ['/demo/acme', 404],
    ['/demo/acme/ws/a/b', 404],
    ['/demo/acme/../acme/ws', 404],
    ['/demo/acme/./ws', 404],
    ['/../../etc/passwd', 404],
    ['/demo/%2e%2e/acme/ws', 404],
    ['//demo/acme/ws', 404],
    ['/demo//acme/ws', 404],
    ['/demo/acme//ws', 404],
    ['/demo/acme%00/ws', 404],
    ['/demo/acme/ws%00', 404],
    ['/demo/acme%2Fws', 404],
    ['/DEMO/ACME/ws', 404],
    ['/demo/acme/WS', 404],
    ['/demo/acme/connection/websocket/', 404],
    ['/__proto__/constructor/ws', 404],
    ['/demo/acme/ws/%00', 400],
    ['/demo/acme/ws/%', 400],
    ['/demo/acme/ws/%ff', 400],
    ['/demo/acme/ws/%0d%0aX:%201', 400],
    ['/demo/acme/ws/%2e%2e%2f', 400],
    [`/demo/acme/ws/${'c'.repeat(65)}`, 400],
    ['/demo/acme/ws/a?client_id=b', 400],
    ['/demo/acme/ws?client_id=a&client_id=b', 400],
    ['/demo/acme/ws?token=a&token=b', 400],
    ['/demo/acme/ws?client_id=<script>', 400],
  ]
  test.each(rows)('%s: %i, by upgrade and by plain GET', async (path, status) => {
    const code = codes[status]
    expectRefusal(await target.request({ target: path }), { status, code })
    expectRefusal(await target.request({ target: path, headers: plain }), { status, code })
  })

  test('bytes above ASCII are refused', async () => {
    const answer = await target.request({ target: '/dem\u00f6/acme/ws' })
    expectRefusal(answer, { status: 400, code: 'BAD_REQUEST' })
  })
})

describe('the headers', () => {
  const rows: Row[] = [
    ['none at all', `GET ${chatPath} HTTP/1.1\r\n\r\n`, 400],
    ['no Host', { headers: without('Host') }, 400],
    ['two Hosts', { lines: ['Host: evil.example'] }, 400],
    ['two Authorizations', { lines: ['Authorization: Bearer a', 'authorization: Bearer b'] }, 400],
    ['another scheme than Bearer', { headers: { Authorization: 'Basic YTpi' } }, 401],
    ['no version', { headers: without('Sec-WebSocket-Version') }, 426],
    ['101 further headers', { lines: many(101) }, 431],
    ['2,001 further headers', { lines: Array.from({ length: 2001 }, () => 'a:') }, 431],
    [
      '2,001 headers, and no upgrade',
      { headers: plain, lines: Array.from({ length: 2001 }, () => 'a:') },
      431,
    ],
    ['a line of 16 KiB and more', { headers: { 'X-Long': 'x'.repeat(17_000) } }, 431],
    ['a header name of 17 KB', { lines: [`${'x'.repeat(17_000)}: 1`] }, 431],
    ['a query of 100 KB', { target: `${chatPath}?q=${'x'.repeat(100_000)}` }, 431],
    ['a token of 1 MB in the query', { target: `${chatPath}?token=${'x'.repeat(1_000_000)}` }, 431],
    ['white space before the colon', { lines: ['X-Bad : 1'] }, 400],
    ['a folded line', { lines: ['X-Fold: a', ' b'] }, 400],
    ['NUL in a value', { headers: { 'X-Nul': 'a\u0000b' } }, 400],
    ['a lone CR in a value', { headers: { 'X-Cr': 'a\rb' } }, 400],
    ['no colon', { lines: ['nonsense'] }, 400],
  ]
  test.each(rows)('%s', async (_what, request, status) => {
    expectRefusal(await target.request(request), { status, code: codes[status] })
  })

  test('an Origin after a hundred other headers is checked', async () => {
    const answer = await target.request({ lines: [...many(94), 'Origin: https://evil.example'] })
    expectRefusal(answer, { status: 403, code: 'ORIGIN_NOT_ALLOWED' })
  })

  test('names in any case, with any white space around the values, are read in the same way', async () => {
    const token = await target.running.token('alice')
    const client = await target.connect()
    client.write(
      [
        `GET ${chatPath} HTTP/1.1`,
        'host:chat.example.com',
        'UPGRADE:   WebSocket',
        'connection: keep-alive, uPGRADE',
        'sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ==',
        'SEC-WEBSOCKET-VERSION: 13  ',
        `aUTHORIZATION: bearer ${token}`,
        '',
        '',
      ].join('\r\n'),
    )
    expect(await client.answer()).toMatchObject({ status: 101 })
    expect(await client.json()).toMatchObject({ event: 'welcome', user_id: 'alice' })
  })
})

describe('smuggling', () => {
  const body = '0\r\n\r\n'
  const rows: (readonly [string, UpgradeRequest])[] = [
    [
      'Content-Length and Transfer-Encoding',
      { headers: { 'Content-Length': '5', 'Transfer-Encoding': 'chunked' } },
    ],
    [
      'the same without an upgrade',
      { headers: { ...plain, 'Content-Length': '5', 'Transfer-Encoding': 'chunked' } },
    ],
    ['two Content-Lengths', { lines: ['Content-Length: 5', 'Content-Length: 6'] }],
    ['a negative Content-Length', { headers: { 'Content-Length': '-5' } }],
    ['an obscured Transfer-Encoding', { headers: { 'Transfer-Encoding': 'xchunked' } }],
    ['a body after an upgrade', { headers: { 'Content-Length': '5' } }],
    ['a chunked body after an upgrade', { headers: { 'Transfer-Encoding': 'chunked' } }],
  ]
  test.each(rows)('%s', async (_what, request) => {
    expectRefusal(await target.request(upgradeRequest(request) + body), { status: 400, code: 'BAD_REQUEST' })
  })

  test('requests after a refused one on the same connection are not answered', async () => {
    const client = await target.connect()
    client.write(upgradeRequest({ headers: without('Host') }) + upgradeRequest())
    expectRefusal(await client.answer(), { status: 400, code: 'BAD_REQUEST' })
    client.socket.end()
    expect(await client.end()).toHaveLength(0)
  })
})
