// The automatic channels of the chat endpoint: its clients are subscribed to the lobby and to their own
// direct messages without a command, when they connect and whenever a change of the rules allows it.
import { CommandError } from '../errors.js'
import { directChannel, lobbyChannel } from '../protocol/chat/channels.js'
import type { SubscribeCommand } from '../protocol/commands.js'
import type { Client } from './client.js'
import { handleSubscribe } from './commands/subscribe.js'
import { whenJoinAllowed } from './server-subscriptions.js'

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
  for (const channel of [lobbyChannel, directChannel(client.identity.user)]) {
    if (!client.connected) return
    await subscribeTo(client, channel, { joinCharged: false })
  }
}

/** The channels for which an attempt is scheduled, so that a change of the rules adds no second one. */
const scheduled = new WeakMap<Client, Set<string>>()

/** Never rejects because the subscription is refused: it reports the refusal or tries again later. */
async function subscribeTo(
  client: Client,
  channel: string,
  { joinCharged }: { joinCharged: boolean },
): Promise<void> {
  if (client.subscriptions.has(channel) || scheduled.get(client)?.has(channel)) return
  const command: SubscribeCommand = {
    kind: 'subscribe',
    channel,
    token: '',
    joinLeave: true,
    recoverable: true,
    gapIsError: false,
  }
  try {
    await handleSubscribe(client, command, undefined, { joinCharged })
  } catch (error) {
    if (!(error instanceof CommandError)) return client.reportBug(error, `cannot subscribe to ${channel}`)
    if (!client.connected) return
    if (reportedCodes.has(error.code)) return client.replyError(undefined, error)
    // The client did not request the subscription and does not repeat it, so the gateway does.
    const again = later(client, channel)
    if (error.code === 'QUOTA_EXCEEDED') whenJoinAllowed(client, again)
    else if (error.code === 'BROKER_UNAVAILABLE')
      client.context.wheel.after(error.retryAfterMs ?? defaultRetryAfterMs, () => again(true))
    else scheduled.get(client)?.delete(channel)
  }
}

/** Marks the channel as scheduled and returns the function that begins the next attempt. */
function later(client: Client, channel: string): (joinCharged: boolean) => void {
  const channels = scheduled.get(client) ?? new Set()
  scheduled.set(client, channels.add(channel))
  return (joinCharged) => {
    channels.delete(channel)
    if (!client.connected) return
    subscribeTo(client, channel, { joinCharged }).catch((error: unknown) =>
      client.reportBug(error, `cannot subscribe to ${channel}`),
    )
  }
}
