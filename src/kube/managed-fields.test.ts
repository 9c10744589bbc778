import { describe, expect, test } from 'vitest'
import { isApplied } from './managed-fields.js'
import { ApiObject } from './object.js'

const conditions = [
  { type: 'Ready', status: 'True' },
  { type: 'Accepted', status: 'False' },
]
const condition = { '.': {}, 'f:type': {}, 'f:status': {} }

const stored = ApiObject.parse({
  apiVersion: 'parley.chat/v1alpha1',
  kind: 'ChatTenant',
  metadata: {
    name: 'acme',
    uid: 'u',
    resourceVersion: '7',
    labels: { ours: 'yes', theirs: 'yes' },
    managedFields: [
      {
        manager: 'parley-controller',
        operation: 'Apply',
        apiVersion: 'parley.chat/v1alpha1',
        fieldsV1: {
          'f:metadata': { 'f:labels': { 'f:ours': {} } },
          'f:spec': { '.': {}, 'f:set': { 'v:"a"': {} }, 'f:atomic': {} },
        },
      },
      {
        manager: 'parley-controller',
        operation: 'Apply',
        subresource: 'status',
        apiVersion: 'parley.chat/v1alpha1',
        fieldsV1: {
          'f:status': {
            'f:usage': { 'f:connections': {} },
            'f:conditions': { 'k:{"type":"Ready"}': condition, 'k:{"type":"Accepted"}': condition },
          },
        },
      },
    ],
  },
  spec: { set: ['a', 'b'], atomic: [{ x: 1 }], foreign: true },
  status: { usage: { connections: 3, foreign: 1 }, conditions: [...conditions, { type: 'Theirs' }] },
})

const metadata = { name: 'acme', labels: { ours: 'yes' } }
const spec = { set: ['a'], atomic: [{ x: 1 }] }
const status = { usage: { connections: 3 }, conditions }

test('P13: what is stored and ours, whatever others have beside it, need not be written', () => {
  expect(isApplied({ metadata, spec }, stored, '')).toBe(true)
  expect(isApplied({ metadata, status }, stored, 'status')).toBe(true)
  expect(isApplied({ metadata: { ...metadata, uid: 'u' }, spec, gone: undefined }, stored, '')).toBe(true)
})

describe('P13: it is written when', () => {
  const main: Record<string, object> = {
    'a value differs': { metadata: { ...metadata, labels: { ours: 'no' } }, spec },
    'a field is new': { metadata, spec: { ...spec, more: 1 } },
    'a field is not ours yet': { metadata, spec: { ...spec, foreign: true } },
    'a field of ours is to go': { metadata, spec: { set: ['a'] } },
    'all labels of ours are to go': { metadata: { name: 'acme' }, spec },
    'a set gains': { metadata, spec: { ...spec, set: ['a', 'b'] } },
    'a set loses': { metadata, spec: { ...spec, set: [] } },
    'a list that is one value differs': { metadata, spec: { ...spec, atomic: [{ x: 2 }] } },
    'it is meant for another uid': { metadata: { ...metadata, uid: 'v' }, spec },
  }
  test.each(Object.entries(main))('P13: %s', (_what, desired) => {
    expect(isApplied(desired as Parameters<typeof isApplied>[0], stored, '')).toBe(false)
  })

  const ofStatus: Record<string, object> = {
    'an item of a map list differs': {
      ...status,
      conditions: [conditions[0], { type: 'Accepted', status: 'True' }],
    },
    'an item goes': { ...status, conditions: [conditions[0]] },
    'an item is another': { ...status, conditions: [conditions[0], { type: 'Programmed', status: 'True' }] },
    'an item says more': { ...status, conditions: [conditions[0], { ...conditions[1], reason: 'Why' }] },
  }
  test.each(Object.entries(ofStatus))('P13: in status, %s', (_what, desired) => {
    expect(isApplied({ metadata, status: desired }, stored, 'status')).toBe(false)
  })

  test('P13: it was drifted by another, who owns it now', () => {
    const drifted = { ...stored, metadata: { ...stored.metadata, managedFields: [] } }
    expect(isApplied({ metadata, spec }, drifted, '')).toBe(false)
  })
})
