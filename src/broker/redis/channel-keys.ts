// Where channels lie in Redis. Names that are asked for at every publish are made once.
import { channelTopic, epochKey, partitionOf, streamKey } from '../../redis/keys.js'
import type { ChannelRef } from '../broker.js'
import type { Topic } from './subscriber.js'
import type { StreamPlace } from './write-commands.js'

export type ChannelPlace = StreamPlace & Topic

/** Above it all are made anew: more than are busy at a time. */
const placesMax = 20_000

export class Places {
  /** By tenant and channel. */
  #known = new Map<string, Map<string, ChannelPlace>>()
  #count = 0

  of(ref: ChannelRef): ChannelPlace {
    const known = this.#known.get(ref.tenantId)?.get(ref.channel)
    if (known) return known
    if (this.#count === placesMax) {
      this.#known = new Map()
      this.#count = 0
    }
    const place = {
      partition: partitionOf(ref),
      streamKey: streamKey(ref),
      epochKey: epochKey(ref),
      topic: channelTopic(ref),
    }
    const ofTenant = this.#known.get(ref.tenantId) ?? new Map<string, ChannelPlace>()
    this.#known.set(ref.tenantId, ofTenant.set(ref.channel, place))
    this.#count += 1
    return place
  }
}
