// Checks the limits of channels against the counts of one gateway.
import type { ChannelLease, ChannelRefusal, ChannelSource } from './ledger.js'

/** What is known of the other gateways. */
export interface OtherGateways {
  /** The channels that only other gateways use. */
  readonly channels: number
  /** The subscribers of the channel on the other gateways. */
  readonly subscribers: number
  /** The channel is counted already, whatever this gateway does. */
  readonly isCounted: boolean
}

const nothing: OtherGateways = { channels: 0, subscribers: 0, isCounted: false }

/**
 * Returns the refusal of one more use of the channel. `added`: the source contains the subscriber already.
 */
export function channelRefusal(
  source: ChannelSource,
  { added = false, channel, subscribe }: { channel: string; subscribe: boolean; added?: boolean },
  others: OtherGateways = nothing,
): ChannelRefusal | undefined {
  const channelLimits = source.channelLimits()
  const own = source.useOf(channel)
  const before = added ? 1 : 0
  const isUsed = others.isCounted || (own !== undefined && (own.subscribers > before || own.storedForMs > 0))
  const channels = source.count() + others.channels - (own && !isUsed ? 1 : 0)
  if (!isUsed && channels >= channelLimits.max) return { limit: 'max', used: channels }
  const subscribers = (own?.subscribers ?? 0) + others.subscribers - before
  return subscribe && subscribers >= channelLimits.subscribers
    ? { limit: 'subscribers', used: subscribers }
    : undefined
}

/** The channels of a tenant that only one gateway serves. */
export class LocalChannels implements ChannelLease {
  readonly #source: ChannelSource

  constructor(source: ChannelSource) {
    this.#source = source
  }

  get usedByAll(): number {
    return this.#source.count()
  }

  admit(channel: string, { subscribe }: { subscribe: boolean }): ChannelRefusal | undefined {
    return channelRefusal(this.#source, { channel, subscribe })
  }

  count(): void {}

  changed(): void {}
}
