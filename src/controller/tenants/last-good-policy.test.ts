import { describe, expect, test } from 'vitest'
import { policyOf } from '../../compile/compile.testing.js'
import type { ApiKey, TenantPolicy } from '../../tenant/policy.js'
import { noKeys, planKeys, type KeyPlan, type KeyWish } from '../credentials/key-rotation.js'
import { lastPolicy, type Present } from './last-good-policy.js'
import { ApiObject } from '../../kube/object.js'

const nowMs = Date.UTC(2026, 0, 1)
const hs256: KeyWish = { wanted: new Map([['backend', 'HS256']]) }
const auth = [{ name: 'backend', type: 'SharedKey', generate: { algorithm: 'HS256' } }]
const apiKey: ApiKey = { id: 'k', credential: 'bot', sha256: 'a'.repeat(64), role: 'Admin', scopes: [] }

const made = (wish = hs256): KeyPlan => planKeys(wish, { record: noKeys, data: new Map() }, nowMs)

/** What was compiled while the Secret was as in `plan`. */
function compiled(plan: KeyPlan, spec: object = { auth }): TenantPolicy {
  const keys = new Map(plan.keys.map((key) => [key.name, key]))
  const bytes = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text))
  return policyOf(spec, {
    secret: (_, name) => bytes(keys.get(name)?.verifying),
    previousKey: (name) => bytes(keys.get(name)?.previous?.verifying),
    apiKeys: [apiKey],
  })
}

/** As it is stored; `told` are the keys that its status speaks of. */
function objectOf(spec: unknown, told?: KeyPlan): ApiObject {
  const ids = told?.keys.flatMap(({ id, previous }) => [id, ...(previous ? [previous.id] : [])])
  return ApiObject.parse({
    apiVersion: 'parley.chat/v1alpha1',
    kind: 'ChatTenant',
    metadata: { name: 'acme', namespace: 'demo', uid: 't1', resourceVersion: '1' },
    spec,
    status: { ...(ids && { credentials: { activeKeyIDs: ids } }) },
  })
}

const broken = { planRef: { name: 'nowhere' } }
const plan = made()
const last = compiled(plan)
const present: Present = { object: objectOf(broken, plan), keys: plan, apiKeys: [apiKey] }
const secretsOf = ({ issuers }: TenantPolicy) =>
  issuers.map(({ key }) => ('secret' in key ? Buffer.from(key.secret, 'base64').toString() : key.type))

test('what nobody took anything from is the very same', () => {
  expect(lastPolicy(last, present)).toBe(last)
})

describe('suspension', () => {
  const suspended = objectOf({ ...broken, suspend: true }, plan)

  test('is the author’s word, also where the rest makes no sense', () => {
    const policy = lastPolicy(last, { ...present, object: suspended })
    expect(policy).toEqual({ ...last, suspended: true, revision: expect.any(String) })
    expect(policy.revision).not.toBe(last.revision)
  })

  test('ends by the same word: then the last policy is as it was', () => {
    const policy = lastPolicy(lastPolicy(last, { ...present, object: suspended }), present)
    expect(policy).toEqual(last)
  })

  test('stays as it is where that word cannot be read', () => {
    const policy = lastPolicy(last, { ...present, object: suspended })
    const unreadable = objectOf({ ...broken, suspend: 'no' }, plan)
    expect(lastPolicy(policy, { ...present, object: unreadable })).toBe(policy)
  })
})

describe('an API key', () => {
  test('that was taken away counts no more', () => {
    const policy = lastPolicy(last, { ...present, apiKeys: [] })
    expect(policy.apiKeys).toBeUndefined()
    expect(policy.revision).not.toBe(last.revision)
  })

  test('that was made since counts, with the role that it has now', () => {
    const other: ApiKey = { ...apiKey, id: 'other', role: 'ReadOnly' }
    expect(lastPolicy(last, { ...present, apiKeys: [other] }).apiKeys).toEqual([other])
  })
})

describe('a generated key', () => {
  test('that the Secret does not hold any more gives its place to the one made since', () => {
    const since = made()
    const policy = lastPolicy(last, { ...present, keys: since })
    expect(secretsOf(policy)).toEqual([since.keys[0]?.verifying])
    expect(policy.issuers).toMatchObject([{ name: 'backend', algorithms: ['HS256'] }])
  })

  test('of a pair is replaced by the public half', () => {
    const es256: KeyWish = { wanted: new Map([['backend', 'ES256']]) }
    const pair = [{ name: 'backend', type: 'PublicKey', generate: { algorithm: 'ES256' } }]
    const [before, since] = [made(es256), made(es256)]
    const object = objectOf(broken, before)
    const policy = lastPolicy(compiled(before, { auth: pair }), { ...present, object, keys: since })
    expect(policy.issuers.map(({ key }) => key)).toEqual([
      { type: 'PublicKey', pem: since.keys[0]?.verifying },
    ])
  })

  test('goes together with the one before it', () => {
    const rotated = planKeys({ ...hs256, request: 'now' }, plan, nowMs + 1)
    const both = compiled(rotated)
    expect(secretsOf(both)).toHaveLength(2)
    const object = objectOf(broken, rotated)
    expect(lastPolicy(both, { ...present, object, keys: rotated })).toBe(both)
    const since = made()
    expect(secretsOf(lastPolicy(both, { ...present, object, keys: since }))).toEqual([
      since.keys[0]?.verifying,
    ])
  })

  test('whose overlap is over goes alone', () => {
    const rotated = planKeys({ ...hs256, request: 'now' }, plan, nowMs + 1)
    const later = planKeys(hs256, rotated, nowMs + 10 * 86_400_000)
    const object = objectOf(broken, rotated)
    expect(secretsOf(lastPolicy(compiled(rotated), { ...present, object, keys: later }))).toEqual([
      later.keys[0]?.verifying,
    ])
  })

  test('stays while its entry is being edited: nothing that was served ends for that', () => {
    // A public key in the place of a shared secret would let everybody sign.
    const edited = made({ wanted: new Map([['backend', 'ES256']]) })
    expect(lastPolicy(last, { ...present, keys: edited })).toBe(last)
    expect(lastPolicy(last, { ...present, keys: made({ wanted: new Map() }) })).toBe(last)
  })

  test('of somebody else’s making stays', () => {
    const told = objectOf(broken, made())
    expect(lastPolicy(last, { ...present, object: told, keys: made() })).toBe(last)
  })

  test('stays where it is not known which Secret is meant', () => {
    expect(lastPolicy(last, { ...present, keys: undefined })).toBe(last)
  })
})
