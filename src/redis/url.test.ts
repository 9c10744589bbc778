import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../errors.js'
import { describeTarget, parseRedisUrl, type SeparateCredentials } from './url.js'

function problemsOf(url: string, credentials?: SeparateCredentials): readonly string[] {
  try {
    parseRedisUrl(url, credentials)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

const local = { host: 'localhost', port: 6379 }
const noLogin = { username: undefined, password: undefined }

describe('a valid URL', () => {
  test.each([
    ['redis://localhost', { kind: 'standalone', address: local, db: 0, login: noLogin, tls: undefined }],
    ['redis://localhost/', { kind: 'standalone', address: local, db: 0, login: noLogin, tls: undefined }],
    [
      'rediss://LOCALHOST:1/15',
      { kind: 'standalone', address: { host: 'localhost', port: 1 }, db: 15, login: noLogin, tls: {} },
    ],
    [
      'redis://[::1]:7000',
      { kind: 'standalone', address: { host: '::1', port: 7000 }, db: 0, login: noLogin, tls: undefined },
    ],
    [
      'redis://:p%40%2Fss@localhost',
      { kind: 'standalone', address: local, db: 0, login: { password: 'p@/ss' }, tls: undefined },
    ],
    // Passwords that are not encoded work too: the host follows the last @, and the password the first colon.
    [
      'redis://me:a:b@c@localhost',
      {
        kind: 'standalone',
        address: local,
        db: 0,
        login: { username: 'me', password: 'a:b@c' },
        tls: undefined,
      },
    ],
    [
      'rediss+sentinel://me:p@a,b:1,[::2]/mymaster',
      {
        kind: 'sentinel',
        sentinels: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 1 },
          { host: '::2', port: 26379 },
        ],
        masterName: 'mymaster',
        login: { username: 'me', password: 'p' },
        sentinelLogin: noLogin,
        tls: {},
      },
    ],
    [
      'redis+cluster://a,b:6380',
      {
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 6379 },
          { host: 'b', port: 6380 },
        ],
        login: noLogin,
        tls: undefined,
      },
    ],
  ])('%s', (url, target) => {
    expect(parseRedisUrl(url)).toEqual(target)
  })

  test('users, passwords and certificates may be configured apart from the URL', () => {
    const credentials = { password: 'p', sentinelUsername: 's', sentinelPassword: 'q', tls: { ca: 'pem' } }
    expect(parseRedisUrl('rediss+sentinel://me@a/m', credentials)).toMatchObject({
      login: { username: 'me', password: 'p' },
      sentinelLogin: { username: 's', password: 'q' },
      tls: { ca: 'pem' },
    })
  })
})

