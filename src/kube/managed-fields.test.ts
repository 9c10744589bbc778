import { describe, expect, test } from 'vitest'
import { isApplied } from './managed-fields.js'
import { ApiObject } from './object.js'

const conditions = [
  { type: 'Ready', status: 'True' },
  { type: 'Accepted', status: 'False' },
]
const condition = { '.': {}, 'f:type': {}, 'f:status': {} }

const stored = ApiObject.parse({
  apiVersion: 'example.com/v1',
  kind: 'Widget',
  metadata: {
    name: 'acme',
    uid: 'u',
    resourceVersion: '7',
    labels: { owned: 'yes', foreign: 'yes' },
    managedFields: [
      {
        manager: 'example-controller',
        operation: 'Apply',
        apiVersion: 'example.com/v1',
        fieldsV1: {
          'f:metadata': { 'f:labels': { 'f:owned': {} } },
          'f:spec': { '.': {}, 'f:set': { 'v:"a"': {} }, 'f:atomic': {} },
        },
      },
      {
        manager: 'example-controller',
        operation: 'Apply',
        subresource: 'status',
        apiVersion: 'example.com/v1',
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
  status: { usage: { connections: 3, foreign: 1 }, conditions: [...conditions, { type: 'Foreign' }] },
})

const metadata = { name: 'acme', labels: { owned: 'yes' } }
const spec = { set: ['a'], atomic: [{ x: 1 }] }
const status = { usage: { connections: 3 }, conditions }

test('P13: no write is needed when the fields are stored and owned, whichever fields others own', () => {
  expect(isApplied({ metadata, spec }, stored, '')).toBe(true)
  expect(isApplied({ metadata, status }, stored, 'status')).toBe(true)
  expect(isApplied({ metadata: { ...metadata, uid: 'u' }, spec, gone: undefined }, stored, '')).toBe(true)
})

describe('P13: an apply is needed when', () => {
  const main: Record<string, object> = {
    'a value differs': { metadata: { ...metadata, labels: { owned: 'no' } }, spec },
    'a field is new': { metadata, spec: { ...spec, more: 1 } },
    'a field is not owned yet': { metadata, spec: { ...spec, foreign: true } },
    'an owned field is left out': { metadata, spec: { set: ['a'] } },
    'all owned labels are left out': { metadata: { name: 'acme' }, spec },
    'a set gets a value': { metadata, spec: { ...spec, set: ['a', 'b'] } },
    'a set loses a value': { metadata, spec: { ...spec, set: [] } },
    'an atomic list differs': { metadata, spec: { ...spec, atomic: [{ x: 2 }] } },
    'the apply names another uid': { metadata: { ...metadata, uid: 'v' }, spec },
  }
  test.each(Object.entries(main))('P13: %s', (_what, desired) => {
    expect(isApplied(desired as Parameters<typeof isApplied>[0], stored, '')).toBe(false)
  })

  const ofStatus: Record<string, object> = {
    'an item of a map list differs': {
      ...status,
      conditions: [conditions[0], { type: 'Accepted', status: 'True' }],
    },
    'an item is left out': { ...status, conditions: [conditions[0]] },
    'an item has another key': {
      ...status,
      conditions: [conditions[0], { type: 'Programmed', status: 'True' }],
    },
    'an item has a new field': {
      ...status,
      conditions: [conditions[0], { ...conditions[1], reason: 'Why' }],
    },
  }
  test.each(Object.entries(ofStatus))('P13: in status, %s', (_what, desired) => {
    expect(isApplied({ metadata, status: desired }, stored, 'status')).toBe(false)
  })

  test('P13: another manager changed the fields and owns them now', () => {
    const drifted = { ...stored, metadata: { ...stored.metadata, managedFields: [] } }
    expect(isApplied({ metadata, spec }, drifted, '')).toBe(false)
  })
})
