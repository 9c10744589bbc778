// Closes all sessions of a gateway before it exits, so that their clients reconnect to other gateways.
import { closeCodes } from '../../protocol/codes.js'
import type { SessionContext } from '../../session/context.js'
import { closeGradually } from './close-gradually.js'

/**
 * Closes all sessions with code 3001, evenly over `windowMs`, after advising each when its turn comes.
 * Resolves when the leaves of all sessions are announced, so that the broker can be closed. The gateway must
 * have stopped accepting sessions. `sleep` is the only source of time.
 */
export async function drain(
  { pendingLeaves, sessions }: Pick<SessionContext, 'sessions' | 'pendingLeaves'>,
  options: { windowMs: number; sleep: (ms: number) => Promise<unknown> },
): Promise<void> {
  const code = closeCodes.shutdown
  await closeGradually([...sessions], { ...options, code, isStopped: () => sessions.size === 0 })
  // Sessions whose handshake was in progress when the drain began.
  for (const session of sessions) session.close(code)
  // The leaves wait for the presence store, which answers or fails within its own deadline.
  await Promise.all(pendingLeaves)
}
