// Closes sessions a few at a time, so that the other gateways can handle the reconnects of their clients.
import type { CloseCode } from '../../protocol/codes.js'
import type { OpenSession } from '../../session/context.js'

const stepMs = 100

export interface CloseGraduallyOptions {
  /** A code after which clients reconnect. */
  readonly code: CloseCode
  /** The time over which the closes are spread. 0: all sessions are closed at once. */
  readonly windowMs: number
  /** The only source of time here. */
  readonly sleep: (ms: number) => Promise<unknown>
  /** Checked at each step. True: no session is left, or another task closes the rest. */
  readonly isStopped: () => boolean
}

/**
 * Closes `sessions` in the given order, evenly over `windowMs`. Each session is advised beforehand when its
 * turn comes. Resolves to the number of sessions that it closed, those that were closed already included.
 */
export async function closeGradually(
  sessions: readonly OpenSession[],
  options: CloseGraduallyOptions,
): Promise<number> {
  const { code, isStopped, sleep, windowMs } = options
  const turnMs = (index: number): number => Math.floor((index / sessions.length) * windowMs)
  sessions.forEach((session, index) => session.adviseReconnect(turnMs(index)))
  let next = 0
  for (let elapsedMs = 0; next < sessions.length && !isStopped(); elapsedMs += stepMs) {
    for (; next < sessions.length && turnMs(next) <= elapsedMs; next += 1) sessions[next]?.close(code)
    if (next < sessions.length && !isStopped()) await sleep(stepMs)
  }
  return next
}
