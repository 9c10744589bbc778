import { expect, test } from 'vitest'
import { ApiObject, fieldManager } from './object.js'

test('of an object is kept what somebody here reads: not what others noted on it', () => {
  const { metadata } = ApiObject.parse({
    apiVersion: 'v1',
    kind: 'Thing',
    metadata: {
      name: 'a',
      uid: 'u',
      resourceVersion: '1',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', mine: 'yes' },
      managedFields: [{ manager: 'kubectl', fieldsV1: {} }, { manager: fieldManager }],
    },
  })
  expect(metadata.annotations).toEqual({ mine: 'yes' })
  expect(metadata.managedFields.map(({ manager }) => manager)).toEqual([fieldManager])
})
