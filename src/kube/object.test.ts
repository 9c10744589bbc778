import { expect, test } from 'vitest'
import { objectOf } from './list-pages.js'
import { compareAge } from './object.js'

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

test('the older object comes first, and the key decides between objects of one second', () => {
  const kind = { group: '', version: 'v1', plural: 'things', kind: 'Thing', namespaced: true }
  const made = (name: string, creationTimestamp?: string) =>
    objectOf(
      kind,
      { metadata: { name, namespace: 'n', uid: name, resourceVersion: '1', creationTimestamp } },
      '',
    )
  const [early, late] = ['2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z']
  const sorted = [made('c', early), made('a', late), made('b', early)].toSorted(compareAge)
  expect(sorted.map(({ metadata }) => metadata.name)).toEqual(['b', 'c', 'a'])
  expect(compareAge(made('a', early), made('a', early))).toBe(0)
})
