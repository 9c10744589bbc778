// The session room: one `Session` per connected client, with its state, its command queue, its subscriptions,
// and its end. The room turns commands into calls of the broker, presence and the tenant's quota, and knows
// no sockets, HTTP or Redis. It may import auth, protocol, tenant, quota, and the seams of broker and
// presence.
//
// Start reading here; then client.ts (what command handlers may touch), dispatch.ts (command → handler),
// commands/connect.ts (the steps of a connect) and commands/subscribe.ts. io/ holds the queues in both
// directions, tenant/ what all sessions of a tenant share.
import { randomUUID } from 'node:crypto'
import { CommandError, internalError } from '../errors.js'
import {
  closeCodeLabel,
  closeCodes,
  unsubscribeCodes,
  withDetail,
  type CloseCode,
  type UnsubscribeCode,
} from '../protocol/codes.js'
import type { Codec, Command, Reply, ReplyRef } from '../protocol/commands.js'
import type { Timer } from '../time.js'
import { subscribeAutomaticChannels } from './automatic-channels.js'
import type { Dispatch } from './client.js'
import { expiredCode, revokedCode } from './close-codes.js'
import { endSubscription } from './commands/subscribe.js'
import type { OpenSession, SessionContext } from './context.js'
import type { Identity } from './identity.js'
import { Heartbeat, type HeartbeatPeer } from './io/heartbeat.js'
import { SessionIo, type SessionIoOwner } from './io/session-io.js'
import { pingFrame } from './io/ping-frame.js'
import type { Subscription } from './subscription.js'
import type { TenantRuntime, TenantSession } from './tenant/runtime.js'
import type { Frame, Transport, TransportListener } from './transport.js'

type SessionState =
  /** From the start until the connect command is answered, at most until the deadline. */
  | { readonly kind: 'connecting'; readonly deadline: Timer }
  /**
   * The connect command was answered with an error. The client closes the connection itself; its further
   * commands are ignored.
   */
  | { readonly kind: 'refused'; readonly deadline: Timer }
  | { readonly kind: 'connected'; identity: Identity; readonly heartbeat: Heartbeat }
  | { readonly kind: 'closed' }

const emptyFrame = Buffer.alloc(0)

const bugRetryAfterMs = 1_000

/** The time that a client has to read the reason before its connection is cut to free memory. */
const cutAfterMs = 500

export interface SessionOptions {
  readonly tenant: TenantRuntime
  readonly codec: Codec
  readonly transport: Transport
  /** Runs the handlers of commands. Passed in, so that the handlers do not depend on the session. */
  readonly dispatch: Dispatch
  /** What the endpoint needs until the client is connected. */
  readonly admission?: SessionAdmission | undefined
}

export interface SessionAdmission {
  /** Throws ORIGIN_NOT_ALLOWED when the client may not connect without a token. */
  readonly checkGuest: () => void
  /** Called once, when the client is authenticated and admitted. */
  readonly onAuthenticated: () => void
}

export class Session implements TransportListener, HeartbeatPeer, SessionIoOwner, TenantSession, OpenSession {
  readonly id = randomUUID()
  readonly context: SessionContext
  readonly tenant: TenantRuntime
  readonly codec: Codec
  readonly subscriptions = new Map<string, Subscription>()
  /** When the session was opened, in Unix milliseconds. Infinity until then. */
  openedAtMs = Infinity
  readonly #transport: Transport
  readonly #io: SessionIo
  /** Undefined once the client is connected. */
  #admission: SessionAdmission | undefined
  #state: SessionState
  #expiry: Timer | undefined

