import type { IncomingMessage } from 'node:http'
import { beforeAll, describe, expect, test } from 'vitest'
import { ManualClock, sharedIssuer } from '../../auth/auth.testing.js'
import { mintToken } from '../../auth/mint.js'
import { openRule, policyOf, silentLog } from '../../session/session.testing.js'
import { TenantRuntime } from '../../session/tenant/runtime.js'
import {
  centrifugeHandshake,
  chatHandshake,
  checkHeaders,
  checkOrigin,
  checkUpgrade,
  parseEndpointUrl,
  type ChatHandshake,
} from './handshake.js'
import { LocalLedger } from '../../quota/local.js'
import { LocalRevocations } from '../../revocation/local.js'

const clock = new ManualClock()
const issuer = sharedIssuer()
const policy = policyOf({ issuers: [issuer], channels: [openRule('lobby')] })
const tenant = new TenantRuntime(policy, {
  clock,
  log: silentLog,
  allowPrivateJwks: false,
  arrivalDelay: { at: () => 0 },
  ledger: new LocalLedger(),
  guestSecrets: [Buffer.alloc(32)],
  revocations: new LocalRevocations(clock),
})
let token = ''
beforeAll(async () => {
  token = await mintToken(issuer, { user: 'ann', expiresInS: 60, nowMs: clock.epochMs() })
})

const requestOf = (headers: Record<string, string>, more: Partial<IncomingMessage> = {}): IncomingMessage =>
  ({
    method: 'GET',
    httpVersion: '1.1',
    headers: { host: 'chat.example.com', ...headers },
    rawHeaders: Object.entries({ host: 'chat.example.com', ...headers }).flat(),
    ...more,
  }) as IncomingMessage

describe('parseEndpointUrl', () => {
  test.each([
    ['/demo/acme/ws', 'demo/acme', 'chat', ''],
    ['/demo/acme/ws?token=x', 'demo/acme', 'chat', ''],
    ['/demo/acme/ws/', 'demo/acme', 'chat', ''],
    ['/demo/acme/ws/abc', 'demo/acme', 'chat', 'abc'],
    ['/demo/acme/ws/a%40b', 'demo/acme', 'chat', 'a@b'],
    ['/demo/acme/ws/a%2Fb', 'demo/acme', 'chat', 'a/b'],
    ['/demo/acme/connection/websocket', 'demo/acme', 'centrifuge', ''],
    ['/demo/acme/connection/websocket?format=json', 'demo/acme', 'centrifuge', ''],
    ['//acme/ws', '/acme', 'chat', ''],
    ['/de%2Fmo/acme/ws', 'de%2Fmo/acme', 'chat', ''],
  ])('%s', (target, tenantKey, endpoint, clientId) => {
    expect(parseEndpointUrl(target)).toMatchObject({ tenantKey, endpoint, clientId })
  })

  test.each([
    '/',
    '/demo',
    '/demo/acme',
    '/demo/acme/',
    '/demo/acme/wss',
    '/demo/acme/WS',
    '/demo/acme/ws/a/b',
    '/demo/acme/connection',
    '/demo/acme/connection/websocket/',
    '/demo/acme/connection/websocket/x',
    '/x/demo/acme/ws',
    '/?/demo/acme/ws',
  ])('%s is not an endpoint', (target) => {
    expect(parseEndpointUrl(target)).toBeUndefined()
  })

  test.each([
    '',
    '*',
    'http://evil.example/demo/acme/ws',
    'demo/acme/ws',
    '/demo/acme/ws/%',
    '/demo/acme/ws/%ff',
  ])('%j is BAD_REQUEST', (target) => {
    expect(() => parseEndpointUrl(target)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }) as Error)
  })

  test('decodes the query once', () => {
    expect(parseEndpointUrl('/demo/acme/ws?client_id=a%40b&token=x%2By')?.query.get('client_id')).toBe('a@b')
  })
})

const shake = (target: string, headers: Record<string, string> = {}): Promise<ChatHandshake> => {
  const url = parseEndpointUrl(target)
  if (!url) throw new Error(`${target} is not an endpoint`)
  return chatHandshake(tenant, url, requestOf(headers))
}

