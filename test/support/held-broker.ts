// A broker whose history answers wait until the test releases them, to test what happens in between.
import type { ChannelRef, HistoryPage, HistoryQuery } from '../../src/broker/broker.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { systemClock } from '../../src/time.js'
import { Arrivals } from './waiting.js'

export class HeldBroker extends MemoryBroker {
  /** One function for each history that was read and not returned yet. Calling it returns the history. */
  readonly held = new Arrivals<() => void>('a read of history')
  holding = false

  constructor(data = new MemoryBrokerData({ clock: systemClock })) {
    super(data)
  }

  /** Unknown, so that every subscriber reads the history. */
  override confirmedPosition(): undefined {
    return undefined
  }

  override async history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage> {
    const page = await super.history(ref, query)
    // The gateways' own channels are not held.
    const isOwn = ref.channel.startsWith('$')
    if (this.holding && !isOwn) await new Promise<void>((resolve) => this.held.push(resolve))
    return page
  }
}
