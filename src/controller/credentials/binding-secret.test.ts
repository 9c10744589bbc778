import { describe, expect, test } from 'vitest'
import { bindingSecret, secretTexts, whoseSecret } from './binding-secret.js'
import { PublicUrl } from './endpoints.js'
import { ApiObject } from '../../kube/object.js'

const owner = ApiObject.parse({
  apiVersion: 'parley.chat/v1alpha1',
  kind: 'ChatTenant',
  metadata: { name: 'acme', namespace: 'demo', uid: 'uid-1', resourceVersion: '1' },
})
const wish = {
  name: 'acme-credentials',
  namespace: 'demo',
  owner,
  tenant: 'demo/acme',
  publicUrl: PublicUrl.parse('wss://chat.example.com'),
  record: { keys: {} },
  data: new Map([['backend', 'secret']]),
}

/** As the API server gives it back. */
function stored(metadata: object = {}): ApiObject {
  const secret = bindingSecret(wish)
  return ApiObject.parse({
    ...secret,
    metadata: { ...secret.metadata, uid: 'uid-of-secret', resourceVersion: '2', ...metadata },
  })
}

test('has what the Service Binding specification asks for, in base64', () => {
  expect(Object.fromEntries(secretTexts(stored()))).toEqual({
    type: 'parley',
    provider: 'parley.chat',
    tenant: 'demo/acme',
    uri: 'wss://chat.example.com/demo/acme',
    host: 'chat.example.com',
    port: '443',
    backend: 'secret',
  })
  expect(bindingSecret(wish)['type']).toBe('servicebinding.io/parley')
})

test('without a public address there is none in it', () => {
  const { publicUrl: _, ...rest } = wish
  const secret = ApiObject.parse({
    ...bindingSecret({ ...rest, publicUrl: undefined }),
    metadata: { name: 'x', uid: 'x', resourceVersion: '1' },
  })
  expect([...secretTexts(secret).keys()].toSorted()).toEqual(['backend', 'provider', 'tenant', 'type'])
})

test('what the owner wants on it does not replace what is ours', () => {
  const { metadata } = bindingSecret({
    ...wish,
    labels: { team: 'red', 'parley.chat/secret': 'import' },
    annotations: { note: 'x', 'parley.chat/owner-uid': 'forged' },
  })
  expect(metadata.labels).toMatchObject({ team: 'red', 'parley.chat/secret': 'generated' })
  expect(metadata.annotations).toMatchObject({ note: 'x', 'parley.chat/owner-uid': 'uid-1' })
})

describe('whose it is', () => {
  const reference = { apiVersion: 'parley.chat/v1alpha1', kind: 'ChatTenant', name: 'acme', controller: true }
  const cases: [string, object, string][] = [
    ['as it was made', {}, 'ours'],
    ['without labels', { labels: {} }, 'ours'],
    ['without its owner', { ownerReferences: [] }, 'ours'],
    ['without annotations', { annotations: {} }, 'ours'],
    ['without both', { ownerReferences: [], annotations: {} }, 'foreign'],
    [
      'of a former tenant',
      { annotations: {}, ownerReferences: [{ ...reference, uid: 'uid-0' }] },
      'predecessors',
    ],
    [
      'of another kind of owner',
      { annotations: {}, ownerReferences: [{ ...reference, kind: 'ChatCredential', uid: 'uid-0' }] },
      'foreign',
    ],
  ]
  test.each(cases)('%s', (_, metadata, whose) => {
    expect(whoseSecret(stored(metadata), owner)).toBe(whose)
  })
})
