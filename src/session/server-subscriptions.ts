// Server-side subscriptions, which are made without a command of the client. A connection token names
// channels, and the connect reply contains these subscriptions. The tenant's backend can subscribe a
// connection to further channels.
import { z } from 'zod'
import { CommandError } from '../errors.js'
import type { Position } from '../broker/broker.js'
import { closeCodes, withDetail } from '../protocol/codes.js'
import type { SubscribeReply } from '../protocol/commands.js'
import type { Claims } from '../tenant/claims.js'
import type { TenantRuntime } from './tenant/runtime.js'
import { catchUp } from './catch-up.js'
import type { Client } from './client.js'
import {
  abandonUnlessLive,
  prepareSubscription,
  startDelivery,
  subscribeReply,
  type PreparedSubscription,
} from './commands/subscribe.js'

// Claims with these names but another shape belong to another application and are ignored.
const SubsClaim = z.record(z.string(), z.unknown())
const ChannelsClaim = z.array(z.string())

/**
 * Charges the subscriptions of a connection that begins, and its recoveries, to the tenant's rates. Throws
 * QUOTA_EXCEEDED before anything has begun: the client connects again and loses nothing.
 */
export function chargeTokenSubscriptions(
  { policy, quota }: TenantRuntime,
  claims: Claims,
  { recovers }: { recovers: boolean },
): void {
  const { size } = channelsOf(claims)
  // `subscribeFromToken` closes the session of a token that names more channels than a connection may have.
  if (size === 0 || size > policy.limits.channels.maxSubscriptionsPerConnection) return
  if (recovers) quota.rates.requireReads(`Cannot connect and recover ${size} subscriptions`)
  quota.rates.chargeJoins(size)
}

/** Returns the channels in the claim `subs` (its keys), or else in the claim `channels`. */
function channelsOf(claims: Claims): ReadonlySet<string> {
  const subs = SubsClaim.safeParse(claims['subs'])
  if (subs.success) return new Set(Object.keys(subs.data))
  return new Set(ChannelsClaim.safeParse(claims['channels']).data)
}

/** Returns whether two tokens subscribe the connection to the same channels. */
export function sameChannels(before: Claims, after: Claims): boolean {
  const [one, other] = [channelsOf(before), channelsOf(after)]
  return one.size === other.size && Array.from(one).every((channel) => other.has(channel))
}

/**
 * Channels that are refused with one of these codes are left out, so that a client does not lose all its
 * channels because of one.
 */
const omittedCodes: ReadonlySet<string> = new Set([
  'ALREADY_SUBSCRIBED',
  'PERMISSION_DENIED',
  'INVALID_CHANNEL',
  'SUBSCRIPTION_LIMIT',
  'CHANNEL_LIMIT',
])

/**
 * Subscribes the client to the channels that its token names. Calls `reply` with the subscriptions, to send
 * the connect reply; delivery begins after it. Closes the session with 3505 when the token names more
 * channels than a connection may have, and with 3004 when the broker is unavailable. `since` holds the
 * client's position by channel.
 */
export async function subscribeFromToken(
  client: Client,
  since: ReadonlyMap<string, Position> | undefined,
  reply: (subscriptions: readonly SubscribeReply[]) => void,
): Promise<void> {
  const channels = channelsOf(client.identity.claims)
  if (channels.size > client.tenant.policy.limits.channels.maxSubscriptionsPerConnection)
    return client.close(withDetail(closeCodes.channelLimit, `the token names ${channels.size} channels`))
  // `chargeTokenSubscriptions` has charged them all.
  const attempts = Array.from(channels, (channel) =>
    prepareOne(client, channel, { since: since?.get(channel), joinCharged: true }),
  )
  const prepared = (await Promise.all(attempts)).filter((one) => one !== undefined)
  try {
    if (client.closed) return
    // A change of the rules may have ended a subscription while others were prepared.
    const active = prepared.filter(({ subscription }) => !subscription.ended)
    const completions = active.map((one) => ({ one, completion: { caughtUp: catchUp(one) } }))
    reply(completions.map(({ one, completion }) => subscribeReply(one, completion)))
    for (const { one, completion } of completions) startDelivery(one, completion)
  } finally {
    await Promise.all(prepared.map(({ subscription }) => abandonUnlessLive(client, subscription)))
  }
}

/** A subscription that the tenant's backend asks for. */
export interface ServerSubscription {
  readonly channel: string
  readonly since?: Position | undefined
  /** Milliseconds since the epoch. Absent: the subscription lasts as long as the connection. */
  readonly expiresAtMs?: number | undefined
  /** JSON text for the client. */
  readonly data?: string | undefined
}

/**
 * Subscribes the client as if its token named the channel: the same refusals leave the channel out, and an
 * unavailable broker closes the session. An existing subscription to the channel stays as it is.
 */
export function subscribeByServer(client: Client, request: ServerSubscription): void {
  pushSubscription(client, request).catch((error: unknown) =>
    client.reportBug(error, `cannot subscribe to ${request.channel}`),
  )
}

async function pushSubscription(
  client: Client,
  request: ServerSubscription,
  joinCharged = false,
): Promise<void> {
  const { channel, data, expiresAtMs, since } = request
  // The client would not repeat the request, so the gateway begins the subscription when its turn comes.
  const later = (): void =>
    whenJoinAllowed(client, (charged) => {
      pushSubscription(client, request, charged).catch((error: unknown) =>
        client.reportBug(error, `cannot subscribe to ${channel}`),
      )
    })
  const prepared = await prepareOne(client, channel, { since, joinCharged, later })
  if (!prepared) return
  try {
    if (client.closed || prepared.subscription.ended) return
    const completion = { caughtUp: catchUp(prepared), expiresAtMs }
    const subscribed = {
      ...subscribeReply(prepared, completion),
      data: data === undefined ? data : Buffer.from(data),
    }
    for (const payload of client.codec.subscribed(subscribed)) client.push({ payload })
    startDelivery(prepared, completion)
  } finally {
    await abandonUnlessLive(client, prepared.subscription)
  }
}

/**
 * Calls `begin` when the tenant's rate of subscriptions allows one more, unless the client leaves before.
 * `charged`: the subscription is charged already.
 */
export function whenJoinAllowed(client: Client, begin: (charged: boolean) => void): void {
  const { reserved, waitMs } = client.tenant.quota.rates.reserveJoin()
  client.context.wheel.after(waitMs, () => {
    if (client.connected) begin(reserved)
  })
}

/**
 * Never rejects: the caller prepares several at once and abandons each of them itself. `later`: called when
 * the tenant's rate of subscriptions is used up.
 */
async function prepareOne(
  client: Client,
  channel: string,
  { joinCharged, later, since }: { since: Position | undefined; joinCharged: boolean; later?: () => void },
): Promise<PreparedSubscription | undefined> {
  try {
    return await prepareSubscription(
      client,
      {
        kind: 'subscribe',
        channel,
        token: '',
        since,
        joinLeave: false,
        recoverable: true,
        gapIsError: false,
      },
      { byToken: true, serverSide: true, joinCharged },
    )
  } catch (error) {
    if (error instanceof CommandError && omittedCodes.has(error.code)) return undefined
    if (later && error instanceof CommandError && error.code === 'QUOTA_EXCEEDED') {
      later()
      return undefined
    }
    if (!(error instanceof CommandError)) client.reportBug(error, `cannot subscribe to ${channel}`)
    client.close(closeCodes.internal)
    return undefined
  }
}
