import { expect, test } from 'vitest'
import { formatIdentity, parseIdentity } from './identity.js'

test('a link tells tenant, user, team and roles', () => {
  expect(parseIdentity('?tenant=demo/acme&user=ada&team=red&role=admin&role=moderator')).toEqual({
    tenant: 'demo/acme',
    user: 'ada',
    claims: { team: 'red', roles: ['admin', 'moderator'] },
  })
})

test('a guest is said to be one; a link without a name is no identity', () => {
  expect(parseIdentity('tenant=demo/acme&guest')).toEqual({
    tenant: 'demo/acme',
    user: undefined,
    claims: {},
  })
  expect(parseIdentity('tenant=demo/acme')).toBeUndefined()
  expect(parseIdentity('user=ada')).toBeUndefined()
})

test.each([
  { tenant: 'demo/acme', user: 'a&b=c <é>', claims: { team: 'red', roles: ['x', 'y'], areas: ['1', '2'] } },
  { tenant: 'demo/acme', user: undefined, claims: {} },
])('what is written can be read: $user', (identity) => {
  expect(parseIdentity(formatIdentity(identity))).toEqual(identity)
})
