import { describe, expect, test } from 'vitest'
import { hashApiKey, importApiKey } from '../tenant/api-key.js'
import { compileCredential } from './credential.js'
import { ChatCredential } from '../resources/chat-credential.js'

const key = 'an imported key that is long enough'

function credential(spec: object = {}, metadata: object = {}): ChatCredential {
  return ChatCredential.parse({
    apiVersion: 'parley.chat/v1alpha1',
    kind: 'ChatCredential',
    metadata: { name: 'bot', ...metadata },
    spec: { tenantRef: { name: 'acme' }, ...spec },
  })
}

const secrets =
  (contents: Readonly<Record<string, string>>) =>
  (name: string, field: string): Uint8Array | undefined => {
    const text = contents[`${name}/${field}`]
    return text === undefined ? undefined : Buffer.from(text)
  }

const own = { importSecretRef: { name: 'own', key: 'k' } }

test('stores the hash of a key, with the role and scopes of its credential', () => {
  const scopes = [{ match: { type: 'Prefix', value: 'news:' }, operations: ['Publish'] }]
  const compiled = compileCredential(
    credential({ ...own, role: 'ReadOnly', scopes }),
    secrets({ 'own/k': ` ${key}\n` }),
  )
  expect(compiled).toEqual({
    key: { credential: 'bot', role: 'ReadOnly', scopes, sha256: hashApiKey(key), id: expect.any(String) },
    secret: own.importSecretRef,
  })
  expect(JSON.stringify(compiled)).not.toContain(key)
})

test('without a reference, reads the Secret that the controller would create', () => {
  const made = secrets({ 'bot-credential/api-key': key, 'other/api-key': key })
  expect(compileCredential(credential(), made)).toHaveProperty('key')
  expect(compileCredential(credential({ secretName: 'other' }), made)).toHaveProperty('key')
})

describe('reports', () => {
  test.each<[string, ChatCredential, Readonly<Record<string, string>>, object]>([
    ['no Secret', credential(own), {}, { reason: 'KeyNotFound', path: ['spec', 'importSecretRef'] }],
    [
      'no generated Secret',
      credential(),
      {},
      { reason: 'KeyNotFound', path: ['spec'], message: expect.stringContaining('importSecretRef') },
    ],
    ['a short key', credential(own), { 'own/k': 'short' }, { reason: 'KeyTooShort' }],
    [
      'a ttl without a creation time',
      credential({ ...own, ttl: '1h' }),
      { 'own/k': key },
      { reason: 'InvalidResource', path: ['spec', 'ttl'] },
    ],
  ])('%s', (_name, resource, contents, problem) => {
    expect(compileCredential(resource, secrets(contents))).toMatchObject(problem)
  })
})

test('a ttl counts from the creation time', () => {
  const resource = credential({ ...own, ttl: '1h' }, { creationTimestamp: '2026-01-01T00:00:00Z' })
  expect(compileCredential(resource, secrets({ 'own/k': key }))).toMatchObject({
    key: { expiresAtMs: Date.parse('2026-01-01T01:00:00Z') },
  })
})

test('31 bytes are too short for a key, 32 are enough', () => {
  expect(importApiKey(Buffer.alloc(31, 'k'))).toBeUndefined()
  expect(importApiKey(Buffer.alloc(32, 'k'))).toMatchObject({ sha256: hashApiKey('k'.repeat(32)) })
})