describe('the client id', () => {
  test.each([
    ['/demo/acme/ws?client_id=abc', 'abc'],
    ['/demo/acme/ws/abc', 'abc'],
    ['/demo/acme/ws/abc?client_id=abc', 'abc'],
    ['/demo/acme/ws/a.b_c~d@e+f-g', 'a.b_c~d@e+f-g'],
    [`/demo/acme/ws/${'x'.repeat(64)}`, 'x'.repeat(64)],
  ])('%s', async (target, client) => {
    expect((await shake(target)).identity).toMatchObject({ client, anonymous: true })
  })

  test.each(['/demo/acme/ws', '/demo/acme/ws/', '/demo/acme/ws?client_id='])(
    '%s: 8 random characters',
    async (target) => {
      expect((await shake(target)).identity.client).toMatch(/^[a-z0-9]{8}$/)
    },
  )

  test.each([
    '/demo/acme/ws/abc?client_id=abd',
    '/demo/acme/ws?client_id=a&client_id=a',
    '/demo/acme/ws?client_id=a%20b',
    '/demo/acme/ws?client_id=a:b',
    '/demo/acme/ws?client_id=%C3%A4',
    '/demo/acme/ws/a%0Ab',
    `/demo/acme/ws/${'x'.repeat(65)}`,
  ])('%s is BAD_REQUEST', async (target) => {
    await expect(shake(target)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })
})

describe('the token', () => {
  const users = async (...handshakes: (() => Promise<ChatHandshake>)[]): Promise<string[]> =>
    Promise.all(handshakes.map(async (handshake) => (await handshake()).identity.user))

  test('is read from header, subprotocol and query', async () => {
    expect(
      await users(
        () => shake('/demo/acme/ws', { authorization: `Bearer ${token}` }),
        () => shake('/demo/acme/ws', { authorization: ` bearer   ${token} ` }),
        () => shake('/demo/acme/ws', { 'sec-websocket-protocol': `parley.chat.v1, ${token}` }),
        () => shake('/demo/acme/ws', { 'sec-websocket-protocol': `parley.chat.v1,${token}` }),
        () => shake(`/demo/acme/ws?token=${token}`),
      ),
    ).toEqual(['ann', 'ann', 'ann', 'ann', 'ann'])
  })

  test('in the header takes precedence, also when it is invalid', async () => {
    await expect(
      shake(`/demo/acme/ws?token=${token}`, { authorization: 'Bearer bad' }),
    ).rejects.toMatchObject({
      code: 'TOKEN_INVALID',
    })
  })

  test.each(['Basic YTpi', 'Bearer', 'Bearer a b', 'x'])(
    'Authorization: %s is UNAUTHORIZED',
    async (authorization) => {
      await expect(shake('/demo/acme/ws', { authorization })).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
    },
  )

  test('twice in the query is BAD_REQUEST', async () => {
    await expect(shake('/demo/acme/ws?token=a&token=b')).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })

  test('after another subprotocol is ignored: the client is a guest', async () => {
    const { identity } = await shake('/demo/acme/ws/abc', { 'sec-websocket-protocol': `other, ${token}` })
    expect(identity).toMatchObject({ client: 'abc', anonymous: true })
  })
})

describe('the guest token', () => {
  const guestToken = tenant.guests.issue('a-guest-of-22-letters_')
  const user = 'guest:a-guest-of-22-letters_'

  test.each<[string, string, Record<string, string>]>([
    ['the query as guest_token', `?guest_token=${guestToken}`, {}],
    ['the query as token', `?token=${guestToken}`, {}],
    ['the subprotocol', '', { 'sec-websocket-protocol': `parley.chat.v1, ${guestToken}` }],
    ['the header', '', { authorization: `Bearer ${guestToken}` }],
  ])('is read from %s', async (_where, query, headers) => {
    const { identity } = await shake(`/demo/acme/ws/abc${query}`, headers)
    expect(identity).toMatchObject({ client: 'abc', user, anonymous: true })
  })

  test('that is empty is none', async () => {
    expect((await shake('/demo/acme/ws?guest_token=')).identity.user).toMatch(/^guest:[\w-]{22}$/)
  })

  test.each<[string, string, Record<string, string>]>([
    ['twice', `?guest_token=${guestToken}&guest_token=${guestToken}`, {}],
    ['beside a token in the query', `?guest_token=${guestToken}&token=x`, {}],
    ['beside a token in the header', `?guest_token=${guestToken}`, { authorization: 'Bearer x' }],
  ])('%s is BAD_REQUEST', async (_what, query, headers) => {
    await expect(shake(`/demo/acme/ws${query}`, headers)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })

  test('cannot be the token of a user', async () => {
    await expect(shake(`/demo/acme/ws?guest_token=${token}`)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
  })
})

describe('the subprotocol', () => {
  test.each([
    ['parley.chat.v1', 'parley.chat.v1'],
    ['other', undefined],
    ['other, parley.chat.v1', undefined],
    ['Parley.Chat.V1', undefined],
  ])('a chat client that offers %s gets %s', async (offered, expected) => {
    expect((await shake('/demo/acme/ws', { 'sec-websocket-protocol': offered })).subprotocol).toBe(expected)
  })

  test.each<[string, string | undefined, string, string | undefined]>([
    ['', undefined, 'centrifuge-json', undefined],
    ['?format=json', undefined, 'centrifuge-json', undefined],
    ['', 'other', 'centrifuge-json', undefined],
    ['', 'centrifuge-json', 'centrifuge-json', 'centrifuge-json'],
    ['', 'centrifuge-protobuf, centrifuge-json', 'centrifuge-json', 'centrifuge-json'],
    ['', 'centrifuge-protobuf', 'centrifuge-protobuf', 'centrifuge-protobuf'],
    ['?format=protobuf', undefined, 'centrifuge-protobuf', undefined],
    ['?cf_protocol=protobuf', undefined, 'centrifuge-protobuf', undefined],
  ])('a Centrifuge client with the query %j that offers %s gets %s', (query, offered, codec, subprotocol) => {
    const url = parseEndpointUrl(`/demo/acme/connection/websocket${query}`)
    if (!url) throw new Error('not an endpoint')
    const headers = offered === undefined ? {} : { 'sec-websocket-protocol': offered }
    expect(centrifugeHandshake(url, requestOf(headers))).toMatchObject({
      codec: { name: codec },
      subprotocol,
    })
  })
})

describe('the request', () => {
  const codeOf = (act: () => void): unknown => {
    try {
      act()
    } catch (error) {
      return (error as { code: unknown }).code
    }
    return 'accepted'
  }

  test.each([
    [{ 'sec-websocket-version': '13' }, {}, 'accepted'],
    [{ 'sec-websocket-version': '8' }, {}, 'UPGRADE_REQUIRED'],
    [{}, {}, 'UPGRADE_REQUIRED'],
    [{ 'sec-websocket-version': '13' }, { method: 'POST' }, 'METHOD_NOT_ALLOWED'],
    [{ 'sec-websocket-version': '13' }, { httpVersion: '1.0' }, 'BAD_REQUEST'],
    [{ 'sec-websocket-version': '13', 'content-length': '5' }, {}, 'BAD_REQUEST'],
    [{ 'sec-websocket-version': '13', 'content-length': '0' }, {}, 'accepted'],
    [{ 'sec-websocket-version': '13', 'transfer-encoding': 'chunked' }, {}, 'BAD_REQUEST'],
  ] as [Record<string, string>, Partial<IncomingMessage>, string][])(
    'upgrade %j %j: %s',
    (headers, more, expected) => {
      expect(codeOf(() => checkUpgrade(requestOf(headers, more)))).toBe(expected)
    },
  )

  test.each([
    [['Host', 'a'], 'accepted'],
    [['Host', 'a', 'hOST', 'b'], 'BAD_REQUEST'],
    [['Host', 'a', 'Origin', 'x', 'origin', 'x'], 'BAD_REQUEST'],
    [['Host', 'a', 'Authorization', 'x', 'Authorization', 'y'], 'BAD_REQUEST'],
    [['Host', 'a', 'Cookie', 'x', 'Cookie', 'y'], 'accepted'],
    [['Host', 'a', ...Array.from({ length: 100 }, (_, n) => [`x-${n}`, '']).flat()], 'HEADERS_TOO_LARGE'],
  ])('headers %j: %s', (rawHeaders, expected) => {
    expect(codeOf(() => checkHeaders(requestOf({}, { rawHeaders })))).toBe(expected)
  })

  test.each([
    [undefined, 'accepted'],
    ['https://chat.example.com', 'accepted'],
    ['https://evil.example', 'ORIGIN_NOT_ALLOWED'],
    ['null', 'ORIGIN_NOT_ALLOWED'],
  ])('origin %s: %s', (origin, expected) => {
    const headers = origin === undefined ? {} : { origin }
    expect(codeOf(() => checkOrigin(tenant, requestOf(headers)))).toBe(expected)
  })
})
