import { describe, expect, test } from 'vitest'
import { policyOf } from '../../compile/compile.testing.js'
import type { ApiKey, TenantPolicy } from '../../tenant/policy.js'
import { noKeys, rotateKeys, type GeneratedKeys, type DesiredKeys } from '../credentials/key-rotation.js'
import { lastGoodPolicy, type CurrentState } from './last-good-policy.js'
import { ApiObject } from '../../kube/object.js'

const nowMs = Date.UTC(2026, 0, 1)
const hs256: DesiredKeys = { algorithms: new Map([['backend', 'HS256']]) }
const auth = [{ name: 'backend', type: 'SharedKey', generate: { algorithm: 'HS256' } }]
const apiKey: ApiKey = { id: 'k', credential: 'bot', sha256: 'a'.repeat(64), role: 'Admin', scopes: [] }

const generate = (desired = hs256): GeneratedKeys =>
  rotateKeys(desired, { record: noKeys, data: new Map() }, nowMs)

/** Returns the policy that was compiled while the Secret held `generated`. */
function compiled(generated: GeneratedKeys, spec: object = { auth }): TenantPolicy {
  const keys = new Map(generated.keys.map((key) => [key.name, key]))
  const bytes = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text))
  return policyOf(spec, {
    secret: (_, name) => bytes(keys.get(name)?.verifying),
    previousKey: (name) => bytes(keys.get(name)?.previous?.verifying),
    apiKeys: [apiKey],
  })
}

/** Returns the stored tenant. `reported` are the keys in its status. */
function objectOf(spec: unknown, reported?: GeneratedKeys): ApiObject {
  const ids = reported?.keys.flatMap(({ id, previous }) => [id, ...(previous ? [previous.id] : [])])
  return ApiObject.parse({
    apiVersion: 'parley.chat/v1alpha1',
    kind: 'ChatTenant',
    metadata: { name: 'acme', namespace: 'demo', uid: 't1', resourceVersion: '1' },
    spec,
    status: { ...(ids && { credentials: { activeKeyIDs: ids } }) },
  })
}

const broken = { planRef: { name: 'nowhere' } }
const keys = generate()
const last = compiled(keys)
const current: CurrentState = { object: objectOf(broken, keys), keys, apiKeys: [apiKey] }
const secretsOf = ({ issuers }: TenantPolicy) =>
  issuers.map(({ key }) => ('secret' in key ? Buffer.from(key.secret, 'base64').toString() : key.type))

test('returns the same policy when nothing was revoked', () => {
  expect(lastGoodPolicy(last, current)).toBe(last)
})

describe('suspension', () => {
  const suspended = objectOf({ ...broken, suspend: true }, keys)

  test('takes effect although the rest of the spec is invalid', () => {
    const policy = lastGoodPolicy(last, { ...current, object: suspended })
    expect(policy).toEqual({ ...last, suspended: true, revision: expect.any(String) })
    expect(policy.revision).not.toBe(last.revision)
  })

  test('ends in the same way, and restores the last policy', () => {
    const policy = lastGoodPolicy(lastGoodPolicy(last, { ...current, object: suspended }), current)
    expect(policy).toEqual(last)
  })

  test('stays unchanged when spec.suspend is malformed', () => {
    const policy = lastGoodPolicy(last, { ...current, object: suspended })
    const unreadable = objectOf({ ...broken, suspend: 'no' }, keys)
    expect(lastGoodPolicy(policy, { ...current, object: unreadable })).toBe(policy)
  })
})

describe('an API key', () => {
  test('that was revoked is no longer valid', () => {
    const policy = lastGoodPolicy(last, { ...current, apiKeys: [] })
    expect(policy.apiKeys).toBeUndefined()
    expect(policy.revision).not.toBe(last.revision)
  })

  test('that was created since is valid, with its current role', () => {
    const other: ApiKey = { ...apiKey, id: 'other', role: 'ReadOnly' }
    expect(lastGoodPolicy(last, { ...current, apiKeys: [other] }).apiKeys).toEqual([other])
  })
})

describe('a generated key', () => {
  test('that the Secret no longer holds is replaced by its successor', () => {
    const since = generate()
    const policy = lastGoodPolicy(last, { ...current, keys: since })
    expect(secretsOf(policy)).toEqual([since.keys[0]?.verifying])
    expect(policy.issuers).toMatchObject([{ name: 'backend', algorithms: ['HS256'] }])
  })

  test('of a key pair is replaced by the public key', () => {
    const es256: DesiredKeys = { algorithms: new Map([['backend', 'ES256']]) }
    const pair = [{ name: 'backend', type: 'PublicKey', generate: { algorithm: 'ES256' } }]
    const [before, since] = [generate(es256), generate(es256)]
    const object = objectOf(broken, before)
    const policy = lastGoodPolicy(compiled(before, { auth: pair }), { ...current, object, keys: since })
    expect(policy.issuers.map(({ key }) => key)).toEqual([
      { type: 'PublicKey', pem: since.keys[0]?.verifying },
    ])
  })

  test('is revoked together with its previous key', () => {
    const rotated = rotateKeys({ ...hs256, request: 'now' }, keys, nowMs + 1)
    const both = compiled(rotated)
    expect(secretsOf(both)).toHaveLength(2)
    const object = objectOf(broken, rotated)
    expect(lastGoodPolicy(both, { ...current, object, keys: rotated })).toBe(both)
    const since = generate()
    expect(secretsOf(lastGoodPolicy(both, { ...current, object, keys: since }))).toEqual([
      since.keys[0]?.verifying,
    ])
  })

  test('whose overlap is over loses only the previous key', () => {
    const rotated = rotateKeys({ ...hs256, request: 'now' }, keys, nowMs + 1)
    const later = rotateKeys(hs256, rotated, nowMs + 10 * 86_400_000)
    const object = objectOf(broken, rotated)
    expect(secretsOf(lastGoodPolicy(compiled(rotated), { ...current, object, keys: later }))).toEqual([
      later.keys[0]?.verifying,
    ])
  })

  test('stays while its entry is being edited: the edit is not accepted and revokes nothing', () => {
    // A public key in place of a shared secret would let everyone sign tokens.
    const edited = generate({ algorithms: new Map([['backend', 'ES256']]) })
    expect(lastGoodPolicy(last, { ...current, keys: edited })).toBe(last)
    expect(lastGoodPolicy(last, { ...current, keys: generate({ algorithms: new Map() }) })).toBe(last)
  })

  test('that the controller did not generate stays', () => {
    const object = objectOf(broken, generate())
    expect(lastGoodPolicy(last, { ...current, object, keys: generate() })).toBe(last)
  })

  test('stays when the Secret is not known', () => {
    expect(lastGoodPolicy(last, { ...current, keys: undefined })).toBe(last)
  })
})
