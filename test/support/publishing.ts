// Publishes continuously in the background of a test.
import { setTimeout as pace } from 'node:timers/promises'
import type { Centrifuge } from 'centrifuge'

/**
 * Publishes 0, 1, 2, …, each after the acknowledgement of the previous one and at most a hundred a second.
 * The returned function stops it and resolves to the number of publications. The rate is low enough that one
 * recovery, of at most 300 publications, covers a reconnect.
 */
export function publishContinuously(client: Centrifuge, channel: string): () => Promise<number> {
  const stop = new AbortController()
  let count = 0
  const running = (async () => {
    for (; !stop.signal.aborted; count += 1) await Promise.all([client.publish(channel, count), pace(10)])
  })()
  // A test that fails before it stops this must fail with its own error.
  running.catch(() => {})
  return async () => {
    stop.abort()
    await running
    return count
  }
}
