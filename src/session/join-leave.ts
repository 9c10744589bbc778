// A subscriber joins or leaves a channel: its entry in the channel's presence, and the announcement to the
// other subscribers.
import type { Announcement, ChannelRef } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import { lobbyChannel } from '../protocol/chat/channels.js'
import type { Client } from './client.js'
import { LatestEachSecond } from './latest-each-second.js'
import type { Subscription } from './subscription.js'

/** How one join or leave changed a channel's presence. */
export interface PresenceChange {
  /** True for the user's first session on the channel, or its last. */
  readonly userEdge: boolean
  /** Sessions on the channel after the change. */
  readonly clients: number
}

/**
 * Adds the subscriber to the channel's presence. The caller awaits it before it replies, so that a client
 * that reads the presence after the reply finds itself. Never rejects: when presence fails, the periodic
 * refresh adds the entry later.
 */
export async function addToPresence(client: Client, subscription: Subscription): Promise<PresenceChange> {
  const { ref } = subscription
  if (!subscription.present) return { userEdge: true, clients: 0 }
  return (
    client.context.presence
      .add(ref, client.id, subscription.info)
      // A second announcement of the same user does less harm than a missing one.
      .catch((error: unknown) => presenceUnknown(client, ref, { error, userEdge: true }))
  )
}

/**
 * Presence is best effort: a failover must not cost a client its subscription. The number of clients is
 * unknown then; see `announce`.
 */
function presenceUnknown(
  client: Client,
  ref: ChannelRef,
  { error, userEdge }: { error: unknown; userEdge: boolean },
): PresenceChange {
  // The connection to Redis logs its own loss, so this is for debugging only.
  if (error instanceof CommandError)
    client.context.log.debug({ err: error, tenant: client.tenant.key }, 'presence is unavailable')
  else client.reportBug(error, `presence failed in ${ref.channel}`)
  return { userEdge, clients: Number.POSITIVE_INFINITY }
}

/**
 * Removes a subscriber whose join was never announced, so its leave is not announced either. Never rejects.
 */
export async function removeFromPresence(client: Client, subscription: Subscription): Promise<void> {
  const { ref } = subscription
  if (!subscription.present) return
  await client.context.presence
    .remove(ref, client.id)
    .catch((error: unknown) => presenceUnknown(client, ref, { error, userEdge: false }))
}

/**
 * Removes the subscriber from presence and announces its leave, in the background. Only a drain waits for it
 * (`pendingLeaves`).
 */
export function leave(client: Client, subscription: Subscription): void {
  const { ref } = subscription
  const { pendingLeaves, presence } = client.context
  const removed = subscription.present
    ? presence.remove(ref, client.id)
    : Promise.resolve({ userEdge: true, clients: 0 })
  const announced = removed
    // The client has left for certain; whether its user has left is unknown. The presence entry expires by
    // itself.
    .catch((error: unknown) => presenceUnknown(client, ref, { error, userEdge: false }))
    .then((change) => announce(client, subscription, { kind: 'leave', change }))
    .catch((error: unknown) => client.reportBug(error, `cannot announce a leave in ${ref.channel}`))
    .finally(() => pendingLeaves.delete(announced))
  pendingLeaves.add(announced)
}

/**
 * Announces a join or leave to the channel, where its rule asks for that (`joinLeave`): by name in a small
 * channel, and in a large one as the number of its connections, at most once a second. Does not wait for the
 * broker.
 */
export function announce(
  client: Client,
  { info, ref }: Subscription,
  { change, kind }: { kind: 'join' | 'leave'; change: PresenceChange },
): void {
  const { broker, limits, presence } = client.context
  const { channels, quota, rules } = client.tenant
  if (!rules.settings(ref.channel)?.joinLeave) return
  const send = (announcement: Announcement): void => {
    broker
      .announce(ref, announcement)
      .catch((error: unknown) => client.reportBug(error, `cannot announce a ${kind} in ${ref.channel}`))
  }
  // While presence is unavailable, and without it, only the subscribers on this gateway are known. The lobby
  // has every client, so it announces nothing then.
  const isKnown = Number.isFinite(change.clients)
  if (!isKnown && ref.channel === lobbyChannel) return
  const known = Math.max(isKnown ? change.clients : 0, channels.subscribersOf(ref.channel))
  const isLarge = known > limits.announceMax
  // A leave cannot be refused, so while the deliveries are in debt nobody is named in small channels either.
  if (!isLarge && !quota.rates.inDebt) return send({ kind, info, userEdge: change.userEdge })
  if (change.clients === 0 || !isKnown) return
  countsOf(client, ref.channel).offer(() => {
    // The number is read when it is sent: another gateway may have sent a newer one since the change.
    presence
      .stats(ref)
      .then(({ clients }) => {
        if (clients > 0) send({ kind, info, userEdge: false, clients })
      })
      .catch((error: unknown) => presenceUnknown(client, ref, { error, userEdge: false }))
  })
}

/** Returns the announcements of the number of connections of a large channel, at most one each second. */
function countsOf({ context, tenant }: Client, channel: string): LatestEachSecond<() => void> {
  const known = tenant.memberCounts.get(channel)
  if (known) return known
  const counts = new LatestEachSecond<() => void>(context.wheel, {
    deliver: (send) => send(),
    onIdle: () => tenant.memberCounts.delete(channel),
  })
  tenant.memberCounts.set(channel, counts)
  return counts
}
