// The Redis key names, topics and partitions of channels. Every publish needs them, so they are cached.
import {
  channelTopic,
  epochKey,
  generationKey,
  partitionOf,
  storedBytesKey,
  streamKey,
  sweepKey,
} from '../../redis/keys.js'
import type { ChannelRef } from '../broker.js'

/** The partition and the keys of a channel's stream. */
export interface StreamLocation extends ChannelRef {
  readonly partition: number
  readonly streamKey: string
  readonly epochKey: string
  /** The generation record of the partition, which holds the store id. */
  readonly recordKey: string
  /** The hash with the bytes that the tenant's histories occupy in the partition. */
  readonly storedKey: string
  /** The sorted set of streams to sweep. */
  readonly sweepKey: string
}

/**
 * A channel's pub/sub topic, and its partition, which in a Cluster determines the shard that carries the
 * topic.
 */
export interface Topic {
  readonly topic: string
  readonly partition: number
}

export interface ChannelLocation extends StreamLocation, Topic {
  /** True: the channel is the gateways' own, and is also stored while Redis is at maxmemory. */
  readonly reserved: boolean
}

/**
 * The tenant ids and the names of the gateways' own channels begin with this; those of clients never do.
 */
const ownPrefix = '$'

/**
 * The size of the cache: more than the number of channels that are busy at one time. A full cache is emptied.
 */
const knownMax = 20_000

export class ChannelKeys {
  /** By tenant and channel. */
  #known = new Map<string, Map<string, ChannelLocation>>()
  #count = 0

  of(ref: ChannelRef): ChannelLocation {
    const known = this.#known.get(ref.tenantId)?.get(ref.channel)
    if (known) return known
    if (this.#count === knownMax) {
      this.#known = new Map()
      this.#count = 0
    }
    const location = locationOf(ref)
    const ofTenant = this.#known.get(ref.tenantId) ?? new Map<string, ChannelLocation>()
    this.#known.set(ref.tenantId, ofTenant.set(ref.channel, location))
    this.#count += 1
    return location
  }
}

/** Returns the names of a channel without the cache, for work that visits each channel once. */
export function locationOf({ channel, tenantId }: ChannelRef): ChannelLocation {
  const ref = { tenantId, channel }
  const partition = partitionOf(ref)
  return {
    tenantId,
    channel,
    partition,
    streamKey: streamKey(ref),
    epochKey: epochKey(ref),
    topic: channelTopic(ref),
    recordKey: generationKey(partition),
    storedKey: storedBytesKey(tenantId, partition),
    sweepKey: sweepKey(partition),
    reserved: tenantId.startsWith(ownPrefix) || channel.startsWith(ownPrefix),
  }
}
