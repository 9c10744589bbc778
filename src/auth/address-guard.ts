// Prevents URLs in tenants' policies from reaching the cluster's own network (server-side request forgery).
import type { LookupAddress } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { callbackify } from 'node:util'

/**
 * IPv4 networks outside the public Internet: IANA's special-purpose registry, multicast, and the reserved
 * networks.
 */
const blockedIpv4: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10], // carrier-grade NAT, and the node network of some clouds
  ['127.0.0.0', 8],
  ['169.254.0.0', 16], // link-local, with the metadata services of clouds
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
 * IPv6 networks outside the public Internet: everything but 2000::/3, and some networks in it. All forms that
 * embed an IPv4 address (mapped, NAT64, 6to4, Teredo) are blocked as a whole, so that they cannot disguise
 * 127.0.0.1.
 */
const blockedIpv6: readonly (readonly [network: string, prefix: number])[] = [
  ['::', 3],
  ['4000::', 2],
  ['8000::', 1], // ULA fc00::/7, link-local fe80::/10, multicast ff00::/8 among them
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

// Two lists, because Node compares an IPv4 address with IPv6 rules as if it were mapped: `::/3` would block
// all of IPv4.
const ipv4List = new BlockList()
for (const [network, prefix] of blockedIpv4) ipv4List.addSubnet(network, prefix, 'ipv4')
const ipv6List = new BlockList()
for (const [network, prefix] of blockedIpv6) ipv6List.addSubnet(network, prefix, 'ipv6')

/**
 * Returns whether a tenant's URL may reach `address`, a literal without brackets. False for a text that is
 * not an address.
 */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !ipv4List.check(address, 'ipv4')
  if (family === 6) return !ipv6List.check(address, 'ipv6')
  return false
}

/** A host resolves to at least one address that is not public. */
export class PrivateAddressError extends Error {
  override readonly name = 'PrivateAddressError'
}

/** A name server gets this long to answer, twice. A fetch has five seconds in all. */
const resolverOptions = { timeout: 2_000, tries: 2 }

/**
 * For the `lookup` option of node:net and node:https. The checked address is the one that Node connects to,
 * so a name that resolves differently the second time (DNS rebinding) has no effect. One private address
 * among public ones refuses the host. Node does not resolve literal addresses, so the caller checks them with
 * `isPublicAddress`.
 *
 * It asks the name servers directly and not `getaddrinfo`, which blocks one of the few threads of the process
 * until the name server of a tenant's domain answers. So the file of hosts and search domains do not count.
 */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  const answer = callbackify(() => publicAddresses(hostname))
  answer((error, addresses) => {
    const [first] = error ? [] : addresses
    if (!first) callback(error, '')
    else if (options.all) callback(null, addresses)
    else callback(null, first.address, first.family)
  })
}

async function publicAddresses(hostname: string): Promise<LookupAddress[]> {
  const addresses = await resolveAll(hostname)
  if (addresses.length === 0) throw new Error(`the host "${hostname}" has no address`)
  if (addresses.every(({ address }) => isPublicAddress(address))) return addresses
  throw new PrivateAddressError(`the host "${hostname}" has an address that is not public`)
}

/** Returns the addresses of both families. Rejects when IPv4 ends with an error and IPv6 has none. */
async function resolveAll(hostname: string): Promise<LookupAddress[]> {
  // These names are loopback wherever they are resolved (RFC 6761), and name servers may not know them.
  if (/(^|\.)localhost\.?$/i.test(hostname)) return [{ address: '127.0.0.1', family: 4 }]
  const resolver = new Resolver(resolverOptions)
  const [ipv4, ipv6] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)])
  const addresses = [
    ...(ipv4.status === 'fulfilled' ? ipv4.value : []).map((address) => ({ address, family: 4 })),
    ...(ipv6.status === 'fulfilled' ? ipv6.value : []).map((address) => ({ address, family: 6 })),
  ]
  if (addresses.length === 0 && ipv4.status === 'rejected') throw ipv4.reason
  return addresses
}