  constructor(context: SessionContext, options: SessionOptions) {
    const { limits, wheel } = context
    this.context = context
    this.tenant = options.tenant
    this.codec = options.codec
    this.#transport = options.transport
    this.#admission = options.admission
    const { dispatch, tenant, transport } = options
    this.#io = new SessionIo(this, { context, tenant, transport, dispatch })
    this.#state = {
      kind: 'connecting',
      deadline: wheel.after(limits.connectTimeoutMs, () => this.close(closeCodes.stale)),
    }
    context.sessions.add(this)
  }

  get lastCommandMs(): number {
    return this.#io.commands.lastCommandMs
  }

  get delayedMs(): number {
    return this.#io.commands.delayedMs
  }

  get connected(): boolean {
    return this.#state.kind === 'connected'
  }

  get closed(): boolean {
    return this.#state.kind === 'closed'
  }

  get identity(): Identity {
    if (this.#state.kind !== 'connected') throw new Error('session has no identity: it is not connected')
    return this.#state.identity
  }

  // ——— Lifecycle ———

  checkGuest(): void {
    this.#admission?.checkGuest()
  }

  open(identity: Identity): void {
    if (this.#state.kind !== 'connecting') throw new Error(`session cannot open: it is ${this.#state.kind}`)
    this.#admission?.onAuthenticated()
    this.#admission = undefined
    const { limits, random, wheel } = this.context
    wheel.cancel(this.#state.deadline)
    this.#state = {
      kind: 'connected',
      identity,
      heartbeat: new Heartbeat(this, { timing: limits.heartbeat, wheel, random }),
    }
    this.openedAtMs = this.context.clock.epochMs()
    this.tenant.sessions.add(this)
    this.tenant.revocations.watchSession(this, identity)
    // Control commands reach the session from now on. What they push must not arrive before the connect
    // reply.
    this.#io.outbox.hold()
    this.#scheduleExpiry()
    // The policy may have changed while the token was verified.
    this.#applyPolicy()
  }

  reject(): void {
    if (this.#state.kind === 'connecting') this.#state = { kind: 'refused', deadline: this.#state.deadline }
  }

  renew(identity: Identity): void {
    if (this.#state.kind !== 'connected') return
    this.tenant.revocations.unwatchSession(this, this.#state.identity)
    this.#state.identity = identity
    this.tenant.revocations.watchSession(this, identity)
    this.#scheduleExpiry()
    this.policyChanged()
  }

  expire(): void {
    this.close(expiredCode(this.codec))
  }

  close(code: CloseCode): void {
    if (this.#state.kind === 'closed') return
    this.#io.outbox.flush()
    this.#end(code.code)
    this.#transport.close(code)
  }

  policyChanged(): void {
    this.#applyPolicy()
    // The new rules may allow an automatic channel that earlier rules ended.
    subscribeAutomaticChannels(this)
  }

  /** Checks the key, the tenant and each subscription against the policy in force. May close the session. */
  #applyPolicy(): void {
    this.#io.commands.configure(this.#commandsPerSecond)
    if (this.#state.kind !== 'connected') return
    const { keyId } = this.#state.identity
    const { policy, tokens } = this.tenant
    if (policy.suspended)
      return this.close(withDetail(closeCodes.permissionDenied, 'the tenant is suspended'))
    if (keyId === undefined && !tokens.allowsGuests) {
      return this.close(
        withDetail(closeCodes.permissionDenied, 'the tenant no longer accepts connections without a token'),
      )
    }
    if (keyId !== undefined && !tokens.acceptsKey(keyId)) {
      return this.close(withDetail(expiredCode(this.codec), 'the key that signed the token was removed'))
    }
    this.recheckRevocations()
    if (this.closed) return
    this.#recheckSubscriptions(this.#state.identity)
  }

  recheckRevocations(): void {
    if (this.#state.kind !== 'connected') return
    const revocation = this.tenant.revocations.find(this.#state.identity)
    if (revocation) {
      this.tenant.quota.counters.countRefusal('TOKEN_REVOKED')
      return this.close(revokedCode(this.codec, revocation))
    }
    for (const subscription of this.subscriptions.values()) subscription.recheckRevocations()
  }

  #recheckSubscriptions(identity: Identity): void {
    const { rules } = this.tenant
    for (const subscription of this.subscriptions.values()) {
      const { channel } = subscription.ref
      const decision = rules.decide(identity, 'Subscribe', channel)
      if (decision.allowed || (subscription.byToken && decision.reason !== 'denied')) {
        subscription.joinLeave &&= rules.decide(identity, 'Presence', channel).allowed
        continue
      }
      this.endSubscription(subscription, { ...unsubscribeCodes.permissionDenied, reason: decision.message })
    }
  }

  endSubscription(subscription: Subscription, code: UnsubscribeCode): void {
    // The client did not request a server-side subscription, so it would not request it again. It reconnects
    // with its positions instead.
    if (subscription.serverSide && code === unsubscribeCodes.insufficientState)
      return this.close(closeCodes.insufficientState)
    const { channel } = subscription.ref
    const wasLive = subscription.live
    endSubscription(this, subscription)
    // A subscription that is still catching up is answered by its own subscribe command.
    if (wasLive) this.push({ payload: this.codec.unsubscribed(channel, code) })
  }

  evict(): void {
    this.close(withDetail(closeCodes.connectionLimit, 'the tenant’s limit was lowered'))
  }

  adviseReconnect(afterMs: number): void {
    const payload = this.codec.reconnect(afterMs)
    if (payload) this.push({ payload })
  }

  // ——— Output ———

  push(frame: Frame): void {
    this.#io.outbox.push(frame)
  }

  reply(ref: ReplyRef, reply: Reply): void {
    if (this.closed) return
    this.#io.commands.answered()
    this.#count(reply.kind, 'ok')
    for (const payload of this.codec.reply(ref, reply)) this.#answer(reply.kind, payload)
  }

  #answer(kind: string, payload: Uint8Array): void {
    if (kind !== 'connect') return this.push({ payload })
    this.#io.outbox.release({ payload })
  }

  ping(): void {
    this.#io.outbox.checkAge()
    if (!this.closed) this.push(pingFrame(this.codec))
  }

  // ——— Memory ———

  get heldBytes(): number {
    return this.#io.heldBytes
  }

  hold(bytes: number): void {
    this.#io.hold(bytes)
  }

  cutForMemory(): void {
    if (this.#state.kind === 'closed') return
    const code = withDetail(
      closeCodes.slow,
      'the gateway is short of memory, and this connection held the most',
    )
    this.#end(code.code)
    this.#transport.cut(code, cutAfterMs)
  }

  // ——— Input ———

  onMessage(payload: Buffer, binary: boolean): void {
    // A closed session still receives what the client sent before the connection is cut.
    if (this.closed) return
    this.#onActivity()
    // A frame of the wrong type, text or binary, is decoded like an empty one: as a protocol violation.
    this.#io.input.receive(binary === this.codec.binary ? payload : emptyFrame)
  }

  onReadingChanged(): void {
    // The client may have answered a ping while the gateway did not read.
    this.#onActivity()
  }

  get isReading(): boolean {
    return this.#io.input.isReading
  }

  onControl(): void {
    this.#onActivity()
    this.#io.commands.addControl()
  }

  #onActivity(): void {
    if (this.#state.kind === 'connected') this.#state.heartbeat.onActivity()
  }

  onDrained(): void {
    this.#io.drained()
  }

  onPartialInput(bytes: number): void {
    this.#io.hold(bytes)
  }

  onClosed(code: number): void {
    if (this.#state.kind !== 'closed') this.#end(code)
  }

  mayBegin(command: Command): boolean {
    if (this.#state.kind === 'refused') return false
    if ((this.#state.kind === 'connecting') === (command.kind === 'connect')) return true
    this.close(closeCodes.badRequest)
    return false
  }

  replyError(ref: ReplyRef, error: CommandError): void {
    this.#answerError('none', ref, error)
  }

  fail(command: Command, ref: ReplyRef, error: unknown): void {
    if (error instanceof CommandError) return this.#answerError(command.kind, ref, error)
    this.reportBug(error, `command ${command.kind} failed`)
    this.#answerError(command.kind, ref, internalError({ retryAfterMs: bugRetryAfterMs }))
  }

  #answerError(kind: string, ref: ReplyRef, error: CommandError): void {
    if (this.closed) return
    this.#count(kind, error.code)
    this.tenant.quota.counters.countRefusal(error.code)
    this.#answer(kind, this.codec.error(ref, error))
  }

  // ——— End ———

  #scheduleExpiry(): void {
    const { clock, limits, wheel } = this.context
    if (this.#expiry) wheel.cancel(this.#expiry)
    const { expiresAtMs } = this.identity
    if (expiresAtMs === undefined) return
    // The chat protocol has no refresh command, so its clients get no grace period.
    const graceMs = this.codec.name === 'chat' ? 0 : limits.expiredCloseDelayMs
    const delayMs = Math.max(0, expiresAtMs - clock.epochMs()) + graceMs
    this.#expiry = wheel.after(delayMs, () => this.expire())
  }

  #end(code: number): void {
    const state = this.#state
    const { metrics, sessions, wheel } = this.context
    sessions.delete(this)
    metrics.closes.inc({ endpoint: this.codec.name, code: closeCodeLabel(code) })
    this.#io.close()
    if (this.#expiry) wheel.cancel(this.#expiry)
    if (state.kind === 'connecting' || state.kind === 'refused') wheel.cancel(state.deadline)
    if (state.kind === 'connected') {
      state.heartbeat.stop()
      for (const subscription of this.subscriptions.values()) endSubscription(this, subscription)
      this.tenant.sessions.delete(this)
      this.tenant.revocations.unwatchSession(this, state.identity)
      this.tenant.quota.release(state.identity.user)
    }
    this.#state = { kind: 'closed' }
  }

  get #commandsPerSecond(): number {
    return this.tenant.policy.limits.connections.commandsPerSecond
  }

  #count(command: string, result: string): void {
    this.context.metrics.commands.add(this.codec.name, command, result)
  }

  reportBug(error: unknown, message: string): void {
    const { limitedLog, metrics } = this.context
    metrics.bugs.inc()
    const { key } = this.tenant
    limitedLog.bug(key, { err: error, tenant: key, session: this.id }, message)
  }
}
