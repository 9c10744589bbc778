// The only place that makes the names of Redis keys and topics. In a Cluster all that one script or pipeline touches must lie in one slot,
// so a channel's names share a tag: one of 128, picked by tenant and channel. Standalone uses the same names: moving needs no rewriting.

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

/** What counts a tenant's things across the cluster, such as connections: gateways hold shares of it that expire. */
export function leaseKey(tenantId: string, what: string): string {
  return `parley:{${tagOf(tenantId, '')}}:${tenantId}:lease:${what}`
}

/** The gateways that divide an installation's quotas. */
export function ledgerGatewaysKey(installation: string): string {
  return `parley:{quotas}:${installation}:gateways`
}

/** Which master's history this Redis continues. */
export const recordKey = 'parley:{record}:generation'

/** Written so that a WAIT behind it covers all that was read before it. */
export function fenceKey(gatewayId: string): string {
  return `parley:{record}:fence:${gatewayId}`
}

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
  const prefix = `parley:{catalog}:${installation}`
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
  const prefix = `parley:{catalog}:${installation}:staging:${nonce}`
  return { tenants: `${prefix}:tenants`, stamps: `${prefix}:stamps` }
}

/** All that is kept for tenants, and more: what SCAN is to match. */
export const tenantKeyPattern = 'parley:{*}:*:*'

/** Whose data the key holds; undefined for what is nobody's alone (catalogs, records). */
export function tenantIdOfKey(key: string): string | undefined {
  const [, tag = '', tenantId, what] = /^parley:\{([^}]*)\}:([^:]+):([^:]+)/.exec(key) ?? []
  return tags.includes(tag) || (tag === 'quotas' && what === 'lease') ? tenantId : undefined
}

function channelKey({ channel, tenantId }: ChannelName, what: string, rest: string): string {
  return `parley:{${tagOf(tenantId, channel)}}:${tenantId}:${what}:${rest}`
}

/** Part of the stored layout: another hash would hide every stream that is there. */
function tagOf(tenantId: string, channel: string): string {
  return tags[hash(`${tenantId} ${channel}`) % tags.length] ?? ''
}

/** FNV-1a over UTF-16 units, mixed at the end, since the lowest bits alone are used. */
function hash(text: string): number {
  let bits = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1)
    bits = Math.imul(bits ^ text.charCodeAt(index), 0x01000193)
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
