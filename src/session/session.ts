// One connected client: its state, its commands in order, its subscriptions, and the end of all three.
import { randomUUID } from 'node:crypto'
import { CommandError, internalError } from '../errors.js'
import {
  closeCodeLabel,
  closeCodes,
  unsubscribeCodes,
  withReason,
  type CloseCode,
  type UnsubscribeCode,
} from '../protocol/codes.js'
import type { Codec, Command, Reply, ReplyRef } from '../protocol/commands.js'
import type { Timer } from '../time.js'
import type { SessionContext } from './context.js'
import { dispatch } from './dispatch.js'
import { Heartbeat, type HeartbeatPeer } from './io/heartbeat.js'
import type { Identity } from './identity.js'
import { Inbox, type InboxOwner } from './io/command-queue.js'
import { Outbox, type OutboxOwner } from './io/outbox.js'
import { subscribeOwn } from './automatic-channels.js'
import { endSubscription } from './commands/subscribe.js'
import type { Subscription } from './subscription.js'
import type { TenantState } from './tenant/runtime.js'
import type { Frame, Transport, TransportListener } from './transport.js'

type SessionState =
  /** Until the connect command is answered, at most to the deadline. */
  | { readonly kind: 'connecting'; readonly deadline: Timer }
  /** Connect was answered with an error: the client goes by itself, what else it sends is not looked at. */
  | { readonly kind: 'refused'; readonly deadline: Timer }
  | { readonly kind: 'connected'; identity: Identity; readonly heartbeat: Heartbeat }
  | { readonly kind: 'closed' }

const emptyFrame = Buffer.alloc(0)

const bugRetryAfterMs = 1_000

const pingFrames = new WeakMap<Codec, Frame>()

/** One for all sessions of a door: it is most of what an idle connection costs. */
function pingFrame(codec: Codec): Frame {
  const known = pingFrames.get(codec)
  if (known) return known
  const frame: Frame = { payload: codec.ping, pings: codec.nativePing }
  pingFrames.set(codec, frame)
  return frame
}

export class Session implements TransportListener, HeartbeatPeer, InboxOwner, OutboxOwner {
  readonly id = randomUUID()
  readonly context: SessionContext
  readonly tenant: TenantState
  readonly codec: Codec
  /** By channel. */
  readonly subscriptions = new Map<string, Subscription>()
  readonly #transport: Transport
  readonly #outbox: Outbox
  readonly #inbox: Inbox
  #state: SessionState
  #expiry: Timer | undefined

