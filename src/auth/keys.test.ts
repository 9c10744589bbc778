import { createPublicKey } from 'node:crypto'
import { compactVerify, exportPKCS8 } from 'jose'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { Issuer } from '../tenant/policy.js'
import {
  jwksIssuer,
  ManualClock,
  publicIssuer,
  sharedIssuer,
  signedBy,
  signedHs256,
  testKey,
  type TestKey,
} from './auth.testing.js'
import { candidatesMax, type IssuerKeys } from './key-set.js'
import { FetchSlots } from './fetch-slots.js'
import { openKeys } from './keys.js'

const onProblem = vi.fn<(sentence: string) => void>()
let rsa: TestKey
let ec: TestKey
let ed: TestKey

beforeAll(async () => {
  rsa = await testKey('RS256', 'rsa')
  ec = await testKey('ES256', 'ec')
  ed = await testKey('EdDSA', 'ed')
})

function open(issuer: Issuer): IssuerKeys {
  onProblem.mockReset()
  return openKeys(issuer, {
    clock: new ManualClock(),
    allowPrivate: false,
    slots: new FetchSlots(1),
    onProblem,
    onKeysChanged: () => {},
  })
}

async function idsFor(
  keys: IssuerKeys,
  alg: 'HS256' | 'RS256' | 'ES256' | 'EdDSA',
  kid?: string,
): Promise<string[]> {
  return (await keys.candidates({ alg, kid })).map(({ keyId }) => keyId)
}

describe('a shared key', () => {
  test('verifies what was signed with it', async () => {
    const [candidate] = await open(sharedIssuer()).candidates({ alg: 'HS256' })
    await expect(compactVerify(await signedHs256({ sub: 'u' }), candidate!.key)).resolves.toBeDefined()
  })

  test('is imported once', async () => {
    const keys = open(sharedIssuer())
    const [first] = await keys.candidates({ alg: 'HS256' })
    const [second] = await keys.candidates({ alg: 'HS256', kid: 'any' })
    expect(second).toBe(first)
  })

  test('is not used with another type of algorithm', async () => {
    expect(await idsFor(open(sharedIssuer()), 'RS256')).toEqual([])
  })

  test('has an id that does not contain the secret and changes with it', async () => {
    const [one] = await idsFor(open(sharedIssuer()), 'HS256')
    const other = open(sharedIssuer({ key: { type: 'SharedKey', secret: 'b3RoZXI=', sample: false } }))
    expect(one).toMatch(/^shared\/[\w-]{22}$/)
    expect(await idsFor(other, 'HS256')).not.toContain(one)
    expect(other.accepts(one!)).toBe(false)
  })

  test('that is empty verifies nothing, and the problem is reported', async () => {
    const keys = open(sharedIssuer({ key: { type: 'SharedKey', secret: ' ', sample: false } }))
    expect(await idsFor(keys, 'HS256')).toEqual([])
    expect(onProblem).toHaveBeenCalledExactlyOnceWith(
      expect.stringContaining('Issuer "shared": the shared key is empty'),
    )
  })
})

describe('a public key', () => {
  test('verifies what its private key signed', async () => {
    const [candidate] = await open(publicIssuer(rsa.pem)).candidates({ alg: 'RS256' })
    await expect(compactVerify(await signedBy(rsa, { sub: 'u' }), candidate!.key)).resolves.toBeDefined()
  })

  test('is never used as a secret', async () => {
    expect(await idsFor(open(publicIssuer(rsa.pem, { algorithms: ['HS256'] })), 'HS256')).toEqual([])
  })

  test('of another curve or type is not a candidate', async () => {
    expect(await idsFor(open(publicIssuer(ec.pem)), 'RS256')).toEqual([])
  })

  test('has the same id as a PEM and in a JWKS', async () => {
    const [pem] = await idsFor(open(publicIssuer(rsa.pem, { name: 'x' })), 'RS256')
    const [jwk] = await idsFor(open(jwksIssuer([rsa.jwk], { name: 'x' })), 'RS256')
    expect(pem).toBe(jwk)
  })

  test('is refused when it is private or not PEM', async () => {
    for (const pem of [await exportPKCS8(rsa.privateKey), 'ssh-rsa AAAA', '']) {
      const keys = open(publicIssuer(pem))
      expect(await idsFor(keys, 'RS256')).toEqual([])
      expect(onProblem).toHaveBeenCalledOnce()
    }
  })
})

describe('an RSA key', () => {
  // A modulus of this many bits that is no product of primes: generating a large key would take minutes.
  const jwkOf = (bits: number) => ({
    kty: 'RSA',
    kid: 'rsa',
    e: 'AQAB',
    n: Buffer.alloc(bits / 8, 0xff).toString('base64url'),
  })
  const pemOf = (bits: number) =>
    createPublicKey({ key: jwkOf(bits), format: 'jwk' })
      .export({ type: 'spki', format: 'pem' })
      .toString()

  test.each([512, 1_024, 2_040, 8_200, 16_384])('of %i bits is refused with the reason', async (bits) => {
    const reason = expect.stringContaining(`has ${bits} bits, and RSA keys need 2048 to 8192`)
    for (const issuer of [publicIssuer(pemOf(bits)), jwksIssuer([jwkOf(bits)])]) {
      expect(await idsFor(open(issuer), 'RS256')).toEqual([])
      expect(onProblem).toHaveBeenCalledExactlyOnceWith(reason)
    }
  })

  test.each([2_048, 8_192])('of %i bits is used', async (bits) => {
    for (const issuer of [publicIssuer(pemOf(bits)), jwksIssuer([jwkOf(bits)])])
      expect(await idsFor(open(issuer), 'RS256')).toHaveLength(1)
  })
})

describe('an inline JWKS', () => {
  test('returns the key that the kid names', async () => {
    const keys = open(jwksIssuer([rsa.jwk, ec.jwk, ed.jwk]))
    expect(await idsFor(keys, 'ES256', 'ec')).toHaveLength(1)
    expect(await idsFor(keys, 'EdDSA', 'ed')).toHaveLength(1)
    expect(await idsFor(keys, 'ES256', 'rsa')).toEqual([])
    expect(await idsFor(keys, 'ES256', 'nobody')).toEqual([])
  })

  test('returns every key of the algorithm when the token has no kid', async () => {
    const keys = open(jwksIssuer([rsa.jwk, ec.jwk, (await testKey('ES256', 'ec2')).jwk]))
    expect(await idsFor(keys, 'ES256')).toHaveLength(2)
  })

  test('returns a bounded number of keys', async () => {
    const many = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => (await testKey('ES256', `k${n}`)).jwk),
    )
    expect(await idsFor(open(jwksIssuer(many)), 'ES256')).toHaveLength(candidatesMax)
  })

  test('treats a key that was replaced under its old kid as another key', async () => {
    const [before] = await idsFor(open(jwksIssuer([ec.jwk])), 'ES256')
    expect(open(jwksIssuer([(await testKey('ES256', 'ec')).jwk])).accepts(before!)).toBe(false)
  })

  test('skips encryption keys, secrets, private keys and malformed keys', async () => {
    const secret = { kty: 'oct', k: 'c2VjcmV0', kid: 'ec' }
    const leaked = { ...ec.jwk, d: 'AAAA' }
    const keys = open(jwksIssuer([{ ...ec.jwk, use: 'enc' }, secret, leaked, { kty: 'EC' }, {}, rsa.jwk]))
    expect(await idsFor(keys, 'ES256')).toEqual([])
    expect(await idsFor(keys, 'RS256')).toHaveLength(1)
    expect(onProblem).toHaveBeenCalledTimes(4)
  })
})
