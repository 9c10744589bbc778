import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { policyOf, problemsOf } from './compile.testing.js'
import type { Issuer } from '../tenant/policy.js'

const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7)
const auth = (fields: object): object => ({ auth: [{ name: 'app', ...fields }] })
const shared = (fields: object = {}): object =>
  auth({ type: 'SharedKey', keyRef: { name: 'keys', key: 'hmac' }, ...fields })
const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString()
const jwk = (key: KeyObject): object => key.export({ format: 'jwk' })

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const ed = generateKeyPairSync('ed25519')

function issuerOf(
  spec: object,
  secret: (name: string, key: string) => Uint8Array | undefined = () => undefined,
): Issuer | undefined {
  return policyOf(spec, { secret }).issuers[0]
}

describe('shared keys', () => {
  test('are looked up by keyRef and are base64 in the policy', () => {
    const issuer = issuerOf(shared(), (name, key) =>
      name === 'keys' && key === 'hmac' ? bytes(32) : undefined,
    )
    expect(issuer).toMatchObject({
      name: 'app',
      algorithms: ['HS256'],
      claims: { user: 'sub' },
      key: { type: 'SharedKey', secret: Buffer.from(bytes(32)).toString('base64'), sample: false },
    })
  })

  test('are marked when their Secret is a sample', () => {
    const policy = policyOf(shared(), { secret: () => bytes(32), isSample: (name) => name === 'keys' })
    expect(policy.issuers[0]?.key).toMatchObject({ sample: true })
  })

  test.each([
    [undefined, 31, 'has 31 bytes; HS256 needs at least 32.'],
    [['HS384'], 47, 'has 47 bytes; HS384 needs at least 48.'],
    [['HS256', 'HS512'], 63, 'has 63 bytes; HS256, HS512 needs at least 64.'],
    [undefined, 0, 'has 0 bytes'],
  ])('%j with %d bytes is too short', (algorithms, length, words) => {
    expect(problemsOf(shared({ algorithms }), { secret: () => bytes(length) })).toEqual([
      expect.stringMatching(`^KeyTooShort spec\\.auth\\[0\\]\\.keyRef: .*${words}`),
    ])
  })

  test('that are missing are named in the problem', () => {
    expect(problemsOf(shared())).toEqual([
      'KeyNotFound spec.auth[0].keyRef: Auth "app" needs key "hmac" of Secret "keys", which does not exist.',
    ])
  })

  test('that the controller generates are read from the tenant’s credentials Secret', () => {
    const spec = auth({ type: 'SharedKey', generate: { algorithm: 'HS256' } })
    const issuer = issuerOf(spec, (name, key) =>
      name === 'acme-credentials' && key === 'app' ? bytes(32) : undefined,
    )
    expect(issuer?.key.type).toBe('SharedKey')
    expect(problemsOf(spec)).toEqual([expect.stringContaining('The controller generates it in a cluster')])
  })
})

