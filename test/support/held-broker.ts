// A broker whose answers wait until a test lets them go: what happens in between is the test.
import type { ChannelRef, HistoryPage, HistoryQuery } from '../../src/broker/broker.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { systemClock } from '../../src/time.js'
import { Arrivals } from './waiting.js'

export class HeldBroker extends MemoryBroker {
  /** One for each history that was read and not yet handed over: call it to let it go. */
  readonly held = new Arrivals<() => void>('a read of history')
  holding = false

  constructor(data = new MemoryBrokerData({ clock: systemClock })) {
    super(data)
  }

  /** So that all must read. */
  override confirmedPosition(): undefined {
    return undefined
  }

  override async history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage> {
    const page = await super.history(ref, query)
    if (this.holding) await new Promise<void>((resolve) => this.held.push(resolve))
    return page
  }
}
