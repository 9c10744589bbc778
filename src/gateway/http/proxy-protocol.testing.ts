// Writes headers of the PROXY protocol for tests.
import { isIP } from 'node:net'

/** Returns a header, version 2, with zeros for everything that is not given. Without `source`: UNSPEC. */
export function proxyHeader(options: { source?: string; command?: number; tlvBytes?: number }): Buffer {
  const { command = 1, source, tlvBytes = 0 } = options
  const family = source === undefined ? 0 : isIP(source) === 4 ? 0x11 : 0x21
  const addresses = source === undefined ? Buffer.alloc(0) : addressesOf(source)
  const fixed = Buffer.from('0d0a0d0a000d0a515549540a00000000', 'hex')
  fixed[12] = 0x20 | command
  fixed[13] = family
  fixed.writeUInt16BE(addresses.byteLength + tlvBytes, 14)
  return Buffer.concat([fixed, addresses, Buffer.alloc(tlvBytes)])
}

function addressesOf(source: string): Buffer {
  if (isIP(source) === 4) return Buffer.concat([Buffer.from(source.split('.').map(Number)), Buffer.alloc(8)])
  const [, mapped] = /^::ffff:([\d.]+)$/.exec(source) ?? []
  if (mapped !== undefined)
    return Buffer.concat([
      Buffer.alloc(10),
      Buffer.from([255, 255, ...mapped.split('.').map(Number)]),
      Buffer.alloc(20),
    ])
  const [left = '', right = ''] = source.split('::')
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const bytes = Buffer.alloc(36)
  for (const [index, group] of groups(left).entries()) bytes.writeUInt16BE(group, index * 2)
  for (const [index, group] of groups(right).toReversed().entries())
    bytes.writeUInt16BE(group, 14 - index * 2)
  return bytes
}
