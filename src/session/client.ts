// The seam between a session and the code that answers its commands: everything that a command handler may
// touch of the session.
import type { CloseCode, UnsubscribeCode } from '../protocol/codes.js'
import type { Codec, Command, Reply, ReplyRef } from '../protocol/commands.js'
import type { CommandError } from '../errors.js'
import type { SessionContext } from './context.js'
import type { Identity } from './identity.js'
import type { Subscription } from './subscription.js'
import type { TenantRuntime } from './tenant/runtime.js'
import type { Frame } from './transport.js'

/** A client as its command handlers see it. `Session` implements it. */
export interface Client {
  /**
   * The session's id, unique over all gateways. `identity.client` is the client's public name and need not be
   * unique.
   */
  readonly id: string
  readonly context: SessionContext
  readonly tenant: TenantRuntime
  /** The protocol that the client speaks. One instance serves all sessions of an endpoint. */
  readonly codec: Codec
  /** Subscriptions by channel, those that are still catching up included. */
  readonly subscriptions: Map<string, Subscription>
  /** True from `open` until the session closes. */
  readonly connected: boolean
  /** True once the session has closed. It never opens again. */
  readonly closed: boolean
  /**
   * How long the gateway has delayed the command that started last, in milliseconds, for charges to the
   * tenant's rates: commands that waited here were not sent all at once.
   */
  readonly delayedMs: number
  /** Throws an Error when the client is not connected. */
  readonly identity: Identity

  /** Throws ORIGIN_NOT_ALLOWED when the page that opened the connection may not connect as a guest. */
  checkGuest(): void
  /**
   * Begins the connected state for a client that is authenticated and admitted: from here on it is counted,
   * pinged and expired, and its connection is released when the session closes. Frames pushed afterwards wait
   * for the connect reply. Closes the session when the policy changed during authentication and no longer
   * admits the client. Throws an Error unless the session is connecting.
   */
  open(identity: Identity): void
  /**
   * Ignores all further commands of a client whose connect was answered with an error. The client closes the
   * connection itself.
   */
  reject(): void
  /**
   * Replaces the identity after a token refresh: its permissions and expiry apply at once. May close the
   * session.
   */
  renew(identity: Identity): void
  /** Closes the session as expired: the client needs a new token. */
  expire(): void
  /** Sends what is queued, then closes the connection. Does nothing on a closed session. */
  close(code: CloseCode): void
  /**
   * Ends the subscription and sends the client the reason. A server-side subscription that lost its position
   * closes the session instead, so that the client reconnects with its positions.
   */
  endSubscription(subscription: Subscription, code: UnsubscribeCode): void
  /** Counts bytes that are held for the client; a negative number subtracts them. */
  hold(bytes: number): void

  /** Answers the command with this `ref`. Does nothing on a closed session. */
  reply(ref: ReplyRef, reply: Reply): void
  /**
   * Sends an error for a command that was refused before its handler began. Without `ref`, the error belongs
   * to no command. Does nothing on a closed session.
   */
  replyError(ref: ReplyRef, error: CommandError): void
  /** Queues a frame that answers no command. Does nothing on a closed session. */
  push(frame: Frame): void
  /** Counts a bug of Parley, and logs `message` and the stack of the error. */
  reportBug(error: unknown, message: string): void
}

/**
 * Runs the handler of one command. The handler answers through `Client.reply`. Rejects with CommandError when
 * the command is refused; any other rejection is a bug. Never throws.
 */
export type Dispatch = (client: Client, command: Command, ref: ReplyRef) => Promise<void>
