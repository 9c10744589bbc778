// Finds the address of a client, by which strangers are counted: it comes from the socket, or from what a
// trusted proxy reports about its client.
import { BlockList, isIP } from 'node:net'

/** `192.0.2.1` or `2001:db8::1`, or such an address with the length of its network, as in `10.0.0.0/8`. */
const networkSyntax = /^([0-9A-Fa-f.:]+)(?:\/(\d{1,3}))?$/

/**
 * An entry of X-Forwarded-For. Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`; some write
 * IPv6 in brackets without one.
 */
const entrySyntax =
  /^(?:\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}|([0-9A-Fa-f:.]+))$/

/** Entries that are read, from the right. A chain of proxies is short, and a client can send thousands. */
const entriesMax = 32

/** Returns why a text is not an address or a network, as a sentence. Returns undefined when it is one. */
export function networkProblem(text: string): string | undefined {
  return parseNetwork(text)
    ? undefined
    : `"${text}" is not an address or a network: write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32.`
}

/** The proxies whose reports about their clients are accepted. */
export class TrustedProxies {
  readonly #networks = new BlockList()
  readonly #empty: boolean

  /** Takes addresses and networks. Throws when `networkProblem` finds a problem with one. */
  constructor(networks: readonly string[]) {
    this.#empty = networks.length === 0
    for (const text of networks) {
      const network = parseNetwork(text)
      if (!network) throw new Error(networkProblem(text))
      this.#networks.addSubnet(network.address, network.prefix, network.family)
    }
  }

  /** `address` is a result of `plainAddress`. */
  has(address: string): boolean {
    if (this.#empty) return false
    return this.#networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }

  /**
   * Returns the client of a request that arrived from `peer`: the rightmost address in `forwardedFor` (the
   * header X-Forwarded-For) that is not a proxy of this list. Each proxy appends the address that it saw, so
   * everything to the left of that entry may be invented by the client. An entry that is not an address ends
   * the search: the client is then the proxy that reported it. Untrusted peers cannot report anything.
   */
  clientOf(peer: string, forwardedFor: string | undefined): string {
    if (forwardedFor === undefined || !this.has(peer)) return peer
    let client = peer
    let end = forwardedFor.length
    for (let count = 0; count < entriesMax; count += 1) {
      const comma = forwardedFor.lastIndexOf(',', end - 1)
      const address = parseEntry(forwardedFor.slice(comma + 1, end).trim())
      if (address === undefined) return client
      client = address
      if (comma <= 0 || !this.has(client)) return client
      end = comma
    }
    return client
  }
}

/** Returns an IPv4 address that is mapped into IPv6 as IPv4, and an IPv6 address without its zone. */
export function plainAddress(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = groupsOf(address)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xff_ff
  const [high = 0, low = 0] = groups.slice(6)
  if (isMapped) return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
  return address.replace(/%.*$/, '')
}

/**
 * Returns what an address is counted under: an IPv4 address itself, and for IPv6 the network of 64 bits,
 * because one subscriber usually has all of its addresses.
 */
export function countedAddress(address: string): string {
  const plain = plainAddress(address)
  if (isIP(plain) !== 6) return plain
  const [a = 0, b = 0, c = 0, d = 0] = groupsOf(plain)
  return `${[a, b, c, d].map((group) => group.toString(16)).join(':')}::/64`
}

interface Network {
  readonly address: string
  readonly prefix: number
  readonly family: 'ipv4' | 'ipv6'
}

function parseNetwork(text: string): Network | undefined {
  const [, given = '', length] = networkSyntax.exec(text) ?? []
  if (isIP(given) === 0) return undefined
  const address = plainAddress(given)
  const isMapped = isIP(given) !== isIP(address)
  const bits = isIP(address) === 6 ? 128 : 32
  const prefix = length === undefined ? bits : Number(length) - (isMapped ? 96 : 0)
  if (prefix < 0 || prefix > bits) return undefined
  return { address, prefix, family: bits === 128 ? 'ipv6' : 'ipv4' }
}

function parseEntry(text: string): string | undefined {
  const [, bracketed, withPort, bare] = entrySyntax.exec(text) ?? []
  const address = bracketed ?? withPort ?? bare ?? ''
  if (isIP(address) === 0 || (bracketed !== undefined && isIP(bracketed) !== 6)) return undefined
  return plainAddress(address)
}

/** Returns the eight groups of a valid IPv6 address. */
function groupsOf(address: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address.replace(/%.*$/, ''))
  const hex = dotted
    ? `${dotted[1]}${pairOf(dotted[2], dotted[3])}:${pairOf(dotted[4], dotted[5])}`
    : address.replace(/%.*$/, '')
  const [left = '', right] = hex.split('::')
  const numbers = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const [before, after] = [numbers(left), numbers(right ?? '')]
  if (right === undefined) return before
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after]
}

/** Two bytes of a dotted address as one group. */
function pairOf(high = '0', low = '0'): string {
  return ((Number(high) << 8) | Number(low)).toString(16)
}
