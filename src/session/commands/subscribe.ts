// The subscribe command. To leave no gap, it first collects live publications, then reads the missed ones
// from history, replies, and starts delivery. This file also ends subscriptions, on command and for other
// reasons.
import type { HistoryPage } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { unsubscribeCodes } from '../../protocol/codes.js'
import type { Command, ReplyRef, SubscribeCommand, SubscribeReply } from '../../protocol/commands.js'
import { parseChannelName } from '../../tenant/channel.js'
import { secondsUntil } from '../../time.js'
import { channelSettings, isAllowed, requireSubscribeAllowed } from '../authorize.js'
import { catchUp, readMissed, type CaughtUp } from '../catch-up.js'
import type { Client } from '../client.js'
import { inTurn } from '../in-turn.js'
import { addToPresence, announce, leave, removeFromPresence, type PresenceChange } from '../join-leave.js'
import { Subscription } from '../subscription.js'
import { verifySubscriptionToken } from '../subscription-token.js'

/** `joinCharged`: the subscription has been charged to the tenant's rate already. Default: false. */
export async function handleSubscribe(
  client: Client,
  command: SubscribeCommand,
  ref?: ReplyRef,
  { joinCharged = false }: { joinCharged?: boolean } = {},
): Promise<void> {
  const { channel } = command
  const token =
    command.token === '' ? undefined : await verifySubscriptionToken(client, channel, command.token)
  if (client.closed) return
  const prepared = await prepareSubscription(client, command, { byToken: token !== undefined, joinCharged })
  try {
    await inTurn(client, () => {
      if (client.closed) return
      if (token) {
        // It may have been revoked while history was read.
        client.tenant.revocations.require(token)
        prepared.subscription.holdToken(token)
      }
      const completion = { caughtUp: catchUp(prepared), expiresAtMs: token?.expiresAtMs }
      client.reply(ref, subscribeReply(prepared, completion))
      startDelivery(prepared, completion)
    })
  } finally {
    await abandonUnlessLive(client, prepared.subscription)
  }
}

/**
 * A subscription that collects publications and has read what it missed. The caller finishes it without
 * another await, by `startDelivery` or `abandonUnlessLive`.
 */
export interface PreparedSubscription {
  readonly client: Client
  readonly subscription: Subscription
  readonly command: SubscribeCommand
  /** The page that was read from history. Undefined: the subscription does not track positions. */
  readonly page: HistoryPage | undefined
  /** A returning client gets only the newest publication instead of everything that it missed. */
  readonly newestOnly: boolean
  readonly joined: PresenceChange
}

export interface SubscriptionOrigin {
  /** A token or the backend allows the subscription, so rules can only deny it. */
  readonly byToken: boolean
  /** The token or the backend requested it, not the client. Default: false. */
  readonly serverSide?: boolean
  /** It has been charged to the tenant's rate already. Default: false. */
  readonly joinCharged?: boolean
}

/**
 * Checks a subscription and starts to collect its publications. Throws the CommandErrors that the subscribe
 * command is answered with.
 */
export async function prepareSubscription(
  client: Client,
  command: SubscribeCommand,
  { byToken, serverSide = false, joinCharged = false }: SubscriptionOrigin,
): Promise<PreparedSubscription> {
  const { tenant, subscriptions } = client
  const { tenantId, limits } = tenant.policy
  const channel = parseChannelName(command.channel, { maxLength: limits.channels.nameMaxLength })
  if (subscriptions.has(channel))
    throw new CommandError('ALREADY_SUBSCRIBED', `This connection is subscribed to "${channel}" already`)
  requireSubscribeAllowed(client, channel, byToken)
  // A refused attempt is charged too, because it asks the other gateways.
  if (!joinCharged) tenant.quota.rates.chargeJoin(channel, client.delayedMs)
  const admission = tenant.quota.admitSubscriber(channel, { ofSession: subscriptions.size })

  const settings = channelSettings(tenant, channel)
  const positioned =
    settings.history !== null &&
    (command.recoverable || command.since !== undefined) &&
    isAllowed(client, 'History', channel)
  const subscription = new Subscription(
    client,
    { tenantId, channel },
    {
      positioned,
      joinLeave: settings.joinLeave && command.joinLeave && isAllowed(client, 'Presence', channel),
      present: settings.presence,
      byToken,
      serverSide,
      delta: command.delta,
      filter: command.filter,
    },
  )
  register(client, subscription)
  const newestOnly = settings.history?.newestOnly ?? false
  if (admission) {
    await untilAdmitted(client, subscription, admission)
    // It ended while the other gateways were asked. The caller sees that.
    if (subscription.ended)
      return { client, subscription, command, page: undefined, newestOnly, joined: nobodyJoined }
  }
  try {
    await client.context.hub.add(subscription)
    const joined = await addToPresence(client, subscription)
    const { since } = command
    const page = positioned ? await readMissed(client, subscription, { since, newestOnly }) : undefined
    return { client, subscription, command, page, newestOnly, joined }
  } catch (error) {
    await abandonUnlessLive(client, subscription)
    throw error
  }
}

