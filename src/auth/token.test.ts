import { generateKeyPairSync, createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { EncryptJWT, SignJWT, type JWTPayload } from 'jose'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CommandError } from '../errors.js'
import type { Issuer } from '../tenant/policy.js'
import {
  jwksIssuer,
  ManualClock,
  publicIssuer,
  remoteIssuer,
  secret,
  sharedIssuer,
  signedBy,
  signedHs256,
  testKey,
  type TestKey,
} from './auth.testing.js'
import { TokenMismatchError, TokenVerifier } from './token.js'

const clock = new ManualClock()
const now = clock.seconds
let rsa: TestKey
let ec: TestKey
let verifier: TokenVerifier

beforeAll(async () => {
  rsa = await testKey('RS256', 'rsa')
  ec = await testKey('ES256', 'ec')
})

beforeEach(() => {
  verifier = accepting(sharedIssuer())
})

function accepting(...issuers: Issuer[]): TokenVerifier {
  return new TokenVerifier(issuers, { clock })
}

const base64url = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/**
 * Any header and payload with a valid HMAC of the shared secret, including tokens that jose would not make.
 */
function handmade(header: unknown, payload: unknown = { sub: 'u1' }, key: string | Buffer = secret): string {
  const input = `${base64url(header)}.${base64url(payload)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}

/** Takes the payload as JSON text, since some payloads cannot be written as an object. */
const withPayload = (json: string) => handmade({ alg: 'HS256' }, json)

async function refusal(token: string, by = verifier): Promise<CommandError> {
  const error: unknown = await by.verify(token).then(
    () => expect.unreachable('the token was accepted'),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(CommandError)
  return error as CommandError
}

async function expectInvalid(token: string, sentence: string | RegExp, by = verifier): Promise<void> {
  const { code, message } = await refusal(token, by)
  expect(code).toBe('TOKEN_INVALID')
  expect(message).toMatch(sentence)
  expect(message.length).toBeLessThan(200)
}

describe('a valid token', () => {
  test('describes its bearer', async () => {
    const payload = { sub: 'u1', name: 'Ada', roles: ['admin'], info: { a: 1 }, team: 'red', exp: now + 60 }
    const full = { ...payload, jti: 'id', iat: now - 1.5 }
    expect(await verifier.verify(await signedHs256(full))).toEqual({
      user: 'u1',
      name: 'Ada',
      roles: ['admin'],
      claims: full,
      info: Buffer.from('{"a":1}'),
      expiresAtMs: (now + 60) * 1000,
      keyId: expect.stringMatching(/^shared\/./) as string,
      jti: 'id',
      issuedAtMs: (now - 1.5) * 1000,
      tokenExpiresAtMs: (now + 60) * 1000,
    })
  })

  test('needs only a user', async () => {
    expect(await verifier.verify(await signedHs256({ sub: 'u1' }))).toMatchObject({
      user: 'u1',
      name: undefined,
      roles: [],
      expiresAtMs: undefined,
      jti: undefined,
      issuedAtMs: 0,
      tokenExpiresAtMs: undefined,
    })
  })

  test.each([
    ['a number', 17, '17'],
    ['empty', '', undefined],
  ])('may have a jti that is %s', async (_what, jti, expected) => {
    expect((await verifier.verify(await signedHs256({ sub: 'u1', jti } as unknown as JWTPayload))).jti).toBe(
      expected,
    )
  })

  test.each([[{}], [['a']], [true], [1.5], ['a\nb'], ['ü'.repeat(128)]])(
    'may not have the jti %j, which nobody could revoke',
    async (jti) => {
      const token = await signedHs256({ sub: 'u1', jti } as unknown as JWTPayload)
      await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
    },
  )

  test('has its claims where the issuer configures them', async () => {
    const claims = {
      user: 'preferred_username',
      name: 'profile.display',
      roles: 'realm_access.roles',
      info: 'https://acme.example/info',
    }
    const payload = {
      preferred_username: 'ada',
      profile: { display: 'Ada' },
      realm_access: { roles: 'a b  c' },
      'https://acme.example/info': null,
    }
    const verified = await accepting(sharedIssuer({ claims })).verify(await signedHs256(payload))
    expect(verified).toMatchObject({
      user: 'ada',
      name: 'Ada',
      roles: ['a', 'b', 'c'],
      info: Buffer.from('null'),
    })
  })

  test('may identify its user by an integer', async () => {
    expect(await verifier.verify(withPayload('{"sub":42}'))).toMatchObject({ user: '42' })
  })

  test.each(['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const)(
    'may be signed by %s',
    async (alg) => {
      const key = await testKey(alg, 'k')
      const token = await signedBy(key, { sub: 'u1' })
      expect(await accepting(publicIssuer(key.pem, { algorithms: [alg] })).verify(token)).toMatchObject({
        user: 'u1',
      })
      expect(await accepting(jwksIssuer([key.jwk], { algorithms: [alg] })).verify(token)).toMatchObject({
        user: 'u1',
      })
    },
  )

  test.each(['HS384', 'HS512'] as const)('may be signed by %s', async (alg) => {
    const key = Buffer.alloc(64, 7)
    const token = await new SignJWT({ sub: 'u1' }).setProtectedHeader({ alg }).sign(key)
    const issuer = sharedIssuer({
      algorithms: [alg],
      key: { type: 'SharedKey', secret: key.toString('base64'), sample: false },
    })
    expect(await accepting(issuer).verify(token)).toMatchObject({ user: 'u1' })
  })

  test.each([{ kid: '../../etc/passwd' }, { kid: "' OR 1=1 --" }, { typ: 'at+jwt' }])(
    'of a shared key may have the harmless header %o',
    async (header) => {
      expect(await verifier.verify(await signedHs256({ sub: 'u1' }, header))).toMatchObject({ user: 'u1' })
    },
  )
})

describe('time', () => {
  test('exp has no leeway', async () => {
    expect(await verifier.verify(await signedHs256({ sub: 'u', exp: now + 1 }))).toMatchObject({
      expiresAtMs: (now + 1) * 1000,
    })
    expect(await refusal(await signedHs256({ sub: 'u', exp: now }))).toMatchObject({ code: 'TOKEN_EXPIRED' })
    expect(await refusal(await signedHs256({ sub: 'u', exp: -1 }))).toMatchObject({ code: 'TOKEN_EXPIRED' })
  })

  test.each(['nbf', 'iat'])('%s may be up to 5 s in the future', async (name) => {
    await expect(verifier.verify(await signedHs256({ sub: 'u', [name]: now + 5 }))).resolves.toBeDefined()
    const error = await refusal(await signedHs256({ sub: 'u', [name]: now + 6 }))
    expect(error).toMatchObject({
      code: 'TOKEN_EXPIRED',
      message: expect.stringContaining('not valid yet') as string,
    })
  })

  test.each(['"1"', 'null', '1e308', '1e400', '-1e308', '[1]', 'true'])(
    'exp, nbf, iat and expire_at may not be %s',
    async (value) => {
      for (const name of ['exp', 'nbf', 'iat', 'expire_at']) {
        await expectInvalid(
          withPayload(`{"sub":"u","${name}":${value}}`),
          `has an "${name}" that is not a number of seconds`,
        )
      }
    },
  )

  test('expire_at sets the expiry of the connection instead of exp', async () => {
    const expiry = async (payload: JWTPayload) =>
      (await verifier.verify(await signedHs256({ sub: 'u', ...payload }))).expiresAtMs
    expect(await expiry({ exp: now + 60, expire_at: now + 3600 })).toBe((now + 3600) * 1000)
    expect(await expiry({ exp: now + 60, expire_at: 0 })).toBeUndefined()
    expect(await expiry({ exp: now + 60, expire_at: -1 })).toBeUndefined()
    expect(await refusal(await signedHs256({ sub: 'u', expire_at: now }))).toMatchObject({
      code: 'TOKEN_EXPIRED',
    })
    expect(await refusal(await signedHs256({ sub: 'u', exp: now, expire_at: 0 }))).toMatchObject({
      code: 'TOKEN_EXPIRED',
    })
  })
})

describe('a token is refused', () => {
  test('when it is empty', async () => {
    expect(await refusal('')).toMatchObject({ code: 'UNAUTHORIZED' })
  })

  test.each(['none', 'None', 'nOnE', 'NONE'])('with alg %s', async (alg) => {
    const unsigned = `${base64url({ alg })}.${base64url({ sub: 'u1' })}`
    await expectInvalid(`${unsigned}.`, 'three parts')
    await expectInvalid(`${unsigned}.AAAA`, 'is not signed (')
    await expectInvalid(handmade({ alg }), 'is not signed (')
  })

  test('when HS256 is signed with the public RSA key, as PEM or DER', async () => {
    const jwksUser = jwksIssuer([rsa.jwk])
    const der = Buffer.from(rsa.pem.replace(/-----.*-----|\n/g, ''), 'base64')
    for (const key of [rsa.pem, rsa.pem.trim(), der]) {
      const forged = handmade({ alg: 'HS256', kid: 'rsa' }, { sub: 'admin' }, key)
      await expectInvalid(forged, /use RS256$/, accepting(publicIssuer(rsa.pem)))
      await expectInvalid(forged, 'use RS256, ES256, EdDSA', accepting(jwksUser))
      // Even if a policy mixed them, and even beside a shared key.
      const mixed = publicIssuer(rsa.pem, { algorithms: ['RS256', 'HS256'] })
      await expectInvalid(forged, 'not signed by a key', accepting(mixed, sharedIssuer()))
    }
  })

  test('with a known algorithm that is not the tenant’s', async () => {
    await expectInvalid(await signedBy(ec, { sub: 'u' }), /use HS256$/)
    await expectInvalid(handmade({ alg: 'hs256' }), /use HS256$/)
    await expectInvalid(handmade({ alg: 'toString' }), /use HS256$/)
    await expectInvalid(handmade({ alg: 'HS256' }), 'accepts no tokens', accepting())
  })

  test('with a zero signature', async () => {
    const [header, payload] = (await signedBy(ec, { sub: 'u' })).split('.')
    for (const bytes of [64, 1, 63, 65, 0]) {
      const zero = `${header}.${payload}.${Buffer.alloc(bytes).toString('base64url')}`
      await expectInvalid(
        zero,
        /not signed by a key|three parts/,
        accepting(publicIssuer(ec.pem, { algorithms: ['ES256'] })),
      )
    }
  })

  test('of another tenant', async () => {
    const other = sharedIssuer({
      key: { type: 'SharedKey', secret: Buffer.alloc(32, 1).toString('base64'), sample: false },
    })
    await expectInvalid(
      await signedHs256({ sub: 'u' }),
      'not signed by a key of this tenant',
      accepting(other),
    )
    const otherRsa = await testKey('RS256', 'rsa')
    await expectInvalid(
      await signedBy(rsa, { sub: 'u' }),
      'not signed by a key',
      accepting(jwksIssuer([otherRsa.jwk])),
    )
  })

  test('with a kid that names no key', async () => {
    const keys = accepting(jwksIssuer([rsa.jwk]))
    for (const kid of ['other', '../../dev/null', "x' OR '1'='1", '']) {
      await expectInvalid(await signedBy(rsa, { sub: 'u' }, { kid }), 'not signed by a key', keys)
    }
    await expectInvalid(handmade({ alg: 'HS256', kid: 7 }), '"kid"')
    await expectInvalid(handmade({ alg: 'HS256', kid: 'k'.repeat(257) }), '"kid"')
  })

  test('when it contains its own key, or the URL of one', async () => {
    const own = await testKey('RS256', 'own')
    const keys = accepting(jwksIssuer([rsa.jwk]))
    for (const header of [
      { jwk: own.jwk },
      { jku: 'https://evil.example/jwks' },
      { x5u: 'https://evil.example/x5u' },
      { x5c: ['AAAA'] },
    ]) {
      await expectInvalid(
        await signedBy(own, { sub: 'u' }, { ...header, kid: undefined }),
        'not signed by a key',
        keys,
      )
      await expectInvalid(
        await signedBy(own, { sub: 'u' }, { ...header, kid: 'rsa' }),
        'not signed by a key',
        keys,
      )
    }
  })

  test.each([
    { crit: ['exp'], exp: 1 },
    { crit: ['b64'], b64: false },
    { crit: [] },
    { crit: null },
    { b64: false },
    { b64: true },
    { zip: 'DEF' },
  ])('with the extension %o', async (extension) => {
    await expectInvalid(handmade({ alg: 'HS256', ...extension }), 'extension')
  })

  test('when it is encrypted', async () => {
    const jwe = await new EncryptJWT({ sub: 'u' })
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
      .encrypt(secret)
    await expectInvalid(jwe.replace('..', '.AAAA.'), 'encrypted')
    await expectInvalid(jwe, 'encrypted')
  })

  test.each(['\n', '\r\n', ' ', '=', '==', '.', '\0', '"', 'é'])(
    'with %j after or before it',
    async (extra) => {
      const token = await signedHs256({ sub: 'u' })
      await expectInvalid(token + extra, 'three parts')
      await expectInvalid(extra + token, 'three parts')
      await expectInvalid(`Bearer ${token}`, 'three parts')
    },
  )

  test('when only unused bits of its signature differ', async () => {
    const token = await signedHs256({ sub: 'u' })
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const twin = token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1)!) ^ 1]
    expect(Buffer.from(twin.split('.')[2]!, 'base64url')).toEqual(
      Buffer.from(token.split('.')[2]!, 'base64url'),
    )
    await expectInvalid(twin, 'damaged signature')
  })

  test('when it is too long', async () => {
    await expectInvalid('a'.repeat(1_000_000), 'longer than 8192 bytes')
    await expectInvalid(await signedHs256({ sub: 'u', x: 'x'.repeat(8_192) }), 'longer than 8192 bytes')
    await expect(
      verifier.verify(await signedHs256({ sub: 'u', x: 'x'.repeat(5_500) })),
    ).resolves.toBeDefined()
  })

  test.each([
    'a',
    'a.b',
    '..',
    'a.b.c.d',
    '...',
    'a.b.c',
    '[object Object]',
    'null',
    'e30.e30.e30',
    '____.____.____',
  ])('when it is %j', async (text) => {
    await expectInvalid(text, /three parts|header|"alg"/)
  })

  test.each(['[]', 'null', '"u"', '1', '', '{"sub":"u"', '\uFEFF\uFEFF{}', '{"sub":"u"}{}'])(
    'with the signed payload %j',
    async (payload) => {
      // An empty part does not even have the form.
      await expectInvalid(withPayload(payload), /payload|three parts/)
    },
  )

  test('with a payload that is not UTF-8', async () => {
    const input = `${base64url({ alg: 'HS256' })}.${Buffer.from('{"sub":"\xff"}', 'latin1').toString('base64url')}`
    await expectInvalid(
      `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`,
      'payload',
    )
  })

  test('with a payload nested as deeply as possible', async () => {
    await expectInvalid(withPayload(`{"sub":"u","info":${'['.repeat(2_900)}${']'.repeat(2_900)}}`), 'info')
  })

  test('when it is for a subscription', async () => {
    await expectInvalid(await signedHs256({ sub: 'u', channel: 'room' }), 'is for a subscription')
  })
})

describe('a claim is refused', () => {
  test.each([
    ['absent', '{}', 'names no user'],
    ['empty', '{"sub":""}', 'names no user'],
    ['null', '{"sub":null}', 'names no user'],
    ['a fraction', '{"sub":1.5}', 'names no user'],
    ['a number too large to be exact', '{"sub":9007199254740993}', 'names no user'],
    ['an array', '{"sub":["u"]}', 'names no user'],
    ['inherited', '{"__proto__":{"sub":"u"}}', 'names no user'],
    ['too long', `{"sub":"${'é'.repeat(65)}"}`, 'more than 128 bytes'],
    ['a guest’s', '{"sub":"guest:abc"}', 'begins with "guest:"'],
    ['two lines', String.raw`{"sub":"u\nx"}`, 'control characters'],
    ['an escape sequence', String.raw`{"sub":"\u001b[31m"}`, 'control characters'],
    ['NUL', String.raw`{"sub":"u\u0000"}`, 'control characters'],
    ['half a character', String.raw`{"sub":"\ud800"}`, 'broken Unicode'],
    ['written from right to left', String.raw`{"sub":"ann\u202Enib"}`, 'U+202E at position 4'],
    ['an isolate', String.raw`{"sub":"\u2066ann"}`, 'U+2066 at position 1'],
    ['an Arabic letter mark', String.raw`{"sub":"ann\u061C"}`, 'U+061C'],
    ['a zero-width space', String.raw`{"sub":"a\u200Bnn"}`, 'U+200B'],
    ['a zero-width joiner', String.raw`{"sub":"a\u200Dnn"}`, 'U+200D'],
    ['a word joiner', String.raw`{"sub":"a\u2060nn"}`, 'U+2060'],
    ['a byte order mark', String.raw`{"sub":"\uFEFFann"}`, 'U+FEFF'],
    ['a soft hyphen', String.raw`{"sub":"a\u00ADnn"}`, 'U+00AD'],
    ['a Hangul filler', String.raw`{"sub":"ann\u3164"}`, 'U+3164'],
    ['a tag character', String.raw`{"sub":"ann\uDB40\uDC41"}`, 'U+E0041'],
    ['a variation selector', String.raw`{"sub":"ann\uFE0F"}`, 'U+FE0F'],
    ['a line separator', String.raw`{"sub":"ann\u2028"}`, 'U+2028'],
  ])('when the user is %s', async (_, payload, sentence) => {
    await expectInvalid(withPayload(payload), sentence)
  })

  test('unless the user has exactly the maximal length', async () => {
    await expect(verifier.verify(withPayload(`{"sub":"${'é'.repeat(64)}"}`))).resolves.toBeDefined()
    for (const user of ['guests:x 😀', 'żółw@example.org', '山田 太郎', 'فاطمة'])
      await expect(verifier.verify(withPayload(JSON.stringify({ sub: user })))).resolves.toMatchObject({
        user,
      })
  })

  test.each([
    ['name', 'a number', '7', 'not a string'],
    ['name', 'too long', `"${'n'.repeat(129)}"`, 'more than 128 characters'],
    ['name', 'two lines', String.raw`"a\r\nb"`, 'control characters'],
    ['roles', 'a number', '7', 'neither an array'],
    ['roles', 'a mixture', '["a",7]', 'neither an array'],
    ['roles', 'an object', '{"a":true}', 'neither an array'],
    [
      'info',
      'too long',
      `"${'x'.repeat(1_023)}"`,
      'has 1025 bytes of info (claim "info"), and at most 1024 are allowed',
    ],
  ])('when %s is %s', async (name, _, value, sentence) => {
    await expectInvalid(withPayload(`{"sub":"u","${name}":${value}}`), sentence)
  })

  test('when iss or aud are not what the issuer expects', async () => {
    const strict = accepting(sharedIssuer({ issuer: 'https://a.example', audience: 'parley' }))
    const good = { sub: 'u', iss: 'https://a.example', aud: 'parley' }
    await expect(strict.verify(await signedHs256(good))).resolves.toBeDefined()
    await expect(strict.verify(await signedHs256({ ...good, aud: ['x', 'parley'] }))).resolves.toBeDefined()
    const bad = [
      { iss: 'https://b.example' },
      { iss: undefined },
      { iss: ['https://a.example'] },
      { aud: 'x' },
      { aud: undefined },
      { aud: [] },
      { aud: ['PARLEY'] },
    ]
    for (const changes of bad) {
      await expectInvalid(
        handmade({ alg: 'HS256' }, { ...good, ...changes }),
        'meant for another recipient',
        strict,
      )
    }
  })
})

describe('several issuers', () => {
  test('with one algorithm are distinguished by iss', async () => {
    const other = await testKey('RS256', 'rsa')
    const two = accepting(
      publicIssuer(rsa.pem, { name: 'a', issuer: 'https://a.example' }),
      jwksIssuer([other.jwk], { name: 'b', issuer: 'https://b.example' }),
    )
    expect((await two.verify(await signedBy(other, { sub: 'u', iss: 'https://b.example' }))).keyId).toMatch(
      /^b\//,
    )
    expect((await two.verify(await signedBy(rsa, { sub: 'u', iss: 'https://a.example' }))).keyId).toMatch(
      /^a\//,
    )
    // The key of one issuer must not verify tokens of another, and only the holder of a key learns that its
    // iss is wrong.
    await expectInvalid(
      await signedBy(rsa, { sub: 'u', iss: 'https://b.example' }),
      /not signed by a key/,
      two,
    )
    await expectInvalid(
      await signedBy(rsa, { sub: 'u', iss: 'https://c.example' }),
      'meant for another recipient',
      two,
    )
  })

  test('may share a key and differ in audience', async () => {
    const two = accepting(
      sharedIssuer({ name: 'a', audience: 'web' }),
      sharedIssuer({ name: 'b', audience: 'app' }),
    )
    expect((await two.verify(await signedHs256({ sub: 'u', aud: 'app' }))).keyId).toMatch(/^b\//)
  })

  test('are tried at most eight times', async () => {
    const keys = Array.from({ length: 9 }, (_, n) => Buffer.alloc(32, n + 1))
    const many = accepting(
      ...keys.map((key, n) =>
        sharedIssuer({
          name: `n${n}`,
          key: { type: 'SharedKey', secret: key.toString('base64'), sample: false },
        }),
      ),
    )
    await expect(many.verify(handmade({ alg: 'HS256' }, { sub: 'u' }, keys[7]))).resolves.toBeDefined()
    await expectInvalid(handmade({ alg: 'HS256' }, { sub: 'u' }, keys[8]), 'not signed by a key', many)
  })

  test('whose provider is down refuse temporarily', async () => {
    const down = new TokenVerifier([remoteIssuer('http://127.0.0.1:9/jwks')], {
      clock,
      allowPrivateJwks: true,
    })
    expect(await refusal(await signedBy(ec, { sub: 'u' }), down)).toMatchObject({
      code: 'KEYS_UNAVAILABLE',
      temporary: true,
      retryAfterMs: 5_000,
    })
    down.close()
  })

  test('with a key that is too weak verify no token', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    const input = `${base64url({ alg: 'RS256' })}.${base64url({ sub: 'u' })}`
    const { sign } = await import('node:crypto')
    const token = `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    await expectInvalid(token, 'not signed by a key', accepting(publicIssuer(pem)))
  })
})

