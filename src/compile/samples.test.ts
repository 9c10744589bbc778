import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { ChannelRules, type AclSubject } from '../tenant/acl.js'
import { hashApiKey } from '../tenant/api-key.js'
import { compileManifests } from './manifests.js'
import { FilesCatalog } from '../catalog/files.js'
import { originAllowed } from '../tenant/origin.js'
import { operations, type Operation, type TenantPolicy } from '../tenant/policy.js'
import { fileProblemText } from '../resources/problem.js'

const catalog = FilesCatalog.open(fileURLToPath(new URL('../../manifests/samples', import.meta.url)), {
  compile: compileManifests,
})

function policyNamed(key: string): TenantPolicy {
  const policy = catalog.get(key)
  if (!policy) throw new Error(`no tenant ${key}`)
  return policy
}

const user = (name: string, facts: Partial<AclSubject> = {}): AclSubject => ({
  user: name,
  anonymous: false,
  roles: [],
  claims: {},
  ...facts,
})
const guest = user('guest:g1', { anonymous: true })
const alice = user('alice', { claims: { team: 'red' } })
const bob = user('bob', { claims: { team: ['red', 'blue'] } })
const admin = user('root', { roles: ['admin'] })

/** Returns the operations that `subject` may perform. */
function allowedOperations(tenant: string, subject: AclSubject, channel: string): Operation[] {
  const rules = new ChannelRules(policyNamed(tenant).channels)
  return operations.filter((operation) => rules.decide(subject, operation, channel).allowed)
}

const all = [...operations]

test('the samples have no problems', () => {
  expect(catalog.problems.map((problem) => fileProblemText(problem))).toEqual([])
  expect([...catalog.all()].map(({ name }) => name).toSorted()).toEqual(['acme', 'globex'])
})

describe.each(['demo/acme', 'demo/globex'])('%s', (key) => {
  test('has a signing key that is marked as a sample', () => {
    expect(policyNamed(key).issuers).toMatchObject([
      { algorithms: ['HS256'], key: { type: 'SharedKey', sample: true } },
    ])
  })

  test('has an API key that is marked as a sample', () => {
    const sample = catalog.sampleApiKey(key) ?? ''
    expect(policyNamed(key).apiKeys).toMatchObject([
      { role: 'Admin', scopes: [], sha256: hashApiKey(sample) },
    ])
  })

  test.each(['http://localhost:5173', 'http://localhost', 'http://127.0.0.1:8080'])(
    'allows pages of %s to connect',
    (origin) => {
      expect(originAllowed(origin, policyNamed(key).allowedOrigins, 'localhost:8000')).toBe(true)
    },
  )

  test.each(['https://evil.example', 'http://localhost.evil.example', 'null'])(
    'refuses pages of %s',
    (origin) => {
      expect(originAllowed(origin, policyNamed(key).allowedOrigins, 'localhost:8000')).toBe(false)
    },
  )

  test('general has history and presence, lobby has only presence; both send join and leave messages', () => {
    const rules = new ChannelRules(policyNamed(key).channels)
    expect(rules.settings('general')).toMatchObject({
      history: { ttlMs: 86_400_000 },
      presence: true,
      joinLeave: true,
    })
    expect(rules.settings('lobby')).toMatchObject({ history: null, presence: true, joinLeave: true })
  })

  test.each(['dm:alice', 'dm:guest:g1'])('%s keeps messages for absent users', (channel) => {
    expect(new ChannelRules(policyNamed(key).channels).settings(channel)?.history).not.toBeNull()
  })
})

test.each<[AclSubject, string, Operation[]]>([
  [alice, 'general', all],
  [guest, 'general', []],
  [alice, 'team:red', all],
  [alice, 'team:blue', []],
  [bob, 'team:blue', all],
  [admin, 'team:red', []],
  [alice, 'announcements', ['Subscribe', 'History']],
  [admin, 'announcements', ['Subscribe', 'Publish', 'History']],
  [guest, 'announcements', []],
  [alice, 'dm:alice', ['Subscribe', 'Publish', 'History']],
  [bob, 'dm:alice', ['Publish']],
  [guest, 'dm:alice', []],
  [alice, 'lobby', ['Subscribe', 'Publish', 'Presence']],
  [guest, 'lobby', []],
  [alice, 'elsewhere', []],
])('demo/acme: $user in "%s"', (subject, channel, expected) => {
  expect(allowedOperations('demo/acme', subject, channel)).toEqual(expected)
})

test.each<[AclSubject, string, Operation[]]>([
  [alice, 'general', all],
  [guest, 'general', all],
  [guest, 'lobby', ['Subscribe', 'Publish', 'Presence']],
  [guest, 'dm:guest:g1', ['Subscribe', 'History']],
  [guest, 'dm:guest:g2', []],
  [guest, 'dm:g1', ['Publish']],
  [alice, 'dm:guest:g1', ['Publish']],
  [guest, 'dm:alice', ['Publish']],
  [alice, 'dm:alice', ['Subscribe', 'Publish', 'History']],
  [alice, 'team:red', []],
])('demo/globex: $user in "%s"', (subject, channel, expected) => {
  expect(allowedOperations('demo/globex', subject, channel)).toEqual(expected)
})