  constructor(context: SessionContext, options: { tenant: TenantState; codec: Codec; transport: Transport }) {
    const { clock, flusher, limits, wheel } = context
    this.context = context
    this.tenant = options.tenant
    this.codec = options.codec
    this.#transport = options.transport
    this.#outbox = new Outbox(options.transport, { flusher, bounds: limits.outbox, clock, owner: this })
    this.#inbox = new Inbox(this, { bounds: limits, clock, commandsPerSecond: this.#commandsPerSecond })
    this.#state = {
      kind: 'connecting',
      deadline: wheel.after(limits.connectTimeoutMs, () => this.close(closeCodes.stale)),
    }
    context.sessions.add(this)
  }

  /** Monotonic milliseconds; pongs do not count. */
  get lastCommandMs(): number {
    return this.#inbox.lastCommandMs
  }

  get connected(): boolean {
    return this.#state.kind === 'connected'
  }

  get closed(): boolean {
    return this.#state.kind === 'closed'
  }

  /** Throws when nobody is connected: handlers run only while somebody is. */
  get identity(): Identity {
    if (this.#state.kind !== 'connected') throw new Error('session has no identity: it is not connected')
    return this.#state.identity
  }

  // ——— Life ———

  /** The client is who it says and has its place in the tenant's quota (`admit`); from here on it is counted, pinged and expired. May end at once. */
  open(identity: Identity): void {
    if (this.#state.kind !== 'connecting') throw new Error(`session cannot open: it is ${this.#state.kind}`)
    const { limits, random, wheel } = this.context
    wheel.cancel(this.#state.deadline)
    this.#state = {
      kind: 'connected',
      identity,
      heartbeat: new Heartbeat(this, { timing: limits.heartbeat, wheel, random }),
    }
    this.tenant.sessions.add(this)
    // Orders reach it from now on, and nothing that they lead to may overtake the answer to connect.
    this.#outbox.hold()
    this.#scheduleExpiry()
    // While the token was verified the policy may have become another. Own channels begin here as well; their pushes come after the caller's reply.
    this.policyChanged()
  }

  /** Connect was answered with an error that the client can act on. */
  turnAway(): void {
    if (this.#state.kind === 'connecting') this.#state = { kind: 'refused', deadline: this.#state.deadline }
  }

  /** A new token: its rights hold from now on. May end the session. */
  renew(identity: Identity): void {
    if (this.#state.kind !== 'connected') return
    this.#state.identity = identity
    this.#scheduleExpiry()
    this.policyChanged()
  }

  /** Its token is of the past: the client needs another. */
  expire(): void {
    this.close(this.#expiredCode())
  }

  close(code: CloseCode): void {
    if (this.#state.kind === 'closed') return
    this.#outbox.flush()
    this.#end(code.code)
    this.#transport.close(code)
  }

  /** The tenant's policy changed: do the key, the tenant and each subscription still stand? */
  policyChanged(): void {
    this.#inbox.configure(this.#commandsPerSecond)
    if (this.#state.kind !== 'connected') return
    const { keyId } = this.#state.identity
    if (this.tenant.policy.suspended)
      return this.close(withReason(closeCodes.permissionDenied, 'the tenant is suspended'))
    if (keyId === undefined && !this.tenant.allowsGuests) {
      return this.close(withReason(closeCodes.permissionDenied, 'the tenant lets nobody in without a token'))
    }
    if (keyId !== undefined && !this.tenant.acceptsKey(keyId)) {
      return this.close(withReason(this.#expiredCode(), 'the key that signed the token was removed'))
    }
    this.recheckSubscriptions()
    subscribeOwn(this).catch((error: unknown) => this.bug(error, 'cannot restore own channels'))
  }

  recheckSubscriptions(): void {
    for (const subscription of this.subscriptions.values()) {
      const { channel } = subscription.ref
      const decision = this.tenant.rules.decide(this.identity, 'Subscribe', channel)
      if (decision.allowed || (subscription.byToken && decision.reason !== 'denied')) {
        subscription.joinLeave &&= this.tenant.rules.decide(this.identity, 'Presence', channel).allowed
        continue
      }
      this.endSubscription(subscription, {
        ...unsubscribeCodes.permissionDenied,
        reason: decision.explanation,
      })
    }
  }

  /** Ends it and tells the client why. */
  endSubscription(subscription: Subscription, code: UnsubscribeCode): void {
    // Nobody asked for it, so nobody would ask again: the client comes back with its positions.
    if (subscription.serverSide && code === unsubscribeCodes.insufficientState)
      return this.close(closeCodes.insufficientState)
    const { channel } = subscription.ref
    const wasLive = subscription.live
    endSubscription(subscription)
    // One still catching up is answered by its own subscribe command.
    if (wasLive) this.push({ payload: this.codec.unsubscribed(channel, code) })
  }

  /** The tenant has too many connections and this one was chosen to go. */
  shed(): void {
    this.close(withReason(closeCodes.connectionLimit, 'the tenant’s limit was lowered'))
  }

  /** Advice before a drain, where the door has a word for it. */
  adviseReconnect(afterMs: number): void {
    const payload = this.codec.reconnect(afterMs)
    if (payload) this.push({ payload })
  }

  // ——— What goes out ———

  push(frame: Frame): void {
    this.#outbox.push(frame)
  }

  reply(ref: ReplyRef, reply: Reply): void {
    if (this.closed) return
    this.#inbox.answered()
    this.#count(reply.kind, 'ok')
    for (const payload of this.codec.reply(ref, reply)) this.#answer(reply.kind, payload)
  }

  #answer(kind: string, payload: Uint8Array): void {
    if (kind !== 'connect') return this.push({ payload })
    this.#outbox.release({ payload })
  }

  ping(): void {
    this.#outbox.checkAge()
    if (!this.closed) this.push(pingFrame(this.codec))
  }

  onSent(bytes: number): void {
    this.context.metrics.sentBytes.add(bytes)
  }

  onSlow(): void {
    this.context.metrics.slowCloses.inc()
    this.close(closeCodes.slow)
  }

  // ——— What comes in ———

  onMessage(payload: Buffer, binary: boolean): void {
    // A flood goes on arriving until the line is cut.
    if (this.closed) return
    this.#alive()
    // A frame of the other kind is as unreadable to a door as an empty one.
    this.#inbox.add(this.codec.decode(binary === this.codec.binary ? payload : emptyFrame))
  }

  onControl(): void {
    this.#alive()
    this.#inbox.addControl()
  }

  #alive(): void {
    if (this.#state.kind === 'connected') this.#state.heartbeat.alive()
  }

  onDrained(): void {
    this.#outbox.drained()
  }

  onClosed(code: number): void {
    if (this.#state.kind !== 'closed') this.#end(code)
  }

  async execute(command: Command, ref: ReplyRef): Promise<void> {
    if (this.#state.kind === 'refused') return
    if ((this.#state.kind === 'connecting') !== (command.kind === 'connect'))
      return this.close(closeCodes.badRequest)
    try {
      await dispatch(this, command, ref)
    } catch (error) {
      this.#failed(command, ref, error)
    }
  }

  refuse(ref: ReplyRef, error: CommandError): void {
    this.#answerError('none', ref, error)
  }

  #failed(command: Command, ref: ReplyRef, error: unknown): void {
    if (error instanceof CommandError) return this.#answerError(command.kind, ref, error)
    this.bug(error, `command ${command.kind} failed`)
    this.#answerError(command.kind, ref, internalError({ retryAfterMs: bugRetryAfterMs }))
  }

  #answerError(kind: string, ref: ReplyRef, error: CommandError): void {
    if (this.closed) return
    this.#count(kind, error.code)
    this.tenant.countRefusal(error.code)
    this.#answer(kind, this.codec.error(ref, error))
  }

  // ——— The end ———

  #scheduleExpiry(): void {
    const { clock, limits, wheel } = this.context
    if (this.#expiry) wheel.cancel(this.#expiry)
    const { expiresAtMs } = this.identity
    if (expiresAtMs === undefined) return
    const graceMs = this.codec.name === 'chat' ? 0 : limits.expiredCloseDelayMs
    const delayMs = Math.max(0, expiresAtMs - clock.epochMs()) + graceMs
    this.#expiry = wheel.after(delayMs, () => this.expire())
  }

  /** The chat door's clients know 4001 from their contract, Centrifuge's SDKs fetch a new token on 3005. */
  #expiredCode(): CloseCode {
    return this.codec.name === 'chat' ? closeCodes.chatTokenExpired : closeCodes.expired
  }

  #end(code: number): void {
    const state = this.#state
    const { metrics, sessions, wheel } = this.context
    sessions.delete(this)
    metrics.closes.inc({ endpoint: this.codec.name, code: closeCodeLabel(code) })
    this.#outbox.close()
    this.#inbox.clear()
    if (this.#expiry) wheel.cancel(this.#expiry)
    if (state.kind === 'connecting' || state.kind === 'refused') wheel.cancel(state.deadline)
    if (state.kind === 'connected') {
      state.heartbeat.stop()
      for (const subscription of this.subscriptions.values()) endSubscription(subscription)
      this.tenant.sessions.delete(this)
      this.tenant.release(state.identity.user)
    }
    this.#state = { kind: 'closed' }
  }

  get #commandsPerSecond(): number {
    return this.tenant.policy.limits.connections.commandsPerSecond
  }

  #count(command: string, result: string): void {
    this.context.metrics.commands.add(this.codec.name, command, result)
  }

  /** Our own fault: counted, and in the log with its stack. */
  bug(error: unknown, what: string): void {
    this.context.metrics.bugs.inc()
    this.context.log.error({ err: error, tenant: this.tenant.key, session: this.id }, what)
  }
}
