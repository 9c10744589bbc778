// Where channels are in Redis. Every publish needs these names, so they are computed once and kept.
import { channelTopic, epochKey, partitionOf, streamKey } from '../../redis/keys.js'
import type { ChannelRef } from '../broker.js'

/** Where a channel's stream is. */
export interface StreamLocation {
  readonly partition: number
  readonly streamKey: string
  readonly epochKey: string
}

/** A channel's pub/sub topic, and the partition that decides in a Cluster which shard carries it. */
export interface Topic {
  readonly topic: string
  readonly partition: number
}

export type ChannelLocation = StreamLocation & Topic

/** More than the channels that are busy at one time. At this number all are dropped and computed anew. */
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
    const location = {
      partition: partitionOf(ref),
      streamKey: streamKey(ref),
      epochKey: epochKey(ref),
      topic: channelTopic(ref),
    }
    const ofTenant = this.#known.get(ref.tenantId) ?? new Map<string, ChannelLocation>()
    this.#known.set(ref.tenantId, ofTenant.set(ref.channel, location))
    this.#count += 1
    return location
  }
}
