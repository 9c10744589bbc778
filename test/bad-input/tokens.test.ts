// Invalid tokens at both endpoints: the chat endpoint answers 401 with JSON before the upgrade, and the
// Centrifuge endpoint answers with the number that the SDKs evaluate.
import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { acmeSecret, tenantPolicy } from '../support/policies.js'
import { expectRefusal, expectSentence, targetGateway } from '../support/raw-gateway.js'
import { centrifugePath, chatPath } from '../support/raw-http.js'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString()

const [shared] = tenantPolicy().issuers
if (!shared) throw new Error('the test policy has no issuer')
const otherSecret = Buffer.from('the secret of tenant other, which is quite as long as it has to be')
const keyed = (name: string, algorithms: typeof shared.algorithms, pem: string) => ({
  ...shared,
  name,
  algorithms,
  key: { type: 'PublicKey' as const, pem },
})

const target = targetGateway([
  tenantPolicy({
    issuers: [
      { ...shared, issuer: 'https://id.acme.example', audience: 'chat' },
      keyed('rsa', ['RS256'], pemOf(rsa.publicKey)),
      keyed('ec', ['ES256'], pemOf(ec.publicKey)),
    ],
  }),
  tenantPolicy({
    name: 'other',
    issuers: [
      {
        ...shared,
        issuer: 'https://id.other.example',
        key: { type: 'SharedKey', secret: otherSecret.toString('base64'), sample: false },
      },
    ],
  }),
])

/** A token may point here for its key. The gateway must not fetch it. */
const fetched: string[] = []
const trap = createServer((request, response) => {
  fetched.push(request.url ?? '')
  response.end('{"keys":[]}')
})
beforeAll(() => new Promise<void>((resolve) => void trap.listen(0, '127.0.0.1', resolve)))
afterAll(() => {
  expect(fetched).toEqual([])
  trap.close()
})
const trapUrl = (): string => `http://127.0.0.1:${(trap.address() as AddressInfo).port}/jwks`

const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const nowS = Math.floor(Date.now() / 1000)
const good = { sub: 'alice', iss: 'https://id.acme.example', aud: 'chat', iat: nowS, exp: nowS + 3600 }

type Signer = (input: string) => Buffer
const hmac =
  (secret: string | Buffer): Signer =>
  (input) =>
    createHmac('sha256', secret).update(input).digest()
const bySharedKey = hmac(acmeSecret)
const byRsa =
  (key: KeyObject): Signer =>
  (input) =>
    sign('sha256', Buffer.from(input), key)
const unsigned: Signer = () => Buffer.alloc(0)

function jwt(header: object, claims: unknown = good, signer: Signer = bySharedKey): string {
  const input = `${part(header)}.${part(claims)}`
  return `${input}.${signer(input).toString('base64url')}`
}

const hs256 = { alg: 'HS256', typ: 'JWT' }
const withClaims = (claims: object) => () => jwt(hs256, { ...good, ...claims })
const withHeader = (header: object) => () => jwt({ ...hs256, ...header })
const strangerJwk = stranger.publicKey.export({ format: 'jwk' })

type Row = readonly [string, () => string]

