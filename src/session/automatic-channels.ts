// The automatic channels of the chat endpoint: its clients are subscribed to the lobby and to their own
// direct messages without a command, when they connect and whenever a change of the rules allows it.
import { CommandError } from '../errors.js'
import { directChannel, lobbyChannel } from '../protocol/chat/channels.js'
import type { Client } from './client.js'
import { handleSubscribe } from './commands/subscribe.js'

/**
 * Error codes that are reported to the client. The client did not request the channel, so without a report it
 * would not learn that a full quota keeps it out. Other refusals are not reported: a tenant without rules for
 * these channels has chosen not to have them.
 */
const reportedCodes: ReadonlySet<string> = new Set(['CHANNEL_LIMIT', 'SUBSCRIPTION_LIMIT'])

const defaultRetryAfterMs = 1_000

/**
 * Subscribes the client to those automatic channels that it is not subscribed to, in the background. Does
 * nothing at other endpoints, and on a client that is not connected. A tenant without rules for these
 * channels has no lobby or no direct messages, but its rooms work.
 */
export function subscribeAutomaticChannels(client: Client): void {
  if (client.codec.name !== 'chat' || !client.connected) return
  subscribeMissing(client).catch((error: unknown) =>
    client.reportBug(error, 'cannot subscribe to automatic channels'),
  )
}

async function subscribeMissing(client: Client): Promise<void> {
  let retryAfterMs: number | undefined
  for (const channel of [lobbyChannel, directChannel(client.identity.user)]) {
    if (!client.connected) return
    if (client.subscriptions.has(channel)) continue
    try {
      await handleSubscribe(client, {
        kind: 'subscribe',
        channel,
        token: '',
        joinLeave: true,
        recoverable: true,
        gapIsError: false,
      })
    } catch (error) {
      if (!(error instanceof CommandError)) client.reportBug(error, `cannot subscribe to ${channel}`)
      else if (reportedCodes.has(error.code)) client.replyError(undefined, error)
      else if (error.code === 'BROKER_UNAVAILABLE') retryAfterMs = error.retryAfterMs ?? defaultRetryAfterMs
    }
  }
  // The client did not request these subscriptions and does not retry them, so the gateway does.
  if (retryAfterMs !== undefined && client.connected)
    client.context.wheel.after(retryAfterMs, () => subscribeAutomaticChannels(client))
}
