// The chat door's clients are in the lobby and in their own inbox without asking: from the start, and again when a rule lets them back in.
import { CommandError } from '../errors.js'
import { directChannel, lobbyChannel } from '../protocol/chat/channels.js'
import type { Session } from './session.js'
import { subscribe } from './commands/subscribe.js'

/** Rules that name neither channel are a tenant's choice and no news. A full quota is: nobody asked, so nobody would learn what does not arrive. */
const told: ReadonlySet<string> = new Set(['CHANNEL_LIMIT', 'SUBSCRIPTION_LIMIT'])

const defaultRetryAfterMs = 1_000

/** Does nothing at other doors. A tenant without rules for these channels has no lobby or no direct messages; its rooms work all the same. */
export async function subscribeOwn(session: Session): Promise<void> {
  if (session.codec.name !== 'chat' || !session.connected) return
  let retryAfterMs: number | undefined
  for (const channel of [lobbyChannel, directChannel(session.identity.user)]) {
    if (!session.connected) return
    if (session.subscriptions.has(channel)) continue
    try {
      await subscribe(session, {
        kind: 'subscribe',
        channel,
        token: '',
        joinLeave: true,
        recoverable: true,
        gapIsError: false,
      })
    } catch (error) {
      if (!(error instanceof CommandError)) session.bug(error, `cannot subscribe to ${channel}`)
      else if (told.has(error.code)) session.refuse(undefined, error)
      else if (error.code === 'BROKER_UNAVAILABLE') retryAfterMs = error.retryAfterMs ?? defaultRetryAfterMs
    }
  }
  // Nobody but us would try again: the client never asked.
  if (retryAfterMs !== undefined && session.connected)
    session.context.wheel.after(retryAfterMs, () => again(session))
}

function again(session: Session): void {
  subscribeOwn(session).catch((error: unknown) => session.bug(error, 'cannot restore own channels'))
}