const invalid: Row[] = [
  ['alg none', () => jwt({ alg: 'none' }, good, unsigned)],
  ['alg None', () => jwt({ alg: 'None' }, good, unsigned)],
  ['alg nOnE, with a signature', () => jwt({ alg: 'nOnE' })],
  ['alg empty', withHeader({ alg: '' })],
  ['alg that is no text', withHeader({ alg: ['HS256'] })],
  ['no alg', withHeader({ alg: undefined })],
  ['alg in lower case', withHeader({ alg: 'hs256' })],
  ['an algorithm that the tenant does not take', withHeader({ alg: 'PS256' })],
  ['HS256 with the RSA public key for a secret', () => jwt(hs256, good, hmac(pemOf(rsa.publicKey)))],
  [
    'HS256 with the key’s DER for a secret',
    () => jwt(hs256, good, hmac(rsa.publicKey.export({ type: 'spki', format: 'der' }))),
  ],
  ['RS256 by a stranger', () => jwt({ alg: 'RS256' }, good, byRsa(stranger.privateKey))],
  ['RS256 by the shared key', () => jwt({ alg: 'RS256' })],
  ['ES256 with a signature of zeros', () => jwt({ alg: 'ES256' }, good, () => Buffer.alloc(64))],
  ['ES256 with an empty signature', () => jwt({ alg: 'ES256' }, good, unsigned)],
  [
    'ES256 in DER',
    () => jwt({ alg: 'ES256' }, good, (input) => sign('sha256', Buffer.from(input), ec.privateKey)),
  ],
  ['a kid that is a path', () => jwt({ ...hs256, kid: '../../../../dev/null' }, good, hmac(''))],
  ['a kid that is SQL', () => jwt({ ...hs256, kid: "x' UNION SELECT 'key" }, good, hmac('key'))],
  ['a kid that is a number', withHeader({ kid: 7 })],
  ['a kid of 1,000 characters', withHeader({ kid: 'k'.repeat(1_000) })],
  ['its own jwk', () => jwt({ alg: 'RS256', jwk: strangerJwk }, good, byRsa(stranger.privateKey))],
  ['a jku', () => jwt({ alg: 'RS256', jku: trapUrl(), kid: 'a' }, good, byRsa(stranger.privateKey))],
  ['an x5u', () => jwt({ alg: 'RS256', x5u: trapUrl() }, good, byRsa(stranger.privateKey))],
  ['an x5c', () => jwt({ alg: 'RS256', x5c: ['AAAA'] }, good, byRsa(stranger.privateKey))],
  ['crit', withHeader({ crit: ['exp'] })],
  ['b64: false', withHeader({ b64: false, crit: ['b64'] })],
  ['zip', withHeader({ zip: 'DEF' })],
  ['exp that is a text', withClaims({ exp: String(nowS + 60) })],
  ['exp of 1e308', withClaims({ exp: 1e308 })],
  ['exp that is null', withClaims({ exp: null })],
  ['nbf that is a text', withClaims({ nbf: 'now' })],
  ['aud of another service', withClaims({ aud: 'mail' })],
  ['aud: an array without us', withClaims({ aud: ['mail', 'calendar'] })],
  ['no aud', withClaims({ aud: undefined })],
  ['iss of tenant other', withClaims({ iss: 'https://id.other.example' })],
  ['no iss', withClaims({ iss: undefined })],
  ['no sub', withClaims({ sub: undefined })],
  ['an empty sub', withClaims({ sub: '' })],
  ['a sub that is an object', withClaims({ sub: { toString: 'alice' } })],
  ['a sub with CRLF', withClaims({ sub: 'a\r\nb' })],
  ['a sub of 129 bytes', withClaims({ sub: 'a'.repeat(129) })],
  ['a guest’s sub', withClaims({ sub: 'guest:alice' })],
  ['a channel: it is for a subscription', withClaims({ channel: 'general' })],
  ['claims that are an array', () => jwt(hs256, [good])],
  ['claims that are a text', () => jwt(hs256, '"alice"')],
  ['claims that are no JSON', () => jwt(hs256, '{sub:alice}')],
  ['changed claims', () => withClaims({})().replace(/\.[^.]+\./, `.${part({ ...good, sub: 'root' })}.`)],
  ['signed by tenant other', () => jwt(hs256, good, hmac(otherSecret))],
  ['five parts', () => `${part({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`],
  ['two parts', () => jwt(hs256).split('.').slice(0, 2).join('.')],
  ['four parts', () => `${jwt(hs256)}.x`],
  ['padding behind it', () => `${jwt(hs256)}=`],
  ['a line break behind it', () => `${jwt(hs256)}\n`],
  ['a space before it', () => ` ${jwt(hs256)}`],
  ['NUL behind it', () => `${jwt(hs256)}\u0000`],
  ['quotes around it', () => `"${jwt(hs256)}"`],
  ['the other base64', () => jwt(hs256).replaceAll('-', '+').replaceAll('_', '/').replace(/$/, '/')],
  ['a word', () => 'letmein'],
  ['8 KiB and a byte', () => jwt(hs256, { ...good, pad: 'x'.repeat(8_192) })],
]