describe('accepts()', () => {
  test('returns whether a key is still the tenant’s', async () => {
    const { keyId } = await verifier.verify(await signedHs256({ sub: 'u' }))
    expect(verifier.accepts(keyId)).toBe(true)
    expect(accepting(sharedIssuer({ audience: 'x' })).accepts(keyId)).toBe(true)
    verifier.update([publicIssuer(rsa.pem), sharedIssuer()])
    expect(verifier.accepts(keyId)).toBe(true)
    verifier.update([publicIssuer(rsa.pem)])
    expect(verifier.accepts(keyId)).toBe(false)
    await expectInvalid(await signedHs256({ sub: 'u' }), /use RS256$/)
  })
})

describe('keys at a URL', () => {
  test('are fetched once, kept by an update() that does not change them, and removed with their issuer', async () => {
    let requests = 0
    const server = createServer((_, response) => {
      requests += 1
      response.end(JSON.stringify({ keys: [ec.jwk] }))
    })
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    const remote = remoteIssuer(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    const byUrl = new TokenVerifier([remote], { clock, allowPrivateJwks: true })
    const token = await signedBy(ec, { sub: 'u' })
    const { keyId } = await byUrl.verify(token)
    byUrl.update([sharedIssuer(), remote])
    await byUrl.verify(token)
    expect(byUrl.accepts(keyId)).toBe(true)
    expect(requests).toBe(1)
    byUrl.update([sharedIssuer()])
    expect(byUrl.accepts(keyId)).toBe(false)
    byUrl.close()
    await new Promise((closed) => server.close(closed))
  })
})

describe('verifySubscription()', () => {
  const bearer = { user: 'u1', channel: 'room', client: 'c1' }
  const check = async (payload: JWTPayload) => verifier.verifySubscription(await signedHs256(payload), bearer)

  test('accepts a token for this user and channel', async () => {
    expect(await check({ sub: 'u1', channel: 'room', exp: now + 9, info: [1], jti: 'id' })).toEqual({
      user: 'u1',
      jti: 'id',
      issuedAtMs: 0,
      tokenExpiresAtMs: (now + 9) * 1000,
      info: Buffer.from('[1]'),
      expiresAtMs: (now + 9) * 1000,
      keyId: expect.any(String) as string,
    })
    await expect(check({ sub: 'u1', channel: 'room', client: 'c1', expire_at: 0 })).resolves.toBeDefined()
  })

  test.each([
    { sub: 'u2', channel: 'room' },
    { sub: 'u1', channel: 'Room' },
    { sub: 'u1', channel: 'room:' },
    { sub: 'u1', channel: 'room', client: 'c2' },
    { sub: 'u1', channel: 'room', client: null },
  ])('rejects %o as a mismatch', async (payload) => {
    const error: unknown = await check(payload).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(TokenMismatchError)
    expect(error).toMatchObject({ code: 'TOKEN_INVALID', reason: 'mismatch' })
  })

  test('reports an expired token as expired, also one of another user', async () => {
    await expect(check({ sub: 'u2', channel: 'x', exp: now })).rejects.toMatchObject({
      code: 'TOKEN_EXPIRED',
    })
  })

  test('refuses a forged token and a connection token without the reason mismatch', async () => {
    const forged = handmade({ alg: 'HS256' }, { sub: 'u2', channel: 'x' }, 'another secret')
    const refusals = [
      () => verifier.verifySubscription(forged, bearer),
      () => check({ sub: 'u1' }),
      () => check({ channel: 'room' }),
    ]
    for (const refuse of refusals) {
      const error: unknown = await refuse().catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'TOKEN_INVALID' })
      expect(error).not.toBeInstanceOf(TokenMismatchError)
    }
  })
})

