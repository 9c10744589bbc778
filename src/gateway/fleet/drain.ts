// Sending everybody elsewhere, in good order.
import { closeCodes } from '../../protocol/codes.js'
import type { SessionContext } from '../../session/context.js'
import { closeGradually } from './close-gradually.js'

/**
 * Closes all sessions with 3001 within `windowMs`, evenly; each was told before when its turn comes. Resolves when their leaves are
 * announced, so that the broker may be closed. The gateway must have stopped taking new ones. `sleep` is the only time it knows.
 */
export async function drain(
  { pendingLeaves: departures, sessions }: Pick<SessionContext, 'sessions' | 'departures'>,
  options: { windowMs: number; sleep: (ms: number) => Promise<unknown> },
): Promise<void> {
  const code = closeCodes.shutdown
  await closeGradually([...sessions], { ...options, code, isStopped: () => sessions.size === 0 })
  // Those whose handshake was under way when it began.
  for (const session of sessions) session.close(code)
  // Presence, which they wait for, answers or refuses in time.
  await Promise.all(departures)
}
