import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { countedAddress, networkProblem, plainAddress, TrustedProxies } from './client-address.js'

const proxies = new TrustedProxies(['10.0.0.0/8', '2001:db8:aaaa::/48', '192.0.2.7'])
const [proxy, proxy6] = ['10.1.2.3', '2001:db8:aaaa::1']

describe('the networks of proxies', () => {
  test.each(['10.0.0.0/8', '192.0.2.1', '0.0.0.0/0', '::/0', '2001:db8::/32', '::1', '::ffff:10.0.0.0/104'])(
    '%s is valid',
    (text) => {
      expect(networkProblem(text)).toBeUndefined()
    },
  )

  test.each([
    '',
    '10.0.0',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '2001:db8::/129',
    'proxy',
    '10.0.0.0/8/8',
  ])('"%s" is not', (text) => {
    expect(networkProblem(text)).toMatch(/write 192/)
    expect(() => new TrustedProxies([text])).toThrow('is not an address')
  })

  test.each([
    ['10.255.255.255', true],
    ['11.0.0.0', false],
    ['192.0.2.7', true],
    ['192.0.2.8', false],
    ['2001:db8:aaaa:ffff::1', true],
    ['2001:db8:aaab::1', false],
  ])('%s: %s', (address, isTrusted) => {
    expect(proxies.has(address)).toBe(isTrusted)
  })

  test('a mapped network contains IPv4 addresses', () => {
    const mapped = new TrustedProxies(['::ffff:10.0.0.0/104'])
    expect([mapped.has('10.9.9.9'), mapped.has('11.0.0.1')]).toEqual([true, false])
  })
})

describe('X-Forwarded-For', () => {
  test.each([
    ['from a stranger is ignored', '198.51.100.1', '203.0.113.5', '198.51.100.1'],
    ['that is missing leaves the proxy itself', proxy, undefined, proxy],
    ['names the client', proxy, '203.0.113.5', '203.0.113.5'],
    ['counts from the right', proxy, '1.1.1.1, 203.0.113.5', '203.0.113.5'],
    ['skips trusted proxies', proxy, '1.1.1.1, 203.0.113.5, 10.0.0.1, 192.0.2.7', '203.0.113.5'],
    ['of proxies only gives the first of them', proxy, '10.0.0.2, 10.0.0.1', '10.0.0.2'],
    ['may have a port', proxy, '203.0.113.5:4711', '203.0.113.5'],
    ['may have an IPv6 address', proxy6, '2001:db8::5', '2001:db8::5'],
    ['may have brackets', proxy, '[2001:db8::5]', '2001:db8::5'],
    ['may have brackets and a port', proxy, '[2001:db8::5]:443', '2001:db8::5'],
    ['may have a mapped address', proxy, '::ffff:203.0.113.5', '203.0.113.5'],
    ['that is empty leaves the proxy', proxy, '', proxy],
    ['that is not an address leaves the proxy', proxy, 'unknown', proxy],
    ['with a broken last entry leaves the proxy', proxy, '203.0.113.5, ', proxy],
    ['with a broken entry behind a proxy leaves that proxy', proxy, 'x, 10.0.0.9', '10.0.0.9'],
    ['with a bracketed IPv4 address leaves the proxy', proxy, '[203.0.113.5]', proxy],
    ['with a comma at the start', proxy, ',203.0.113.5', '203.0.113.5'],
    ['with only commas', proxy, ',,,', proxy],
    ['with a script', proxy, '<script>, 203.0.113.5', '203.0.113.5'],
    ['with an octal address', proxy, '0203.0.113.5', proxy],
  ])('%s', (_what, peer, header, client) => {
    expect(proxies.clientOf(peer, header)).toBe(client)
  })

  test('with thousands of entries is read from the right, and not to its end', () => {
    const many = Array.from({ length: 5_000 }, () => '203.0.113.1')
    expect(proxies.clientOf(proxy, [...many, '203.0.113.5'].join(','))).toBe('203.0.113.5')
    const trusted = Array.from({ length: 5_000 }, () => '10.0.0.1')
    expect(proxies.clientOf(proxy, ['203.0.113.5', ...trusted].join(', '))).toBe('10.0.0.1')
  })

  test('is what a search from the right finds, whatever the client sends in front of it', () => {
    const client = fc.ipV4().filter((address) => !proxies.has(address))
    const chain = fc.array(fc.constantFrom('10.0.0.1', '192.0.2.7', proxy6), { maxLength: 5 })
    fc.assert(
      fc.property(fc.string(), client, chain, (invented, address, hops) => {
        const header = [invented, address, ...hops].join(', ')
        expect(proxies.clientOf(proxy, header)).toBe(address)
        expect(proxies.clientOf('198.51.100.1', header)).toBe('198.51.100.1')
      }),
    )
  })

  test('never throws, and returns the peer or an address', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (header) => {
        expect(proxies.clientOf(proxy, header)).toMatch(/^[\da-f.:]+$/i)
      }),
    )
  })
})

describe('what is counted', () => {
  test.each([
    ['203.0.113.5', '203.0.113.5'],
    ['::ffff:203.0.113.5', '203.0.113.5'],
    ['::ffff:cb00:7105', '203.0.113.5'],
    ['0:0:0:0:0:ffff:203.0.113.5', '203.0.113.5'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['64:ff9b::203.0.113.5', '64:ff9b:0:0::/64'],
  ])('%s: %s', (address, counted) => {
    expect(countedAddress(address)).toBe(counted)
  })

  test('all addresses of a network of 64 bits count together, and those of two do not', () => {
    const group = fc.integer({ min: 0, max: 0xff_ff }).map((value) => value.toString(16))
    const half = fc.tuple(group, group, group, group).map((groups) => groups.join(':'))
    fc.assert(
      fc.property(half, half, half, half, (network, other, host, another) => {
        // Mapped addresses are IPv4.
        fc.pre(!network.startsWith('0:') && !other.startsWith('0:'))
        expect(countedAddress(`${network}:${host}`)).toBe(countedAddress(`${network}:${another}`))
        expect(countedAddress(`${network}:${host}`) === countedAddress(`${other}:${host}`)).toBe(
          network === other,
        )
      }),
    )
  })

  test('a mapped IPv4 address is the address itself, however it is written', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
        const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
        expect(plainAddress(`::ffff:${address}`)).toBe(address)
        expect(plainAddress(`::ffff:${hex}`)).toBe(address)
        expect(plainAddress(address)).toBe(address)
      }),
    )
  })
})
