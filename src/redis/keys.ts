// The only place that makes the names of Redis keys and topics. In a Cluster all that one script or pipeline touches must lie in one slot,
// so a channel's names share a tag: one of 128, picked by tenant and channel. Standalone uses the same names: moving needs no rewriting.
import { slotOf } from './slots.js'

export interface ChannelName {
  readonly tenantId: string
  readonly channel: string
}

/** Tag n hashes to a slot in the middle of the n-th 128th of Redis's 16,384, so that any number of masters gets an equal share of tags. */
const tags: readonly string[] = (
  '7g 7c 7o 7k 8w 8s co ck 4n 4j 4f 4b 3 7 x7 x3 1p 1t 1x 65 b9 et b1 b5 2y 54 2q 2u a0 a4 a8 fu ' +
  'bm 9y 9u 9q 6m 6i 6e 6a ad y1 al ah 5d i9 5l 5h c3 c7 dr dv 73 77 kb kf g c o k 3s 3w 42 46 ' +
  '16 12 6w 6s 9o 9k 9g 9c 5v 5r 27 23 av ar f7 az dy l5 kp kt 81 85 89 dd 3a 3e 3i 3m u q gi y ' +
  '8e 8a 8m 8i 7u 7q lm 7y g5 g1 14s g9 35 31 4t 39 1s ef 93 97 1b 1f 1j 1n 53 fo fc fg 2k 2o 2c 2g'
).split(' ')

export const partitionCount = tags.length

/** Of each partition. */
export const partitionSlots: readonly number[] = tags.map(slotOf)

/** Which of the partitions all lies in that belongs to a channel: 0 to 127. */
export function partitionOf({ channel, tenantId }: ChannelName): number {
  return hash(`${tenantId} ${channel}`) % tags.length
}

/** The entries of a channel: a stream. */
export function streamKey(name: ChannelName): string {
  return channelKey(name, 'stream', name.channel)
}

/** The epoch of a channel, beside its stream. */
export function epochKey(name: ChannelName): string {
  return channelKey(name, 'epoch', name.channel)
}

/** Where a channel's publications are announced: a topic of pub/sub, no key. */
export function channelTopic(name: ChannelName): string {
  return channelKey(name, 'live', name.channel)
}

/** What a publish with this key gave. No channel holds a space, so that no two pairs share a name. */
export function idempotencyKey(name: ChannelName, key: string): string {
  return channelKey(name, 'once', `${name.channel} ${key}`)
}

/** Who is on a channel: what each holds stands in presence/redis-scripts.ts. No channel holds a space. */
export function presenceKeys(name: ChannelName): {
  readonly sessions: string
  readonly records: string
  readonly order: string
  readonly users: string
} {
  const prefix = channelKey(name, 'presence', name.channel)
  return {
    sessions: `${prefix} sessions`,
    records: `${prefix} records`,
    order: `${prefix} order`,
    users: `${prefix} users`,
  }
}

/** Of all that the ledger keeps. */
export const quotasTag = 'quotas'

/** Of a key that never is: whether its slot is served can be asked all the same. */
export function probeKey(tag: string): string {
  return `parley:{${tag}}:probe`
}

/** What counts a tenant's things across the cluster, such as connections: gateways hold shares of it that expire. All are in one slot. */
export function leaseKey(tenantId: string, what: string): string {
  return `parley:{${quotasTag}}:${tenantId}:lease:${what}`
}

/** The gateways that divide an installation's quotas. */
export function ledgerGatewaysKey(installation: string): string {
  return `parley:{${quotasTag}}:${installation}:gateways`
}

/** Which master's history the streams of a partition continue: it moves with them. */
export function recordKey(partition: number): string {
  return `parley:{${tags[partition]}}:generation`
}

/** Written so that a WAIT behind it covers all that was read before it, in whatever partition of the same master. */
export function fenceKey(partition: number, gatewayId: string): string {
  return `parley:{${tags[partition]}}:fence:${gatewayId}`
}

/** Of catalog and heartbeats. */
export const catalogTag = 'catalog'

/** The tenants of one installation, in one slot: a version and what it holds are written together. */
export interface CatalogKeys {
  readonly version: string
  /** Records by tenant: a hash. */
  readonly tenants: string
  /** What is needed to know a record without reading it, by tenant: a hash. */
  readonly stamps: string
  readonly log: string
  /** A topic. */
  readonly changes: string
  readonly gateways: string
  /** What gateways tell beside their heartbeat: much longer, and seldom read. */
  readonly usage: string
  /** What is to become of tenants' data once they are gone, by tenant id: a hash. */
  readonly remains: string
}

export function catalogKeys(installation: string): CatalogKeys {
  const prefix = `parley:{${catalogTag}}:${installation}`
  return {
    version: `${prefix}:version`,
    tenants: `${prefix}:tenants`,
    stamps: `${prefix}:stamps`,
    log: `${prefix}:log`,
    changes: `${prefix}:changes`,
    gateways: `${prefix}:gateways`,
    usage: `${prefix}:usage`,
    remains: `${prefix}:remains`,
  }
}

/** A catalog in the making, which nobody reads before it takes the other's place. */
export function catalogStagingKeys(
  installation: string,
  nonce: string,
): Pick<CatalogKeys, 'tenants' | 'stamps'> {
  const prefix = `parley:{${catalogTag}}:${installation}:staging:${nonce}`
  return { tenants: `${prefix}:tenants`, stamps: `${prefix}:stamps` }
}

/** All that is kept for tenants, and more: what SCAN is to match. */
export const tenantKeyPattern = 'parley:{*}:*:*'

/** Whose data the key holds; undefined for what is nobody's alone (catalogs, records). */
export function tenantIdOfKey(key: string): string | undefined {
  const [, tag = '', tenantId, what] = /^parley:\{([^}]*)\}:([^:]+):([^:]+):/.exec(key) ?? []
  return tags.includes(tag) || (tag === 'quotas' && what === 'lease') ? tenantId : undefined
}

function channelKey(name: ChannelName, what: string, rest: string): string {
  return `parley:{${tags[partitionOf(name)]}}:${name.tenantId}:${what}:${rest}`
}

/** FNV-1a over UTF-16 units, mixed at the end, since the lowest bits alone are used. Part of the stored layout: another would hide every stream. */
function hash(text: string): number {
  let bits = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1)
    bits = Math.imul(bits ^ text.charCodeAt(index), 0x01000193)
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
