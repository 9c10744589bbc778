// Subscribing without a gap: collect first, then read what was missed, then answer, then let through. Ending it again.
import type { HistoryPage, Position, Publication } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import { lobbyChannel } from '../protocol/chat-channels.js'
import { unsubscribeCodes } from '../protocol/codes.js'
import type { Command, ReplyRef, SubscribeCommand } from '../protocol/commands.js'
import { parseChannelName, type ChannelName } from '../tenant/channel.js'
import { secondsUntil } from '../time.js'
import { cutToBytes } from './query.js'
import { mergeRecovered, type Recovered } from './recovery.js'
import { isAllowed, requireAllowed, settingsOf } from './rights.js'
import type { Session } from './session.js'
import { Subscription } from './subscription.js'
import { verifySubscriptionToken } from './subscription-token.js'

export async function subscribe(session: Session, command: SubscribeCommand, ref?: ReplyRef): Promise<void> {
  const { tenant, subscriptions } = session
  const { tenantId, limits } = tenant.policy
  const channel = parseChannelName(command.channel, { maxLength: limits.channels.nameMaxLength })
  if (subscriptions.has(channel))
    throw new CommandError('ALREADY_SUBSCRIBED', `This connection is subscribed to "${channel}" already`)

  const token =
    command.token === '' ? undefined : await verifySubscriptionToken(session, channel, command.token)
  if (session.closed) return
  authorize(session, channel, token !== undefined)
  tenant.checkSubscribe(channel, {
    ofSession: subscriptions.size,
    ofChannel: tenant.channels.subscribersOf(channel),
  })

  const settings = settingsOf(session, channel)
  const positioned =
    settings.history !== null &&
    (command.recoverable || command.since !== undefined) &&
    isAllowed(session, 'History', channel)
  const subscription = new Subscription(
    session,
    { tenantId, channel },
    {
      positioned,
      joinLeave: settings.joinLeave && command.joinLeave && isAllowed(session, 'Presence', channel),
      present: settings.presence,
      byToken: token !== undefined,
    },
  )
  begin(subscription)
  try {
    await session.context.hub.add(subscription)
    const arrival = await arrive(subscription)
    const page = positioned ? await readMissed(subscription, command) : undefined
    // From here to the end nothing waits: what arrived so far is collected, what comes next finds the subscription live.
    if (session.closed) return
    if (subscription.ended)
      throw new CommandError(
        'PERMISSION_DENIED',
        `The channel rules changed: "${channel}" is no longer allowed`,
      )
    answer(subscription, {
      ref,
      caughtUp: catchUp(subscription, command, page),
      wasRecovering: command.since !== undefined,
      expiresAtMs: token?.expiresAtMs,
    })
    // The answer itself may have been too much for a slow client.
    if (subscription.live) announce(subscription, 'join', arrival)
  } catch (error) {
    endSubscription(subscription)
    throw error
  } finally {
    if (!subscription.live) await withdraw(subscription)
  }
}

export async function unsubscribe(
  session: Session,
  command: Extract<Command, { kind: 'unsubscribe' }>,
  ref: ReplyRef,
): Promise<void> {
  const subscription = session.subscriptions.get(command.channel)
  if (subscription) endSubscription(subscription)
  session.reply(ref, { kind: 'unsubscribe', channel: command.channel })
}

