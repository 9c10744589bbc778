// Subscribing without a gap: collect first, then read what was missed, then answer, then let through. Ending it again.
import type { HistoryPage, Position, Publication } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { unsubscribeCodes } from '../../protocol/codes.js'
import type { Command, ReplyRef, SubscribeCommand, SubscribeReply } from '../../protocol/commands.js'
import { parseChannelName, type ChannelName } from '../../tenant/channel.js'
import { secondsUntil } from '../../time.js'
import { announce, arrive, depart, withdraw, type PresenceChange } from '../join-leave.js'
import { cutToBytes } from './query.js'
import { mergeNewest, mergeRecovered, type Recovered } from '../recovery.js'
import { isAllowed, requireAllowed, settingsOf } from '../authorize.js'
import type { Session } from '../session.js'
import { Subscription } from '../subscription.js'
import { verifySubscriptionToken } from '../subscription-token.js'

export async function subscribe(session: Session, command: SubscribeCommand, ref?: ReplyRef): Promise<void> {
  const { channel } = command
  const token =
    command.token === '' ? undefined : await verifySubscriptionToken(session, channel, command.token)
  if (session.closed) return
  const prepared = await prepare(session, command, { byToken: token !== undefined })
  try {
    if (session.closed) return
    const caughtUp = catchUp(prepared)
    session.reply(ref, subscribeReply(prepared, { caughtUp, expiresAtMs: token?.expiresAtMs }))
    release(prepared, { caughtUp, expiresAtMs: token?.expiresAtMs })
  } finally {
    await abandonUnlessLive(prepared.subscription)
  }
}

/** A subscription that collects and has read what it missed. What follows must not wait, up to `release`, or `abandonUnlessLive`. */
export interface Prepared {
  readonly subscription: Subscription
  readonly command: SubscribeCommand
  readonly page: HistoryPage | undefined
  /** A returning client gets the newest publication, not all that it missed. */
  readonly newestOnly: boolean
  readonly arrival: PresenceChange
}

/** `byToken`: a token lets it in. `serverSide`: the token asks for it, and not the client. */
export async function prepare(
  session: Session,
  command: SubscribeCommand,
  { byToken, serverSide = false }: { byToken: boolean; serverSide?: boolean },
): Promise<Prepared> {
  const { tenant, subscriptions } = session
  const { tenantId, limits } = tenant.policy
  const channel = parseChannelName(command.channel, { maxLength: limits.channels.nameMaxLength })
  if (subscriptions.has(channel))
    throw new CommandError('ALREADY_SUBSCRIBED', `This connection is subscribed to "${channel}" already`)
  authorize(session, channel, byToken)
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
      byToken,
      serverSide,
      delta: command.delta,
      filter: command.filter,
    },
  )
  begin(subscription)
  try {
    await session.context.hub.add(subscription)
    const arrival = await arrive(subscription)
    const newestOnly = settings.history?.newestOnly ?? false
    const page = positioned ? await readMissed(subscription, { since: command.since, newestOnly }) : undefined
    return { subscription, command, page, newestOnly, arrival }
  } catch (error) {
    await abandonUnlessLive(subscription)
    throw error
  }
}

/** One that did not get as far as its reply leaves nothing behind. */
export async function abandonUnlessLive(subscription: Subscription): Promise<void> {
  if (subscription.live) return
  endSubscription(subscription)
  await withdraw(subscription)
}

export async function unsubscribe(
  session: Session,
  command: Extract<Command, { kind: 'unsubscribe' }>,
  ref: ReplyRef,
): Promise<void> {
  const subscription = session.subscriptions.get(command.channel)
  if (subscription?.serverSide)
    throw new CommandError(
      'PERMISSION_DENIED',
      `The server subscribed you to "${command.channel}": only the server ends it`,
    )
  if (subscription) endSubscription(subscription)
  session.reply(ref, { kind: 'unsubscribe', channel: command.channel })
}