const late: Row[] = [
  ['expired', withClaims({ exp: nowS - 1 })],
  ['expired in 1970', withClaims({ exp: 0 })],
  ['nbf in the future', withClaims({ nbf: nowS + 3600 })],
  ['iat in the future', withClaims({ iat: nowS + 3600 })],
  ['expire_at in the past', withClaims({ expire_at: nowS - 1 })],
]

describe('chat: 401 before the upgrade, for every way to send a token', () => {
  const rows = [
    ...invalid.map((row) => [...row, 'TOKEN_INVALID'] as const),
    ...late.map((row) => [...row, 'TOKEN_EXPIRED'] as const),
  ]
  test.each(rows)('%s', async (_what, makeToken, code) => {
    const token = makeToken()
    const plain = { Upgrade: undefined, Connection: undefined }
    const inQuery = { target: `${chatPath}?token=${encodeURIComponent(token)}` }
    const requests = [inQuery, { ...inQuery, headers: plain }]
    // Some invalid tokens cannot be sent in a header.
    if (/^[\w.-]+$/.test(token)) {
      requests.push({ target: chatPath, headers: { Authorization: `Bearer ${token}` } } as never)
      requests.push({
        target: chatPath,
        headers: { 'Sec-WebSocket-Protocol': `parley.chat.v1, ${token}` },
      } as never)
    }
    for (const request of requests) {
      const answer = await target.request(request)
      expectRefusal(answer, { status: 401, code })
      expect(answer.headers).toMatchObject({ 'www-authenticate': 'Bearer' })
      expectNoSecrets(JSON.stringify(answer), token)
    }
  })

  test('no token: UNAUTHORIZED', async () => {
    for (const path of [chatPath, `${chatPath}?token=`])
      expectRefusal(await target.request({ target: path }), { status: 401, code: 'UNAUTHORIZED' })
  })
})

describe('Centrifuge: by code, after connect', () => {
  const connected = async (token: unknown) => {
    const client = await target.upgrade({ target: centrifugePath })
    client.send({ id: 1, connect: { token } })
    return client
  }

  test.each(invalid)('%s: 3500', async (_what, makeToken) => {
    const token = makeToken()
    const { code, reason } = await (await connected(token)).closed()
    expect([code, reason]).toEqual([3500, expect.stringMatching(/^invalid token: The token /)])
    expectNoSecrets(reason, token)
  })

  test.each(late)('%s: error 109', async (_what, makeToken) => {
    const token = makeToken()
    const answer = await (await connected(token)).json()
    expect(answer).toMatchObject({ id: 1, error: { code: 109 } })
    expectSentence(answer['error'].message)
    expectNoSecrets(JSON.stringify(answer), token)
  })

  test.each([
    ['none', undefined],
    ['an empty one', ''],
    ['null', null],
    ['a number', 7],
    ['an object', { alg: 'none' }],
  ])('%s: 3501', async (_what, token) => {
    expect(await (await connected(token)).closed()).toMatchObject({ code: 3501 })
  })

  test('one of 1 MB: 1009', async () => {
    expect(await (await connected('x'.repeat(1_000_000))).closed()).toMatchObject({ code: 1009 })
  })
})

test('a token of one tenant is refused by another, and a valid token is accepted on a hundred sockets', async () => {
  const token = jwt(hs256)
  const refusal = await target.request({ target: `/demo/other/ws?token=${token}` })
  expectRefusal(refusal, { status: 401, code: 'TOKEN_INVALID' })
  const clients = await Promise.all(
    Array.from({ length: 100 }, () => target.upgrade({ target: `${chatPath}?token=${token}` })),
  )
  for (const client of clients)
    expect(await client.json()).toMatchObject({ event: 'welcome', user_id: 'alice' })
})

/** Asserts that a message contains neither the token, nor its claims, nor a key. */
function expectNoSecrets(message: string, token: string): void {
  for (const piece of token.split(/[^\w-]+/)) if (piece.length > 8) expect(message).not.toContain(piece)
  expect(message).not.toMatch(/alice|id\.acme|id\.other|BEGIN PUBLIC/)
}
