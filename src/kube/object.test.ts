import { expect, test } from 'vitest'
import { objectOf } from './list-pages.js'

test('an object from the server keeps the fields that this client reads, not those of other field managers', () => {
  const kind = { group: '', version: 'v1', plural: 'things', kind: 'Thing', namespaced: true }
  const raw = {
    metadata: {
      name: 'a',
      uid: 'u',
      resourceVersion: '1',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', mine: 'yes' },
      managedFields: [{ manager: 'kubectl', fieldsV1: {} }, { manager: 'example-controller' }],
    },
  }
  const { apiVersion, metadata } = objectOf(kind, raw, 'example-controller')
  expect(apiVersion).toBe('v1')
  expect(metadata.annotations).toEqual({ mine: 'yes' })
  expect(metadata.managedFields.map(({ manager }) => manager)).toEqual(['example-controller'])
})
