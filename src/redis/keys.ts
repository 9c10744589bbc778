// The names of all Redis keys and topics; no other file creates them. In a Cluster the keys of one script
// must be in one slot, so all names of a channel share a hash tag: one of 128, chosen by tenant and channel.
// A standalone Redis uses the same names, so that data can move to a Cluster unchanged.
import { slotOf } from './slots.js'

/** A channel, and the tenant that it belongs to. */
export interface TenantChannel {
  readonly tenantId: string
  readonly channel: string
}

/**
 * Tag n hashes to a slot in the middle of the n-th 128th of Redis's 16,384 slots, so that any number of
 * masters gets an equal share of the tags.
 */
const tags: readonly string[] = (
  '7g 7c 7o 7k 8w 8s co ck 4n 4j 4f 4b 3 7 x7 x3 1p 1t 1x 65 b9 et b1 b5 2y 54 2q 2u a0 a4 a8 fu ' +
  'bm 9y 9u 9q 6m 6i 6e 6a ad y1 al ah 5d i9 5l 5h c3 c7 dr dv 73 77 kb kf g c o k 3s 3w 42 46 ' +
  '16 12 6w 6s 9o 9k 9g 9c 5v 5r 27 23 av ar f7 az dy l5 kp kt 81 85 89 dd 3a 3e 3i 3m u q gi y ' +
  '8e 8a 8m 8i 7u 7q lm 7y g5 g1 14s g9 35 31 4t 39 1s ef 93 97 1b 1f 1j 1n 53 fo fc fg 2k 2o 2c 2g'
).split(' ')

/** The number of partitions that channels are divided into. */
export const partitionCount = tags.length

/** The slot of each partition. */
export const partitionSlots: readonly number[] = tags.map(slotOf)

/** Returns the partition of all keys of a channel: 0 to 127. */
export function partitionOf({ channel, tenantId }: TenantChannel): number {
  return hash(`${tenantId} ${channel}`) % tags.length
}

/** Returns the key of the stream with the history of a channel. */
export function streamKey(name: TenantChannel): string {
  return channelKey(name, 'stream', name.channel)
}

/** Returns the key with the epoch of a channel. */
export function epochKey(name: TenantChannel): string {
  return channelKey(name, 'epoch', name.channel)
}

/** Returns the pub/sub topic on which the publications of a channel are sent. It is not a key. */
export function channelTopic(name: TenantChannel): string {
  return channelKey(name, 'live', name.channel)
}

/**
 * Returns the key with the result of a publish with the idempotency key `key`. Channel names contain no
 * space, so two pairs of channel and idempotency key never share a name.
 */
export function idempotencyKey(name: TenantChannel, key: string): string {
  return channelKey(name, 'once', `${name.channel} ${key}`)
}

/**
 * Returns the keys with the presence of a channel; presence/redis/scripts.ts describes their contents.
 * Channel names contain no space.
 */
export function presenceKeys(name: TenantChannel): {
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

/** The hash tag of all keys of the quota ledger. */
export const quotasTag = 'quotas'

/** Returns a key that never exists. The reply to a command on it shows whether a master serves its slot. */
export function probeKey(tag: string): string {
  return `parley:{${tag}}:probe`
}

/**
 * Returns a key that counts the use of a tenant's quota across all gateways, such as `connections`. The
 * entries of each gateway expire. All these keys are in one slot.
 */
export function leaseKey(tenantId: string, what: string): string {
  return `parley:{${quotasTag}}:${tenantId}:lease:${what}`
}

/** Returns the key with the gateways that share the quotas of an installation. */
export function ledgerGatewaysKey(installation: string): string {
  return `parley:{${quotasTag}}:${installation}:gateways`
}

/**
 * Returns the key of the generation record of a partition. The record states which master's history the
 * streams continue. It is in the slot of the streams and moves with them.
 */
export function generationKey(partition: number): string {
  return `parley:{${tags[partition]}}:generation`
}

/**
 * Returns the key of a hash that counts what a tenant's histories occupy in one partition: channel → bytes,
 * and '' → the sum.
 */
export function storedBytesKey(tenantId: string, partition: number): string {
  return `parley:{${tags[partition]}}:${tenantId}:stored:bytes`
}

/**
 * Returns the key of a sorted set with the streams of a partition: tenant id, a space and the channel, by the
 * time at which the stream is to be swept, in milliseconds of the clock of Redis.
 */
export function sweepKey(partition: number): string {
  return `parley:{${tags[partition]}}:sweep`
}

/** Returns the member of a sweep that names the stream of a channel. A tenant's id contains no space. */
export function sweepMember({ channel, tenantId }: TenantChannel): string {
  return `${tenantId} ${channel}`
}

/** Returns the channel that a member of a sweep names. */
export function channelOfSweepMember(member: string): TenantChannel {
  const space = member.indexOf(' ')
  return { tenantId: member.slice(0, space), channel: member.slice(space + 1) }
}

/** Returns a key that exists while the streams of a partition were recently listed for the sweep. */
export function listedKey(partition: number): string {
  return `parley:{${tags[partition]}}:listed`
}

/** A SCAN pattern that matches the streams of all channels. */
export const streamKeyPattern = 'parley:{*}:*:stream:*'

/** Returns the channel whose stream `key` holds, or undefined when the key is no stream of a channel. */
export function channelOfStreamKey(key: string): TenantChannel | undefined {
  const [, tenantId, channel] = /^parley:\{[^}]*\}:([^:]+):stream:(.+)$/s.exec(key) ?? []
  return tenantId === undefined || channel === undefined ? undefined : { tenantId, channel }
}

