// Keeps URLs that tenants write from reaching the cluster's own network (server-side request forgery).
import { lookup as resolve } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

/** IPv4 that is not the public Internet: IANA's special-purpose registry, plus multicast and the reserved rest. */
const closed4: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10], // carrier-grade NAT, and the node network of some clouds
  ['127.0.0.0', 8],
  ['169.254.0.0', 16], // link-local: here live the clouds' metadata services
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]

/**
 * IPv6 is told the other way round: only 2000::/3 is routed, and even of it not these. All that embeds an IPv4 address
 * (mapped, NAT64, 6to4, Teredo) is closed as a whole, so that nobody smuggles 127.0.0.1 in another dress.
 */
const closed6: readonly (readonly [network: string, prefix: number])[] = [
  ['::', 3],
  ['4000::', 2],
  ['8000::', 1], // ULA fc00::/7, link-local fe80::/10, multicast ff00::/8 among them
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

// Two lists, because Node compares an IPv4 address with IPv6 rules as if it were mapped: `::/3` would close all of IPv4.
const list4 = new BlockList()
for (const [network, prefix] of closed4) list4.addSubnet(network, prefix, 'ipv4')
const list6 = new BlockList()
for (const [network, prefix] of closed6) list6.addSubnet(network, prefix, 'ipv6')

/** Whether `address` (a literal, without brackets) is one that a tenant's URL may reach. What is no address is not. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !list4.check(address, 'ipv4')
  if (family === 6) return !list6.check(address, 'ipv6')
  return false
}

/** A host that resolves, wholly or in part, to addresses that are not public. */
export class PrivateAddressError extends Error {
  override readonly name = 'PrivateAddressError'
}

/**
 * For the `lookup` option of node:net and node:https: what is checked is what is connected to, so that a name which answers
 * differently the second time (DNS rebinding) gains nothing. One private address among public ones refuses the host.
 * Literal addresses never come here, since Node does not look them up: check them with `isPublicAddress`.
 */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  resolve(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, '')
    const [first] = addresses
    if (!first || !addresses.every(({ address }) => isPublicAddress(address))) {
      return callback(new PrivateAddressError(`the host "${hostname}" has an address that is not public`), '')
    }
    if (options.all) callback(null, addresses)
    else callback(null, first.address, first.family)
  })
}
