// Sending everybody elsewhere, in good order: tell, then close a few at a time, so that the other gateways can take them in.
import { closeCodes } from '../protocol/codes.js'
import type { Session } from '../session/session.js'

const stepMs = 100

/**
 * Closes all sessions with 3001 within `windowMs`, evenly; each was told before when its turn comes. The gateway must have stopped
 * taking new ones. `sleep` is the only time it knows.
 */
export async function drain(
  sessions: ReadonlySet<Session>,
  options: { windowMs: number; sleep: (ms: number) => Promise<unknown> },
): Promise<void> {
  const { windowMs, sleep } = options
  const order = [...sessions]
  const turnMs = (index: number): number => Math.floor((index / order.length) * windowMs)
  order.forEach((session, index) => session.adviseReconnect(turnMs(index)))
  let next = 0
  for (let elapsedMs = 0; next < order.length && sessions.size > 0; elapsedMs += stepMs) {
    for (; next < order.length && turnMs(next) <= elapsedMs; next += 1)
      order[next]?.close(closeCodes.shutdown)
    if (next < order.length && sessions.size > 0) await sleep(stepMs)
  }
  // Those whose handshake was under way when it began.
  for (const session of sessions) session.close(closeCodes.shutdown)
}
