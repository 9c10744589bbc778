// Keeps the presence of live subscriptions from expiring.
import type { ClientInfo } from '../broker/broker.js'
import type { Log } from '../log.js'
import type { Presence } from '../presence/presence.js'
import type { Hub } from './hub.js'

export interface PresenceRefresherDeps {
  readonly hub: Pick<Hub, 'liveChannels'>
  readonly presence: Presence
  readonly log: Log
}

export class PresenceRefresher {
  readonly #deps: PresenceRefresherDeps
  #refreshing = false

  constructor(deps: PresenceRefresherDeps) {
    this.#deps = deps
  }

  /**
   * Refreshes all channels concurrently; the presence store limits its own concurrency. Never rejects: it
   * logs failures.
   */
  async refresh(): Promise<void> {
    // The previous refresh still runs when Redis is unavailable for longer than the interval.
    if (this.#refreshing) return
    this.#refreshing = true
    const { hub, log, presence } = this.#deps
    const refreshes: Promise<void>[] = []
    for (const { ref, subscriptions } of hub.liveChannels()) {
      const entries = new Map<string, ClientInfo>()
      for (const subscription of subscriptions) {
        if (subscription.live && subscription.present) entries.set(subscription.client.id, subscription.info)
      }
      if (entries.size > 0) refreshes.push(presence.refresh(ref, entries))
    }
    const failed = (await Promise.allSettled(refreshes)).filter((result) => result.status === 'rejected')
    this.#refreshing = false
    if (failed.length > 0)
      log.warn(
        { err: failed[0]?.reason, channels: failed.length },
        'cannot refresh presence; retrying at the next interval',
      )
  }
}
