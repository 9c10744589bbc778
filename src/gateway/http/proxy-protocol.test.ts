import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseProxyHeader } from './proxy-protocol.js'
import { proxyHeader } from './proxy-protocol.testing.js'

const client4 = proxyHeader({ source: '203.0.113.5' })
const client6 = proxyHeader({ source: '2001:db8::5' })

test.each([
  ['TCP over IPv4', client4, '203.0.113.5'],
  ['TCP over IPv6', client6, '2001:db8::5'],
  ['a mapped address', proxyHeader({ source: '::ffff:203.0.113.5' }), '203.0.113.5'],
  ['LOCAL', proxyHeader({ source: '203.0.113.5', command: 0 }), undefined],
  ['LOCAL without addresses', proxyHeader({ command: 0 }), undefined],
  ['UNSPEC', proxyHeader({}), undefined],
  ['TLVs', proxyHeader({ source: '203.0.113.5', tlvBytes: 3_000 }), '203.0.113.5'],
])('%s', (_what, header, client) => {
  const parsed = { kind: 'complete', client, bytes: header.byteLength }
  expect(parseProxyHeader(header)).toEqual(parsed)
  expect(parseProxyHeader(Buffer.concat([header, Buffer.from('GET / HTTP/1.1')]))).toEqual(parsed)
  for (let bytes = 0; bytes < Math.min(header.byteLength, 60); bytes += 1)
    expect(parseProxyHeader(header.subarray(0, bytes))).toEqual({ kind: 'incomplete' })
})

describe('refused', () => {
  const changed = (offset: number, value: number): Buffer => {
    const header = Buffer.from(client4)
    header[offset] = value
    return header
  }
  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'missing'],
    ['TLS', Buffer.from('160301020001000001fc0303', 'hex'), 'missing'],
    ['version 1', Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 4711 443\r\n'), 'missing'],
    ['one byte that does not fit', Buffer.from('X'), 'missing'],
    ['version 1 in the binary format', changed(12, 0x11), 'malformed'],
    ['version 3', changed(12, 0x31), 'malformed'],
    ['an unknown command', changed(12, 0x22), 'malformed'],
    ['UDP', changed(13, 0x12), 'malformed'],
    ['a Unix socket', changed(13, 0x31), 'malformed'],
    ['too few bytes for its family', changed(13, 0x21), 'malformed'],
    [
      'an address that is cut short',
      Buffer.concat([client4.subarray(0, 15), Buffer.from([4, 1, 2, 3, 4])]),
      'malformed',
    ],
    ['a length of 65,535', Buffer.concat([client4.subarray(0, 14), Buffer.from([255, 255])]), 'malformed'],
  ])('%s', (_what, bytes, reason) => {
    expect(parseProxyHeader(bytes)).toEqual({ kind: 'failed', reason: `proxy_header_${reason}` })
  })
})

test('never throws, and never reads beyond its header', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (noise, begins) => {
      const bytes = begins ? Buffer.concat([client4.subarray(0, 12), noise]) : Buffer.from(noise)
      const parsed = parseProxyHeader(bytes)
      if (parsed.kind === 'complete') expect(parsed.bytes).toBeLessThanOrEqual(bytes.byteLength)
    }),
  )
})

test('gives back every address of a client', () => {
  fc.assert(
    fc.property(fc.ipV4(), (source) => {
      expect(parseProxyHeader(proxyHeader({ source }))).toMatchObject({ kind: 'complete', client: source })
    }),
  )
})
