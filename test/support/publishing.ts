// Somebody who talks all the while something else happens.
import { setTimeout as pace } from 'node:timers/promises'
import type { Centrifuge } from 'centrifuge'

/**
 * Publishes 0, 1, 2, … each after the ack of the one before, a hundred a second at most, until it is told to stop; gives how many there were.
 * A recovery brings at most 300 at once, and a client may say so much in a second.
 */
export function publishing(client: Centrifuge, channel: string): () => Promise<number> {
  const stop = new AbortController()
  let count = 0
  const running = (async () => {
    for (; !stop.signal.aborted; count += 1) await Promise.all([client.publish(channel, count), pace(10)])
  })()
  // A test that fails before it stops this fails for its own reason.
  running.catch(() => {})
  return async () => {
    stop.abort()
    await running
    return count
  }
}