/** Takes it off every list; the client is not told. Safe to call twice. */
export function endSubscription(subscription: Subscription): void {
  if (subscription.ended) return
  const { session, ref } = subscription
  const { departures, presence, hub, wheel } = session.context
  const wasLive = subscription.live
  subscription.end()
  if (subscription.expiry) wheel.cancel(subscription.expiry)
  session.subscriptions.delete(ref.channel)
  session.tenant.channels.unsubscribed(ref.channel)
  session.tenant.subscriptionsTotal -= 1
  hub.remove(subscription)
  // One that never went live is not announced, and takes its presence back itself (`withdraw`).
  if (!wasLive) return
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

function begin(subscription: Subscription): void {
  const { session, ref } = subscription
  session.subscriptions.set(ref.channel, subscription)
  session.tenant.channels.subscribed(ref.channel)
  session.tenant.subscriptionsTotal += 1
}

/** A token is permission enough, unless a rule denies. */
function authorize(session: Session, channel: ChannelName, byToken: boolean): void {
  if (!byToken) return requireAllowed(session, 'Subscribe', channel)
  const decision = session.tenant.rules.decide(session.identity, 'Subscribe', channel)
  if (!decision.allowed && decision.reason === 'denied')
    throw new CommandError('PERMISSION_DENIED', decision.explanation)
}

async function readMissed(subscription: Subscription, command: SubscribeCommand): Promise<HistoryPage> {
  const { broker, limits } = subscription.session.context
  const { since } = command
  // One more than is handed over, to tell a full answer from a cut one.
  const page = await broker.history(subscription.ref, { since, limit: since ? limits.pageMax + 1 : 0 })
  return cutToBytes(page, limits.pageBytesMax)
}

/** What the reply says, and what follows it at once. */
interface CaughtUp {
  /** Where the client stands when it reads the reply. Undefined: it has no positions. */
  readonly position?: Position | undefined
  readonly missed: readonly Publication[]
  /** Arrived since `position` and not part of the reply. */
  readonly after: readonly Publication[]
  readonly top?: Position | undefined
  readonly recovered: boolean
}

/** Throws UNRECOVERABLE_POSITION when the client asked for that instead of a subscription with a gap. */
function catchUp(
  subscription: Subscription,
  command: SubscribeCommand,
  page: HistoryPage | undefined,
): CaughtUp {
  const live = subscription.collected()
  if (!page) return { missed: [], after: live, recovered: false }
  const { since } = command
  const { clock, limits, metrics } = subscription.session.context
  const { lostUntil } = subscription
  const merged: Recovered = lostUntil
    ? { kind: 'gap', reason: 'tooMany', top: later(page.top, lostUntil), after: [] }
    : mergeRecovered({ since, page, live, limit: limits.pageMax })
  if (!since) {
    // It starts where the page ends, and what arrived meanwhile is the first it gets; or with the new stream, if this one was replaced.
    const [top, after] =
      merged.kind === 'whole' ? [page.top, merged.publications] : [merged.top, merged.after]
    return { position: top, missed: [], after, top, recovered: false }
  }
  metrics.recoveries.inc({ result: merged.kind === 'whole' ? 'recovered' : merged.reason })
  if (merged.kind === 'whole') {
    const [oldest] = merged.publications
    if (oldest) metrics.recoveryDelaySeconds.observe(Math.max(0, clock.epochMs() - oldest.timeMs) / 1000)
    const position = { epoch: merged.top.epoch, offset: since.offset }
    return { position, missed: merged.publications, after: [], top: merged.top, recovered: true }
  }
  if (command.gapIsError) {
    throw new CommandError(
      'UNRECOVERABLE_POSITION',
      `Cannot recover "${command.channel}": ${gapText[merged.reason]}`,
    )
  }
  return { position: merged.top, missed: [], after: merged.after, top: merged.top, recovered: false }
}

/** Of two epochs the second counts: it was heard of live, and nothing is promised across them. */
function later(page: Position, live: Position): Position {
  return page.epoch === live.epoch && page.offset > live.offset ? page : live
}

const gapText: Readonly<Record<Extract<Recovered, { kind: 'gap' }>['reason'], string>> = {
  epoch: 'the stream is not the one that position belongs to',
  trimmed: 'history no longer reaches back that far',
  ahead: 'the position lies after the newest publication',
  tooMany: 'more was missed than one answer holds',
  hole: 'an offset is missing',
}

interface Edge {
  readonly userEdge: boolean
  readonly clients: number
}

/** Into presence before the answer, so that whoever reads it afterwards sees the newcomer; without it when it fails: a refresh adds it. */
async function arrive(subscription: Subscription): Promise<Edge> {
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
): Edge {
  // That Redis is away is said once, by whoever connects to it.
  if (error instanceof CommandError)
    session.context.log.debug({ err: error, tenant: session.tenant.key }, 'presence is away')
  else session.bug(error, `presence failed in ${ref.channel}`)
  return { userEdge, clients: Number.POSITIVE_INFINITY }
}

/** Nobody was told of the newcomer, so nobody is told that it did not stay. */
async function withdraw(subscription: Subscription): Promise<void> {
  const { session, ref } = subscription
  if (!subscription.present) return
  await session.context.presence
    .remove(ref, session.id)
    .catch((error: unknown) => withoutPresence(subscription, error, { userEdge: false }))
}

/** When its subscription token runs out, anew at each refresh. Undefined: never. */
export function expireAt(subscription: Subscription, expiresAtMs: number | undefined): void {
  const { session } = subscription
  const { clock, limits, wheel } = session.context
  if (subscription.expiry) wheel.cancel(subscription.expiry)
  if (expiresAtMs === undefined) return
  const delayMs = Math.max(0, expiresAtMs - clock.epochMs()) + limits.expiredCloseDelayMs
  subscription.expiry = wheel.after(delayMs, () =>
    session.endSubscription(subscription, unsubscribeCodes.expired),
  )
}

/** Reply first, then what came meanwhile, then live: in one turn, so that nothing can slip in between. */
function answer(
  subscription: Subscription,
  options: { ref: ReplyRef; caughtUp: CaughtUp; expiresAtMs: number | undefined; wasRecovering: boolean },
): void {
  const { session, ref } = subscription
  const { caughtUp, expiresAtMs, wasRecovering } = options
  const { clock } = session.context
  const wanted = (publication: Publication): boolean => publication.skipSession !== session.id
  session.reply(options.ref, {
    kind: 'subscribe',
    channel: ref.channel,
    position: caughtUp.position,
    publications: caughtUp.missed.filter(wanted),
    wasRecovering,
    recovered: caughtUp.recovered,
    top: caughtUp.top,
    expiresInS: secondsUntil(expiresAtMs, clock.epochMs()),
  })
  const after = caughtUp.after.filter(wanted)
  for (const publication of after)
    session.push({ payload: session.codec.publication(ref.channel, publication) })
  subscription.goLive(caughtUp.after.findLast((publication) => publication.offset > 0) ?? caughtUp.top)
  if (subscription.live) expireAt(subscription, expiresAtMs)
}

function announce(subscription: Subscription, kind: 'join' | 'leave', edge: Edge): void {
  const { session, ref } = subscription
  const { broker, limits } = session.context
  if (!session.tenant.rules.settings(ref.channel)?.joinLeave) return
  if (ref.channel === lobbyChannel && edge.clients > limits.lobbyAnnounceMax) return
  broker
    .announce(ref, { kind, info: subscription.info, userEdge: edge.userEdge })
    .catch((error: unknown) => session.bug(error, `cannot announce a ${kind} in ${ref.channel}`))
}
