import { expect, test } from 'vitest'
import { formatIdentity, parseIdentity } from './page-identity.js'

test('a link contains the tenant, the user, the team and roles', () => {
  expect(parseIdentity('?tenant=demo/acme&user=ada&team=red&role=admin&role=moderator')).toEqual({
    tenant: 'demo/acme',
    user: 'ada',
    claims: { team: 'red', roles: ['admin', 'moderator'] },
  })
})

test('a link without a user is an identity only with "guest"', () => {
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
])('a formatted identity can be parsed: $user', (identity) => {
  expect(parseIdentity(formatIdentity(identity))).toEqual(identity)
})
