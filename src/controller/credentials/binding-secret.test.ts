import { describe, expect, test } from 'vitest'
import { bindingSecret, secretDataTexts, secretOwnership } from './binding-secret.js'
import { PublicUrl } from './endpoints.js'
import { ApiObject } from '../../kube/object.js'

const owner = ApiObject.parse({
  apiVersion: 'parley.chat/v1alpha1',
  kind: 'ChatTenant',
  metadata: { name: 'acme', namespace: 'demo', uid: 'uid-1', resourceVersion: '1' },
})
const secretFacts = {
  name: 'acme-credentials',
  namespace: 'demo',
  owner,
  tenant: 'demo/acme',
  publicUrl: PublicUrl.parse('wss://chat.example.com'),
  record: { keys: {} },
  data: new Map([['backend', 'secret']]),
}

/** Returns the Secret as the API server stores it. */
function stored(metadata: object = {}): ApiObject {
  const secret = bindingSecret(secretFacts)
  return ApiObject.parse({
    ...secret,
    metadata: { ...secret.metadata, uid: 'uid-of-secret', resourceVersion: '2', ...metadata },
  })
}

test('contains the entries of the Service Binding specification, in base64', () => {
  expect(Object.fromEntries(secretDataTexts(stored()))).toEqual({
    type: 'parley',
    provider: 'parley.chat',
    tenant: 'demo/acme',
    uri: 'wss://chat.example.com/demo/acme',
    host: 'chat.example.com',
    port: '443',
    backend: 'secret',
  })
  expect(bindingSecret(secretFacts)['type']).toBe('servicebinding.io/parley')
})

test('without a public URL the Secret contains no address', () => {
  const { publicUrl: _, ...rest } = secretFacts
  const secret = ApiObject.parse({
    ...bindingSecret({ ...rest, publicUrl: undefined }),
    metadata: { name: 'x', uid: 'x', resourceVersion: '1' },
  })
  expect([...secretDataTexts(secret).keys()].toSorted()).toEqual(['backend', 'provider', 'tenant', 'type'])
})

test('labels and annotations of the owner do not replace those of Parley', () => {
  const { metadata } = bindingSecret({
    ...secretFacts,
    labels: { team: 'red', 'parley.chat/secret': 'import' },
    annotations: { note: 'x', 'parley.chat/owner-uid': 'forged' },
  })
  expect(metadata.labels).toMatchObject({ team: 'red', 'parley.chat/secret': 'generated' })
  expect(metadata.annotations).toMatchObject({ note: 'x', 'parley.chat/owner-uid': 'uid-1' })
})

describe('ownership of a Secret', () => {
  const reference = { apiVersion: 'parley.chat/v1alpha1', kind: 'ChatTenant', name: 'acme', controller: true }
  const cases: [string, object, string][] = [
    ['as it was generated', {}, 'owned'],
    ['without labels', { labels: {} }, 'owned'],
    ['without its owner', { ownerReferences: [] }, 'owned'],
    ['without annotations', { annotations: {} }, 'owned'],
    ['without owner and annotations', { ownerReferences: [], annotations: {} }, 'foreign'],
    [
      'of a deleted tenant with the same name',
      { annotations: {}, ownerReferences: [{ ...reference, uid: 'uid-0' }] },
      'predecessor',
    ],
    [
      'of another kind of owner',
      { annotations: {}, ownerReferences: [{ ...reference, kind: 'ChatCredential', uid: 'uid-0' }] },
      'foreign',
    ],
  ]
  test.each(cases)('%s', (_, metadata, ownership) => {
    expect(secretOwnership(stored(metadata), owner)).toBe(ownership)
  })
})