const nobodyJoined: PresenceChange = { userEdge: false, clients: 0 }

/** Ends the subscription when it is refused. It is in neither hub nor presence yet. */
async function untilAdmitted(
  client: Client,
  subscription: Subscription,
  admission: Promise<void>,
): Promise<void> {
  try {
    await admission
  } catch (error) {
    endSubscription(client, subscription)
    throw error
  }
}

/**
 * Ends a subscription whose reply was not sent: removes it from the hub and from presence, and announces
 * nothing. Does nothing on a live subscription.
 */
export async function abandonUnlessLive(client: Client, subscription: Subscription): Promise<void> {
  if (subscription.live) return
  endSubscription(client, subscription)
  await removeFromPresence(client, subscription)
}

export async function handleUnsubscribe(
  client: Client,
  command: Extract<Command, { kind: 'unsubscribe' }>,
  ref: ReplyRef,
): Promise<void> {
  const subscription = client.subscriptions.get(command.channel)
  if (subscription?.serverSide)
    throw new CommandError(
      'PERMISSION_DENIED',
      `The server subscribed you to "${command.channel}": only the server can end this subscription`,
    )
  if (subscription) endSubscription(client, subscription)
  client.reply(ref, { kind: 'unsubscribe', channel: command.channel })
}

/** Ends the subscription without notifying the client. Does nothing when it has already ended. */
export function endSubscription(client: Client, subscription: Subscription): void {
  if (subscription.ended) return
  const { context, subscriptions, tenant } = client
  const { channel } = subscription.ref
  const wasLive = subscription.live
  subscription.end()
  if (subscription.expiry) context.wheel.cancel(subscription.expiry)
  subscriptions.delete(channel)
  tenant.channels.removeSubscriber(channel)
  tenant.quota.counters.subscriptionsTotal -= 1
  context.hub.remove(subscription)
  // A subscription that never went live was not announced. `abandonUnlessLive` removes its presence.
  if (wasLive) leave(client, subscription)
}

function register({ subscriptions, tenant }: Client, subscription: Subscription): void {
  const { channel } = subscription.ref
  subscriptions.set(channel, subscription)
  tenant.channels.addSubscriber(channel)
  tenant.quota.counters.subscriptionsTotal += 1
}

/**
 * Sets when the subscription ends: at the expiry of its token, or at the time that the backend gave. Replaces
 * an earlier expiry. Undefined: never.
 */
export function expireAt(client: Client, subscription: Subscription, expiresAtMs: number | undefined): void {
  const { clock, limits, wheel } = client.context
  if (subscription.expiry) wheel.cancel(subscription.expiry)
  if (expiresAtMs === undefined) return
  // The client can neither refresh nor repeat a server-side subscription, so it gets no grace period.
  const [graceMs, code] = subscription.serverSide
    ? [0, unsubscribeCodes.server]
    : [limits.expiredCloseDelayMs, unsubscribeCodes.expired]
  const delayMs = Math.max(0, expiresAtMs - clock.epochMs()) + graceMs
  subscription.expiry = wheel.after(delayMs, () => client.endSubscription(subscription, code))
}

/** The values that complete a prepared subscription. */
interface Completion {
  readonly caughtUp: CaughtUp
  /** Milliseconds since the epoch. Undefined: the subscription does not expire. */
  readonly expiresAtMs?: number | undefined
}

export function subscribeReply(
  { client, subscription, command }: PreparedSubscription,
  { caughtUp, expiresAtMs }: Completion,
): SubscribeReply {
  return {
    kind: 'subscribe',
    channel: subscription.ref.channel,
    position: caughtUp.position,
    publications: caughtUp.missed.filter((publication) => subscription.wants(publication)),
    wasRecovering: command.since !== undefined,
    recovered: caughtUp.recovered,
    delta: subscription.delta,
    top: caughtUp.top,
    expiresInS: secondsUntil(expiresAtMs, client.context.clock.epochMs()),
  }
}

/**
 * Sends the publications that arrived meanwhile, then switches to live delivery. The caller calls it in the
 * same turn of the event loop as the reply, so that no publication arrives between them.
 */
export function startDelivery(
  { client, joined, subscription }: PreparedSubscription,
  { caughtUp, expiresAtMs }: Completion,
): void {
  const base = subscription.delta ? 'none' : undefined
  for (const publication of caughtUp.after) {
    if (subscription.wants(publication))
      client.push({ payload: client.codec.publication(subscription.ref.channel, publication, base) })
  }
  subscription.goLive(caughtUp.after.findLast((publication) => publication.offset > 0) ?? caughtUp.top)
  // The session of a slow client may have closed while its reply was sent, which ends the subscription.
  if (!subscription.live) return
  expireAt(client, subscription, expiresAtMs)
  announce(client, subscription, { kind: 'join', change: joined })
}
