// Server-side subscriptions: channels that the connection's token names, subscribed to without a command and answered with the connect reply.
import { z } from 'zod'
import { CommandError } from '../errors.js'
import type { Position } from '../broker/broker.js'
import { closeCodes, withReason } from '../protocol/codes.js'
import type { SubscribeReply } from '../protocol/commands.js'
import type { Claims } from '../tenant/claims.js'
import type { Session } from './session.js'
import { abandonUnlessLive, catchUp, prepare, release, subscribeReply, type Prepared } from './subscribe.js'

// Claims of these names that look otherwise are somebody else's.
const Subs = z.record(z.string(), z.unknown())
const Channels = z.array(z.string())

/** The claim `subs` (its names), else `channels`. */
function channelsOf(claims: Claims): ReadonlySet<string> {
  const subs = Subs.safeParse(claims['subs'])
  if (subs.success) return new Set(Object.keys(subs.data))
  return new Set(Channels.safeParse(claims['channels']).data)
}

export function sameChannels(before: Claims, after: Claims): boolean {
  const [one, other] = [channelsOf(before), channelsOf(after)]
  return one.size === other.size && Array.from(one).every((channel) => other.has(channel))
}

/** Names that are no channels', channels that a rule denies, and full ones: a client need not lose all for one. */
const leftOut: ReadonlySet<string> = new Set([
  'PERMISSION_DENIED',
  'INVALID_CHANNEL',
  'SUBSCRIPTION_LIMIT',
  'CHANNEL_LIMIT',
])

/**
 * Subscribes to what the token names, and lets `reply` send the connect reply: from there on they are live. Ends the session with 3505 when
 * it names more than a connection may have, with 3004 when the broker is away. `since`: where the client stood, by channel.
 */
export async function subscribeFromToken(
  session: Session,
  since: ReadonlyMap<string, Position> | undefined,
  reply: (subscriptions: readonly SubscribeReply[]) => void,
): Promise<void> {
  const channels = channelsOf(session.identity.claims)
  if (channels.size > session.tenant.policy.limits.channels.maxSubscriptionsPerConnection)
    return session.close(withReason(closeCodes.channelLimit, `the token names ${channels.size} channels`))
  const attempts = Array.from(channels, (channel) => prepareOne(session, channel, since?.get(channel)))
  const prepared = (await Promise.all(attempts)).filter((one) => one !== undefined)
  try {
    if (session.closed) return
    // A rule may have ended one while others were read.
    const standing = prepared.filter(({ subscription }) => !subscription.ended)
    const answers = standing.map((one) => ({ one, answer: { caughtUp: catchUp(one) } }))
    reply(answers.map(({ one, answer }) => subscribeReply(one, answer)))
    for (const { one, answer } of answers) release(one, answer)
  } finally {
    await Promise.all(prepared.map(({ subscription }) => abandonUnlessLive(subscription)))
  }
}

/** Never rejects: of several at once, each is taken back by who waits for all. */
async function prepareOne(
  session: Session,
  channel: string,
  since: Position | undefined,
): Promise<Prepared | undefined> {
  try {
    return await prepare(
      session,
      {
        kind: 'subscribe',
        channel,
        token: '',
        since,
        joinLeave: false,
        recoverable: true,
        gapIsError: false,
      },
      { byToken: true, serverSide: true },
    )
  } catch (error) {
    if (error instanceof CommandError && leftOut.has(error.code)) return undefined
    if (!(error instanceof CommandError)) session.bug(error, `cannot subscribe to ${channel}`)
    session.close(closeCodes.internal)
    return undefined
  }
}
