import { describe, expect, test } from 'vitest'
import { hostProblem, KnownHosts } from './known-hosts.js'

const hosts = new KnownHosts(['chat.example.com', '*.apps.example.com', 'BÜCHER.example'])

describe('a host', () => {
  test.each([
    'chat.example.com',
    'CHAT.example.com:8443',
    'chat.example.com.',
    'a.apps.example.com',
    'a.b.apps.example.com',
    'xn--bcher-kva.example',
    'localhost',
    'localhost:8000',
    'demo.localhost',
    '127.0.0.1:8000',
    '192.168.1.7',
    '[::1]:8000',
    '[fd00::7]',
  ])('%s is known', (host) => {
    expect(hosts.has(host)).toBe(true)
  })

  test.each([
    '',
    'evil.example',
    'chat.example.com.evil.example',
    'evil-chat.example.com',
    'apps.example.com',
    'evilapps.example.com',
    'localhost.evil.example',
    'notlocalhost',
    '127.0.0.1.evil.example',
    '127.0.0.1@evil.example',
    'evil.example/127.0.0.1',
    'evil.example#localhost',
    'a b',
    '::1',
  ])('"%s" is not', (host) => {
    expect(hosts.has(host)).toBe(false)
  })

  test('with no configured names, addresses and localhost are known', () => {
    const none = new KnownHosts([])
    expect(['localhost', '10.0.0.1', 'chat.example.com'].map((host) => none.has(host))).toEqual([
      true,
      true,
      false,
    ])
  })
})

test.each([
  '',
  '*',
  '*.',
  'https://chat.example.com',
  'chat.example.com:443',
  'a/b',
  'a b',
  'user@host',
  '*.*.x',
])('"%s" is not an entry', (entry) => {
  expect(hostProblem(entry)).toMatch(/is not a host name/)
})
