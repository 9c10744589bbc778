import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { originAllowed, originProblem } from './origin.js'

const host = 'chat.example.net'

describe('originAllowed', () => {
  test.each<[string | undefined, string[], boolean]>([
    [undefined, [], true],
    ['https://a.example', [], false],
    ['https://a.example', ['https://a.example'], true],
    ['https://a.example', ['*'], true],
    ['null', ['*'], true],
    ['null', ['https://a.example', 'https://*.example'], false],
    ['', ['https://a.example'], false],
    ['not an origin', ['https://a.example'], false],
    ['file://', ['https://a.example'], false],
    // Case, ports, international names.
    ['HTTPS://A.Example', ['https://a.example'], true],
    ['https://a.example', ['HTTPS://A.EXAMPLE'], true],
    ['https://a.example:443', ['https://a.example'], true],
    ['https://a.example', ['https://a.example:443'], true],
    ['http://a.example:80', ['http://a.example'], true],
    ['https://a.example:8443', ['https://a.example'], false],
    ['http://a.example', ['https://a.example'], false],
    ['https://bücher.example', ['https://xn--bcher-kva.example'], true],
    ['https://xn--bcher-kva.example', ['https://bücher.example'], true],
    ['https://a.xn--bcher-kva.example', ['https://*.bücher.example'], true],
    // Any port.
    ['http://localhost:5173', ['http://localhost:*'], true],
    ['http://localhost', ['http://localhost:*'], true],
    ['https://localhost:5173', ['http://localhost:*'], false],
    ['http://localhost.evil.example:5173', ['http://localhost:*'], false],
    ['http://[::1]:5173', ['http://[::1]:*'], true],
    ['http://[0:0::1]:5173', ['http://[::1]:*'], true],
    // Subdomains.
    ['https://a.example.com', ['https://*.example.com'], true],
    ['https://a.b.example.com', ['https://*.example.com'], true],
    ['https://example.com', ['https://*.example.com'], false],
    ['https://.example.com', ['https://*.example.com'], false],
    ['https://evil-example.com', ['https://*.example.com'], false],
    ['https://example.com.evil.org', ['https://*.example.com'], false],
    ['https://a.example.com:8443', ['https://*.example.com'], false],
    ['https://a.example.com:8443', ['https://*.example.com:*'], true],
    ['https://a.example.com.', ['https://*.example.com'], false],
    // Similar names and extra parts.
    ['https://a.example.evil.org', ['https://a.example'], false],
    ['https://a.example@evil.org', ['https://a.example'], false],
    ['https://evil.org#https://a.example', ['https://a.example'], false],
    ['https://evil.org\\.a.example', ['https://*.a.example'], false],
    ['https://a.example/', ['https://a.example'], false],
    ['https://a.example, https://evil.org', ['https://a.example'], false],
    ['https://*.example.com', ['https://*.example.com'], false],
    ['https://a.example:*', ['https://a.example:*'], false],
    ['https://a.example:99999', ['https://a.example:*'], false],
    // Invalid entries allow nothing.
    ['https://a.example', ['a.example', 'https://a.example/', 'https://*', '**', ''], false],
    // Apps in a native shell have their own schemes.
    ['capacitor://localhost', ['capacitor://localhost'], true],
    ['capacitor://localhost', ['https://localhost'], false],
  ])('origin %s with %j: %s', (origin, allowed, expected) => {
    expect(originAllowed(origin, allowed, host)).toBe(expected)
  })

  test.each<[string, string | undefined, boolean]>([
    ['http://localhost:8000', 'localhost:8000', true],
    ['http://localhost:8000', 'localhost:8001', false],
    ['http://localhost:8000', 'localhost', false],
    ['https://chat.example.net', 'chat.example.net', true],
    ['https://chat.example.net', 'chat.example.net:443', true],
    ['https://chat.example.net', 'CHAT.example.net', true],
    ['https://chat.example.net.evil.org', 'chat.example.net', false],
    ['http://[::1]:8000', '[::1]:8000', true],
    ['https://chat.example.net', undefined, false],
    ['https://chat.example.net', '', false],
    ['https://chat.example.net', '*', false],
    ['https://chat.example.net', 'evil.org/@chat.example.net', false],
    ['null', 'null', false],
  ])('a page of %s at host %s: %s', (origin, ownHost, expected) => {
    expect(originAllowed(origin, [], ownHost)).toBe(expected)
  })

  const label = fc
    .stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/)
    .filter((text) => !text.startsWith('xn--'))
  const name = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join('.'))

  test('a wildcard allows exactly the names that end in a dot and the host', () => {
    fc.assert(
      fc.property(name, fc.constantFrom('', '.', '-', 'x', 'a.', '.a.b.'), name, (prefix, glue, apex) => {
        const hostname = prefix + glue + apex
        if (!URL.canParse(`https://${hostname}`)) return true
        const expected = hostname.endsWith(`.${apex}`) && hostname.length > apex.length + 1
        return originAllowed(`https://${hostname}`, [`https://*.${apex}`], host) === expected
      }),
    )
  })

  test('arbitrary text is never allowed by an exact entry, and never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.webUrl()), (origin) => {
        return !originAllowed(origin, ['https://only.this.example'], host)
      }),
    )
  })
})

describe('originProblem', () => {
  test.each([
    '*',
    'https://a.example',
    'https://*.a.example:*',
    'http://localhost:*',
    'http://127.0.0.1:3000',
    'http://[::1]:*',
  ])('%s is valid', (entry) => {
    expect(originProblem(entry)).toBeUndefined()
  })

  test.each([
    'a.example',
    'https://a.example/',
    'https://',
    'https://*',
    '**',
    'https://a.*.example',
    'https://a.example:x',
    'https://a b.example',
    'null',
  ])('%s is not valid', (entry) => {
    expect(originProblem(entry)).toContain(`"${entry}" is not a valid origin`)
  })
})