describe('for any input', () => {
  const secretWord = 'Tr0ub4dor'
  const token = handmade({ alg: 'HS256', kid: secretWord }, { sub: secretWord, exp: now + 60 })
  const position = fc.nat({ max: token.length - 1 })
  const characters = fc.string({ minLength: 1, maxLength: 4, unit: 'binary' })

  const mutated = fc
    .oneof(
      fc.record({ at: position, remove: fc.nat({ max: 3 }), insert: characters }),
      fc.record({ at: position, remove: fc.integer({ min: 1, max: token.length }), insert: fc.constant('') }),
      fc.record({
        at: position,
        remove: fc.constant(1),
        insert: fc.constantFrom('A', 'B', 'w', 'z', '0', '9', '-', '_', '.'),
      }),
    )
    .map(({ at, remove, insert }) => token.slice(0, at) + insert + token.slice(at + remove))
    .filter((text) => text !== token)

  test('a changed token never verifies, and the refusal contains nothing of it', async () => {
    await fc.assert(
      fc.asyncProperty(mutated, async (text) => {
        const { message } = await refusal(text)
        expect(message).not.toContain(secretWord)
      }),
      { numRuns: 3_000 },
    )
  })

  test('any text and any signed JSON is accepted or refused with a CommandError', async () => {
    const signed = fc.tuple(fc.json(), fc.json()).map(([header, payload]) => handmade(header, payload))
    const claims = fc
      .dictionary(
        fc.constantFrom('sub', 'exp', 'nbf', 'iat', 'aud', 'name', 'roles', 'info', 'expire_at', 'channel'),
        fc.jsonValue(),
      )
      .map((payload) => handmade({ alg: 'HS256' }, payload))
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), signed, claims), async (text) => {
        const verdict: unknown = await verifier.verify(text).catch((error: unknown) => error)
        if (!(verdict instanceof CommandError))
          expect(verdict).toMatchObject({ user: expect.any(String) as string })
      }),
      { numRuns: 1_000 },
    )
  })
})
