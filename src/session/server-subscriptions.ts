// Server-side subscriptions, made without a command: to channels that the connection's token names, answered with the connect reply, and to
// those that the tenant's backend puts a connection on.
import { z } from 'zod'
import { CommandError } from '../errors.js'
import type { Position } from '../broker/broker.js'
import { closeCodes, withReason } from '../protocol/codes.js'
import type { SubscribeReply } from '../protocol/commands.js'
import type { Claims } from '../tenant/claims.js'
import type { Session } from './session.js'
import {
  abandonUnlessLive,
  catchUp,
  prepare,
  release,
  subscribeReply,
  type Prepared,
} from './commands/subscribe.js'

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

/** What the client is subscribed to, names that are no channels', channels that a rule denies, and full ones: a client need not lose all for one. */
const leftOut: ReadonlySet<string> = new Set([
  'ALREADY_SUBSCRIBED',
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

/** What the tenant's backend says of a subscription. */
export interface ServerSubscription {
  readonly channel: string
  readonly since?: Position | undefined
  /** Absent: it lasts as long as the connection. */
  readonly expiresAtMs?: number | undefined
  /** JSON text for the client. */
  readonly data?: string | undefined
}

/** As if the token named the channel too: the same may be left out, and a broker that is away ends the session. A subscription that is there stays as it is. */
export function subscribeByServer(session: Session, wanted: ServerSubscription): void {
  pushSubscription(session, wanted).catch((error: unknown) =>
    session.bug(error, `cannot subscribe to ${wanted.channel}`),
  )
}

async function pushSubscription(session: Session, wanted: ServerSubscription): Promise<void> {
  const { channel, data, expiresAtMs, since } = wanted
  const prepared = await prepareOne(session, channel, since)
  if (!prepared) return
  try {
    if (session.closed || prepared.subscription.ended) return
    const answer = { caughtUp: catchUp(prepared), expiresAtMs }
    const subscribed = {
      ...subscribeReply(prepared, answer),
      data: data === undefined ? data : Buffer.from(data),
    }
    for (const payload of session.codec.subscribed(subscribed)) session.push({ payload })
    release(prepared, answer)
  } finally {
    await abandonUnlessLive(prepared.subscription)
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
