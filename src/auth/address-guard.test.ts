import { Resolver } from 'node:dns/promises'
import { describe, expect, test, vi } from 'vitest'
import { isPublicAddress, PrivateAddressError, publicLookup } from './address-guard.js'

describe('isPublicAddress()', () => {
  test.each([
    '8.8.8.8',
    '1.1.1.1',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.0.1',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450::1',
  ])('accepts %s', (address) => expect(isPublicAddress(address)).toBe(true))

  test.each([
    ['this network', '0.0.0.0'],
    ['loopback', '127.0.0.1'],
    ['another loopback address', '127.200.3.4'],
    ['private 10/8', '10.96.0.1'],
    ['private 172.16/12', '172.31.255.255'],
    ['private 192.168/16', '192.168.1.1'],
    ['carrier-grade NAT', '100.64.0.1'],
    ['metadata service', '169.254.169.254'],
    ['documentation', '203.0.113.9'],
    ['multicast', '224.0.0.251'],
    ['broadcast', '255.255.255.255'],
    ['IPv6 unspecified', '::'],
    ['IPv6 loopback', '::1'],
    ['mapped loopback', '::ffff:127.0.0.1'],
    ['mapped loopback in hex', '::ffff:7f00:1'],
    ['mapped metadata', '::ffff:a9fe:a9fe'],
    ['compatible loopback', '::127.0.0.1'],
    ['NAT64 of a private address', '64:ff9b::a00:1'],
    ['6to4 of loopback', '2002:7f00:1::'],
    ['Teredo', '2001:0:1::1'],
    ['ULA', 'fd00::1'],
    ['EC2 metadata on IPv6', 'fd00:ec2::254'],
    ['link-local', 'fe80::1'],
    ['link-local with a zone', 'fe80::1%eth0'],
    ['multicast', 'ff02::1'],
    ['documentation', '2001:db8::1'],
    ['a name', 'example.org'],
    ['an empty text', ''],
    ['an octal look-alike', '0177.0.0.1'],
  ])('refuses %s', (_, address) => expect(isPublicAddress(address)).toBe(false))
})

describe('publicLookup', () => {
  test('refuses a name that resolves to loopback', async () => {
    const error = await new Promise((settle) => publicLookup('localhost', { all: true }, settle))
    expect(error).toBeInstanceOf(PrivateAddressError)
  })

  test('says that a name has no address when the name servers answer without one', async () => {
    vi.spyOn(Resolver.prototype, 'resolve4').mockResolvedValue([])
    vi.spyOn(Resolver.prototype, 'resolve6').mockResolvedValue([])
    const error = await new Promise((settle) => publicLookup('empty.example', { all: true }, settle))
    vi.restoreAllMocks()
    expect(error).toMatchObject({ message: 'the host "empty.example" has no address' })
  })

  test('passes on the error of a name that does not resolve', async () => {
    const error = await new Promise((settle) => publicLookup('no-such-host.invalid', {}, settle))
    expect(error).toMatchObject({ syscall: 'queryA' })
  })
})