/**
 * Returns the key of a fence. A gateway writes it after reads, so that a WAIT after the write covers
 * everything that was read from any partition of the same master.
 */
export function fenceKey(partition: number, gatewayId: string): string {
  return `parley:{${tags[partition]}}:fence:${gatewayId}`
}

/** The hash tag of the catalog and the heartbeats. */
export const catalogTag = 'catalog'

/**
 * The keys of one installation's catalog. They are in one slot, so that a version and its contents can be
 * written atomically.
 */
export interface CatalogKeys {
  /** Hash: the version of the catalog, and data about its writer. */
  readonly version: string
  /** Hash: tenant → record. */
  readonly tenants: string
  /** Hash: tenant → stamp, which identifies a record without reading it. */
  readonly stamps: string
  /** Stream: the most recent changes. */
  readonly log: string
  /** The pub/sub topic of notifications about new versions. */
  readonly changes: string
  /** Hash: gateway → heartbeat. */
  readonly gateways: string
  /**
   * Hash: gateway → usage of its tenants. It is separate from the heartbeats because it is much longer and
   * rarely read.
   */
  readonly usage: string
  /** Hash: tenant id → retention record, which says what happens to the data of a deleted tenant. */
  readonly retention: string
}

/** Returns the keys of an installation's catalog. */
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
    retention: `${prefix}:remains`,
  }
}

/**
 * Returns the keys of a catalog that is being written. No gateway reads it before it replaces the current
 * catalog.
 */
export function catalogStagingKeys(
  installation: string,
  nonce: string,
): Pick<CatalogKeys, 'tenants' | 'stamps'> {
  const prefix = `parley:{${catalogTag}}:${installation}:staging:${nonce}`
  return { tenants: `${prefix}:tenants`, stamps: `${prefix}:stamps` }
}

/** The hash tag of all keys of revocations. */
export const revocationsTag = 'revocations'

/** The keys of an installation's revocations. All revocations are in one slot. */
export interface RevocationKeys {
  /** Stream: the most recent changes of all tenants. */
  readonly log: string
  /** Hash: the id of each tenant that has revocations → 1. */
  readonly tenants: string
  /** The pub/sub topic of notifications about changes. */
  readonly changes: string
}

export function revocationKeys(installation: string): RevocationKeys {
  const prefix = `parley:{${revocationsTag}}:${installation}`
  return { log: `${prefix}:log`, tenants: `${prefix}:tenants`, changes: `${prefix}:changes` }
}

/** Returns the key of a tenant's revocations: a sorted set of texts, all with score 0. */
export function tenantRevocationsKey(tenantId: string): string {
  return `parley:{${revocationsTag}}:${tenantId}:revoked:all`
}

/** A SCAN pattern that matches all keys of tenants, and some other keys. */
export const tenantKeyPattern = 'parley:{*}:*:*'

/**
 * Returns the id of the tenant whose data `key` holds. Returns undefined for keys that belong to no single
 * tenant, such as catalogs and generation records.
 */
export function tenantIdOfKey(key: string): string | undefined {
  const [, tag = '', tenantId, what] = /^parley:\{([^}]*)\}:([^:]+):([^:]+):/.exec(key) ?? []
  const ofTenant =
    tags.includes(tag) ||
    (tag === quotasTag && what === 'lease') ||
    (tag === revocationsTag && what === 'revoked')
  return ofTenant ? tenantId : undefined
}

/** Returns the id of the tenant in a key or topic of a channel. Does not check that it is one. */
export function tenantPartOf(key: string): string {
  const from = key.indexOf(':', key.indexOf(':') + 1) + 1
  return key.slice(from, key.indexOf(':', from))
}

function channelKey(name: TenantChannel, what: string, rest: string): string {
  return `parley:{${tags[partitionOf(name)]}}:${name.tenantId}:${what}:${rest}`
}

/**
 * Hashes a text with FNV-1a over UTF-16 code units, mixed at the end because only the lowest bits are used.
 * The hash is part of the stored layout: with another hash no stored stream would be found.
 */
function hash(text: string): number {
  let bits = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1)
    bits = Math.imul(bits ^ text.charCodeAt(index), 0x01000193)
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
