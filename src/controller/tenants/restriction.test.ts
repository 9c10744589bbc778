import { describe, expect, test } from 'vitest'
import { ApiObject } from '../../kube/object.js'
import { isUnreportedEdit, mayTakeRightsAway } from './restriction.js'

const allow = { operations: ['Subscribe'], subjects: [{ authenticated: true }] }
const deny = { effect: 'Deny', operations: ['Publish'], subjects: [{ users: ['eve'] }] }
const rule = (name: string, ...grants: object[]) => ({
  name,
  match: { type: 'Literal', value: name },
  grants,
})
const key = (name: string) => ({ name, type: 'SharedKey', keyRef: { name, key: 'key' } })

function tenant(spec: object, metadata: object = {}): ApiObject {
  return ApiObject.parse({
    apiVersion: 'parley.chat/v1alpha1',
    kind: 'ChatTenant',
    metadata: {
      name: 'acme',
      namespace: 'demo',
      uid: 'uid-1',
      resourceVersion: '1',
      generation: 1,
      ...metadata,
    },
    spec,
  })
}

const edited = (before: object, after: object) =>
  mayTakeRightsAway(tenant(before), tenant(after, { generation: 2 }))

describe('may take rights away', () => {
  const cases: [string, object, object][] = [
    ['a suspension', {}, { suspend: true }],
    ['an added Deny', { channels: [rule('a', allow)] }, { channels: [rule('a', allow, deny)] }],
    ['an added rule with a Deny', { channels: [] }, { channels: [rule('a', allow, deny)] }],
    ['a removed grant', { channels: [rule('a', allow, deny)] }, { channels: [rule('a', deny)] }],
    ['a removed rule', { channels: [rule('a', allow)] }, { channels: [] }],
    ['a list of rules that is left out', { channels: [rule('a', allow)] }, {}],
    ['a removed key', { auth: [key('a'), key('b')] }, { auth: [key('a')] }],
    ['a changed key', { auth: [key('a')] }, { auth: [{ ...key('a'), audience: 'x' }] }],
    ['a removed origin', { allowedOrigins: ['https://a.example'] }, { allowedOrigins: [] }],
    ['another quota', {}, { quota: { connections: { max: 1 } } }],
    ['another plan', { planRef: { name: 'gold' } }, { planRef: { name: 'free' } }],
    ['a field that is not known here', {}, { tokensIssuedBefore: '2026-01-01T00:00:00Z' }],
  ]
  test.each(cases)('%s', (_, before, after) => {
    expect(edited(before, after)).toBe(true)
  })

  test('a deletion, also one that waits for a finalizer, and a recreation', () => {
    expect(mayTakeRightsAway(tenant({}), undefined)).toBe(true)
    expect(mayTakeRightsAway(tenant({}), tenant({}, { deletionTimestamp: '2026-01-01T00:00:00Z' }))).toBe(
      true,
    )
    expect(mayTakeRightsAway(tenant({}), tenant({}, { uid: 'uid-2' }))).toBe(true)
  })

  test('a requested rotation of the keys', () => {
    expect(mayTakeRightsAway(tenant({}), tenant({}, { annotations: { 'parley.chat/rotate': '1' } }))).toBe(
      true,
    )
  })
})

describe('takes no rights away', () => {
  const cases: [string, object, object][] = [
    ['the end of a suspension', { suspend: true }, { suspend: false }],
    ['an added rule without a Deny', { channels: [] }, { channels: [rule('a', allow)] }],
    ['rules in another order', { channels: [rule('a'), rule('b')] }, { channels: [rule('b'), rule('a')] }],
    ['an added key', {}, { auth: [key('a')] }],
    ['an added origin', {}, { allowedOrigins: ['*'] }],
    ['another name for people', { displayName: 'a' }, { displayName: 'b' }],
  ]
  test.each(cases)('%s', (_, before, after) => {
    expect(edited(before, after)).toBe(false)
  })

  test('a creation, and a change of the status or of other metadata', () => {
    expect(mayTakeRightsAway(undefined, tenant({}))).toBe(false)
    expect(mayTakeRightsAway(tenant({}), tenant({}, { labels: { team: 'red' } }))).toBe(false)
  })
})

test('an edit that no controller has reported is recognized by its generation', () => {
  const status = (generation: number) => ({ observedGeneration: generation, revision: 'r1' })
  const withStatus = (reported: object, metadata = {}) => ({ ...tenant({}, metadata), status: reported })
  expect(isUnreportedEdit(withStatus(status(1)))).toBe(false)
  expect(isUnreportedEdit(withStatus(status(1), { generation: 2 }))).toBe(true)
  expect(isUnreportedEdit(withStatus(status(1), { deletionTimestamp: '2026-01-01T00:00:00Z' }))).toBe(true)
  expect(isUnreportedEdit(withStatus({ observedGeneration: 1 }, { generation: 2 })), 'never accepted').toBe(
    false,
  )
  expect(isUnreportedEdit(tenant({}))).toBe(false)
})