describe('public keys', () => {
  test.each<[string, KeyObject, string]>([
    ['RSA', rsa.publicKey, 'RS256'],
    ['P-256', p256.publicKey, 'ES256'],
    ['P-384', p384.publicKey, 'ES384'],
    ['Ed25519', ed.publicKey, 'EdDSA'],
  ])('%s determines the default algorithm', (_, key, algorithm) => {
    expect(issuerOf(auth({ type: 'PublicKey', publicKey: pem(key) }))).toMatchObject({
      algorithms: [algorithm],
      key: { type: 'PublicKey', pem: pem(key) },
    })
  })

  test('may be in a Secret, and in PKCS #1 form', () => {
    const pkcs1 = rsa.publicKey.export({ type: 'pkcs1', format: 'pem' })
    const issuer = issuerOf(auth({ type: 'PublicKey', keyRef: { name: 'keys', key: 'pub' } }), () =>
      Buffer.from(pkcs1),
    )
    expect(issuer?.key).toEqual({ type: 'PublicKey', pem: pem(rsa.publicKey) })
  })

  test('may be limited to other algorithms that they support', () => {
    const issuer = issuerOf(
      auth({ type: 'PublicKey', publicKey: pem(rsa.publicKey), algorithms: ['PS512', 'RS256'] }),
    )
    expect(issuer?.algorithms).toEqual(['RS256', 'PS512'])
  })

  test.each<[string, object, string]>([
    ['nonsense', { publicKey: 'nonsense' }, 'InvalidKey spec.auth[0].publicKey: '],
    [
      'a private key',
      { publicKey: p256.privateKey.export({ type: 'pkcs8', format: 'pem' }) },
      'InvalidKey spec.auth[0].publicKey: The key of auth "app" is a private key',
    ],
    [
      'an algorithm of another kind of key',
      { publicKey: pem(rsa.publicKey), algorithms: ['ES256'] },
      'InvalidAlgorithm spec.auth[0].algorithms: ES256 cannot be used with the key of auth "app", which supports RS256',
    ],
    [
      'a short RSA key',
      { publicKey: pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey) },
      'KeyTooShort spec.auth[0].publicKey: The RSA key of auth "app" has 1024 bits',
    ],
    [
      'a huge RSA key',
      // No product of primes: generating such a key would take minutes.
      {
        publicKey: pem(
          createPublicKey({
            key: { kty: 'RSA', e: 'AQAB', n: Buffer.alloc(1_025, 0xff).toString('base64url') },
            format: 'jwk',
          }),
        ),
      },
      'InvalidKey spec.auth[0].publicKey: The RSA key of auth "app" has 8200 bits; at most 8192',
    ],
    [
      'a key that cannot sign',
      { publicKey: pem(generateKeyPairSync('x25519').publicKey) },
      'InvalidKey spec.auth[0].publicKey: ',
    ],
  ])('%s is refused', (_, fields, words) => {
    expect(problemsOf(auth({ type: 'PublicKey', ...fields }))).toEqual([expect.stringContaining(words)])
  })

  test('a problem never quotes the key', () => {
    const [problem] = problemsOf(
      auth({
        type: 'PublicKey',
        publicKey: '-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----',
      }),
    )
    expect(problem).not.toContain('c2VjcmV0')
  })
})

describe('key sets', () => {
  const set = (...keys: object[]): object => auth({ type: 'JWKS', jwks: { keys } })

  test('determine the algorithms by their keys', () => {
    const issuer = issuerOf(
      set(
        { ...jwk(p256.publicKey), kid: 'a' },
        { ...jwk(rsa.publicKey), alg: 'PS256' },
        { ...jwk(ed.publicKey), use: 'enc' },
      ),
    )
    expect(issuer?.algorithms).toEqual(['PS256', 'ES256'])
    expect(issuer?.key).toMatchObject({
      type: 'JWKS',
      keys: [{ kid: 'a' }, { alg: 'PS256' }, { use: 'enc' }],
    })
  })

  test.each<[string, object[], string]>([
    [
      'a private key',
      [jwk(p256.publicKey), jwk(p256.privateKey)],
      'InvalidKey spec.auth[0].jwks.keys[1]: Key 1 of auth "app" is a secret or private key',
    ],
    ['a shared secret', [{ kty: 'oct', k: 'AAAA' }], 'InvalidKey spec.auth[0].jwks.keys[0]: '],
    ['half a key', [{ kty: 'EC', crv: 'P-256', x: 'AAAA' }], 'InvalidKey spec.auth[0].jwks.keys[0]: '],
    ['no key for signatures', [{ ...jwk(rsa.publicKey), use: 'enc' }], 'InvalidKey spec.auth[0].jwks: '],
  ])('with %s are refused', (_, keys, words) => {
    expect(problemsOf(set(...keys))).toEqual([expect.stringContaining(words)])
  })

  test('at a URL accept the most common algorithms', () => {
    expect(issuerOf(auth({ type: 'JWKSURI', jwksURI: 'https://id.example/jwks' }))).toMatchObject({
      algorithms: ['RS256', 'ES256', 'EdDSA'],
      key: { type: 'JWKSURI', uri: 'https://id.example/jwks' },
    })
  })

  test.each(['https://user:pw@id.example/jwks', 'https://', 'https://id example'])(
    'cannot be at %s',
    (jwksURI) => {
      expect(problemsOf(auth({ type: 'JWKSURI', jwksURI }))).toEqual([
        expect.stringContaining('InvalidKey spec.auth[0].jwksURI: '),
      ])
    },
  )
})