/** Takes it off every list; the client is not told. Safe to call twice. */
export function endSubscription(subscription: Subscription): void {
  if (subscription.ended) return
  const { session, ref } = subscription
  const { hub, wheel } = session.context
  const wasLive = subscription.live
  subscription.end()
  if (subscription.expiry) wheel.cancel(subscription.expiry)
  session.subscriptions.delete(ref.channel)
  session.tenant.channels.unsubscribed(ref.channel)
  session.tenant.subscriptionsTotal -= 1
  hub.remove(subscription)
  // One that never went live is not announced, and takes its presence back itself (`withdraw`).
  if (!wasLive) return
  depart(subscription)
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

async function readMissed(
  { filter, ref, session }: Subscription,
  { newestOnly, since }: { newestOnly: boolean; since: Position | undefined },
): Promise<HistoryPage> {
  const { broker, limits } = session.context
  // Whoever comes anew, or back to where we stand, has missed nothing: what follows comes live.
  const top = broker.standing(ref)
  if (top && (!since || (since.epoch === top.epoch && since.offset === top.offset)))
    return { publications: [], top, continuous: true }
  if (newestOnly && since) return broker.history(ref, { limit: filter ? limits.pageMax : 1, reverse: true })
  // One more than is handed over, to tell a full answer from a cut one.
  const page = await broker.history(ref, { since, limit: since ? limits.pageMax + 1 : 0 })
  return cutToBytes(page, limits.pageBytesMax)
}

/** What the reply says, and what follows it at once. */
export interface CaughtUp {
  /** Where the client stands when it reads the reply. Undefined: it has no positions. */
  readonly position?: Position | undefined
  readonly missed: readonly Publication[]
  /** Arrived since `position` and not part of the reply. */
  readonly after: readonly Publication[]
  readonly top?: Position | undefined
  readonly recovered: boolean
}

/** Throws PERMISSION_DENIED when it ended meanwhile, and UNRECOVERABLE_POSITION when the client asked for that instead of a subscription with a gap. */
export function catchUp({ subscription, command, page, newestOnly }: Prepared): CaughtUp {
  if (subscription.ended)
    throw new CommandError(
      'PERMISSION_DENIED',
      `The channel rules changed: "${command.channel}" is no longer allowed`,
    )
  const live = subscription.collected()
  if (!page) return { missed: [], after: live, recovered: false }
  const { since } = command
  const { clock, limits, metrics } = subscription.session.context
  const { lostUntil } = subscription
  const merged: Recovered = lostUntil
    ? { kind: 'gap', reason: 'tooMany', top: later(page.top, lostUntil), after: [] }
    : newestOnly && since
      ? mergeNewest({ since, page, live, wants: ({ tags }) => subscription.filter?.matches(tags) ?? true })
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
    const position = standsAt(subscription, { since, missed: merged.publications, top: merged.top })
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

/** Where the client stands before the first that it gets: what is not for it, it need not ask for again. */
function standsAt(
  subscription: Subscription,
  { missed, since, top }: { missed: readonly Publication[]; since: Position; top: Position },
): Position {
  const first = missed.findIndex((publication) => subscription.wants(publication))
  if (first === -1) return top
  const passed = missed.slice(0, first).findLast(({ offset }) => offset > 0)
  if (passed) return { epoch: top.epoch, offset: passed.offset }
  // Where it stood in another stream says nothing of this one.
  const sameStream = since.epoch === '' || since.epoch === top.epoch
  return { epoch: top.epoch, offset: sameStream ? since.offset : (missed[first]?.offset ?? 1) - 1 }
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

/** When its subscription token runs out, anew at each refresh, or the time that a backend gave it. Undefined: never. */
export function expireAt(subscription: Subscription, expiresAtMs: number | undefined): void {
  const { session } = subscription
  const { clock, limits, wheel } = session.context
  if (subscription.expiry) wheel.cancel(subscription.expiry)
  if (expiresAtMs === undefined) return
  // What the server made its client can neither refresh nor take up again.
  const [graceMs, code] = subscription.serverSide
    ? [0, unsubscribeCodes.server]
    : [limits.expiredCloseDelayMs, unsubscribeCodes.expired]
  const delayMs = Math.max(0, expiresAtMs - clock.epochMs()) + graceMs
  subscription.expiry = wheel.after(delayMs, () => session.endSubscription(subscription, code))
}

interface Answer {
  readonly caughtUp: CaughtUp
  readonly expiresAtMs?: number | undefined
}

export function subscribeReply(
  { subscription, command }: Prepared,
  { caughtUp, expiresAtMs }: Answer,
): SubscribeReply {
  const { session, ref } = subscription
  return {
    kind: 'subscribe',
    channel: ref.channel,
    position: caughtUp.position,
    publications: caughtUp.missed.filter((publication) => subscription.wants(publication)),
    wasRecovering: command.since !== undefined,
    recovered: caughtUp.recovered,
    delta: subscription.delta,
    top: caughtUp.top,
    expiresInS: secondsUntil(expiresAtMs, session.context.clock.epochMs()),
  }
}

/** After the reply what came meanwhile, then live: in the reply's own turn, so that nothing can slip in between. */
export function release({ subscription, arrival }: Prepared, { caughtUp, expiresAtMs }: Answer): void {
  const { session, ref } = subscription
  const base = subscription.delta ? 'none' : undefined
  for (const publication of caughtUp.after) {
    if (subscription.wants(publication))
      session.push({ payload: session.codec.publication(ref.channel, publication, base) })
  }
  subscription.goLive(caughtUp.after.findLast((publication) => publication.offset > 0) ?? caughtUp.top)
  // The answer itself may have been too much for a slow client.
  if (!subscription.live) return
  expireAt(subscription, expiresAtMs)
  announce(subscription, 'join', arrival)
}