describe('an invalid URL', () => {
  test.each<[string, RegExp, SeparateCredentials?]>([
    ['', /it must begin with redis:\/\//],
    ['localhost:6379', /it must begin with/],
    ['http://localhost', /it must begin with/],
    ['redis+tls://localhost', /it must begin with/],
    ['redis://', /the host is neither a host name/],
    ['redis://a b', /the host is neither a host name/],
    ['redis://::1', /the host is neither a host name/],
    ['redis://[::1', /the host is neither a host name/],
    ['redis://[nine]', /the host is neither a host name/],
    ['redis://a:0', /the port of the host/],
    ['redis://a:', /the port of the host/],
    ['redis+sentinel://a,b:x/m', /the port of host 2/],
    ['redis+sentinel://a,b,a:26379/m', /a host is listed twice/],
    ['redis://a,b', /several hosts need/],
    ['redis://a/mymaster', /the number of a database/],
    ['redis://a/0/1', /the number of a database/],
    ['redis+sentinel://a,b', /the name of the master/],
    ['redis+sentinel://a/my master', /the name of the master/],
    ['redis+cluster://a/1', /a Cluster has no databases/],
    ['redis://a?db=1', /are not allowed after the hosts/],
    ['redis://:pa#ss@a', /%2F, %3F and %23/],
    ['redis://me@a', /the user of Redis has no password/],
    ['redis://:@a', /the password of Redis is empty/],
    ['redis://:%zz@a', /percent-encoded/],
    ['redis://:p@a', /the password is set twice/, { password: 'q' }],
    ['redis://me:p@a', /the user is set twice/, { username: 'you' }],
    ['redis://a', /only rediss:\/\//, { tls: { ca: 'pem' } }],
    ['rediss://a', /must be configured together/, { tls: { cert: 'pem' } }],
    ['redis://a', /the URL names no Sentinels/, { sentinelPassword: 'p' }],
    ['redis+sentinel://a/m', /the user of the Sentinels has no password/, { sentinelUsername: 'u' }],
  ])('%s', (url, problem, credentials) => {
    expect(problemsOf(url, credentials)).toEqual([expect.stringMatching(problem)])
  })

  test('all problems are reported together', () => {
    expect(problemsOf('redis+sentinel://me@a:x,b c', { sentinelPassword: '' })).toHaveLength(5)
  })
})

const name = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,20}$/)
const port = fc.integer({ min: 1, max: 65_535 })
const address = fc.record({
  host: fc.oneof(
    name,
    fc.ipV4(),
    fc.ipV6().filter((six) => !six.includes('.')),
  ),
  port,
})
const secret = fc.string({ minLength: 1, unit: 'grapheme' })
const hostOf = ({ host, port: at }: { host: string; port: number }) =>
  `${host.includes(':') ? `[${host}]` : host}:${at}`

test('any user and any password survive percent-encoding', () => {
  fc.assert(
    fc.property(address, secret, secret, fc.nat(99_999), (at, username, password, db) => {
      const url = `redis://${encodeURIComponent(username)}:${encodeURIComponent(password)}@${hostOf(at)}/${db}`
      expect(parseRedisUrl(url)).toMatchObject({ address: at, login: { username, password }, db })
    }),
  )
})

test('the description of a target is a URL without user and password', () => {
  const list = fc.uniqueArray(address, { minLength: 1, maxLength: 5, selector: hostOf })
  const urls = fc.oneof(
    fc.record({
      hosts: address.map(hostOf),
      scheme: fc.constantFrom('redis', 'rediss'),
      path: fc.nat(15).map(String),
    }),
    fc.record({
      hosts: list.map((all) => all.map(hostOf).join(',')),
      scheme: fc.constantFrom('redis+sentinel', 'rediss+sentinel'),
      path: fc.constantFrom('mymaster', 'a-b_c.d'),
    }),
    fc.record({
      hosts: list.map((all) => all.map(hostOf).join(',')),
      scheme: fc.constantFrom('redis+cluster', 'rediss+cluster'),
      path: fc.constant(''),
    }),
  )
  fc.assert(
    fc.property(urls, ({ hosts, path, scheme }) => {
      const target = parseRedisUrl(`${scheme}://user-name:pass-word@${hosts}/${path}`)
      const described = describeTarget(target)
      expect(described).not.toMatch(/user-name|pass-word/)
      expect(parseRedisUrl(described)).toEqual({ ...target, login: noLogin })
    }),
  )
})

test('no problem repeats a part of the URL', () => {
  const secretPiece = 'Tr0ub4dor'
  const noise = fc.string({
    unit: fc.constantFrom(...'redis+sentinel:/@?#%[],.0 \n'.split('')),
    maxLength: 30,
  })
  const start = fc.constantFrom('redis://', 'rediss://', 'redis+sentinel://', 'redis+cluster://', '')
  fc.assert(
    fc.property(start, noise, noise, (scheme, before, after) => {
      for (const problem of problemsOf(`${scheme}${before}${secretPiece}${after}`)) {
        expect(problem).not.toMatch(/tr0ub4dor/i)
      }
    }),
    { numRuns: 1_000 },
  )
})
