// A subscriber comes and goes: into the channel's presence and out of it, and told to whoever listens.
import { CommandError } from '../errors.js'
import { lobbyChannel } from '../protocol/chat/channels.js'
import type { Subscription } from './subscription.js'

/** Of a coming or going: is it the user's first or last, and how many clients are there? */
export interface PresenceChange {
  readonly userEdge: boolean
  readonly clients: number
}

/** Into presence before the answer, so that whoever reads it afterwards sees the newcomer; without it when it fails: a refresh adds it. */
export async function arrive(subscription: Subscription): Promise<PresenceChange> {
  const { session, ref } = subscription
  if (!subscription.present) return { userEdge: true, clients: 0 }
  return (
    session.context.presence
      .add(ref, session.id, subscription.info)
      // A user who is said to come twice is less wrong than one who is there unsaid.
      .catch((error: unknown) => withoutPresence(subscription, error, { userEdge: true }))
  )
}

/**
 * Presence is best effort: a failover must not cost anybody a subscription. How many are there is not known then, so the lobby, which
 * tells of comings and goings among few only, stays quiet.
 */
function withoutPresence(
  { session, ref }: Subscription,
  error: unknown,
  { userEdge }: { userEdge: boolean },
): PresenceChange {
  // That Redis is away is said once, by whoever connects to it.
  if (error instanceof CommandError)
    session.context.log.debug({ err: error, tenant: session.tenant.key }, 'presence is away')
  else session.bug(error, `presence failed in ${ref.channel}`)
  return { userEdge, clients: Number.POSITIVE_INFINITY }
}

/** Nobody was told of the newcomer, so nobody is told that it did not stay. */
export async function withdraw(subscription: Subscription): Promise<void> {
  const { session, ref } = subscription
  if (!subscription.present) return
  await session.context.presence
    .remove(ref, session.id)
    .catch((error: unknown) => withoutPresence(subscription, error, { userEdge: false }))
}

/** Out of presence, and told; a drain alone waits for it. */
export function depart(subscription: Subscription): void {
  const { session, ref } = subscription
  const { departures, presence } = session.context
  const leaving = subscription.present
    ? presence.remove(ref, session.id)
    : Promise.resolve({ userEdge: true, clients: 0 })
  const told = leaving
    // Whether the user is gone is not known; that this client is, is. The entry ends by itself.
    .catch((error: unknown) => withoutPresence(subscription, error, { userEdge: false }))
    .then((departure) => announce(subscription, 'leave', departure))
    .catch((error: unknown) => session.bug(error, `cannot announce a leave in ${ref.channel}`))
    .finally(() => departures.delete(told))
  departures.add(told)
}

export function announce(subscription: Subscription, kind: 'join' | 'leave', edge: PresenceChange): void {
  const { session, ref } = subscription
  const { broker, limits } = session.context
  if (!session.tenant.rules.settings(ref.channel)?.joinLeave) return
  if (ref.channel === lobbyChannel && edge.clients > limits.lobbyAnnounceMax) return
  broker
    .announce(ref, { kind, info: subscription.info, userEdge: edge.userEdge })
    .catch((error: unknown) => session.bug(error, `cannot announce a ${kind} in ${ref.channel}`))
}
