// The connection of the page to one tenant. The centrifuge SDK reconnects, recovers and refreshes tokens;
// this file turns its events into a state that the page can show.
import { Centrifuge, type ConnectedContext } from 'centrifuge'
import { diagnose, fetchToken, TokenRefused } from './dev-server.js'
import { loadGuestToken, removeGuestToken, saveGuestToken, type PageIdentity } from './page-identity.js'
import { isJsonObject, textOrEmpty } from './json.js'
import { type OwnIdentity, TimedCentrifuge } from './publication.js'
import { disconnectText, interruptionText, withoutErrorCode, withFullStop } from './error-text.js'

export type ConnectionState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  /** The connection is lost. The SDK reconnects by itself at `retryByMs` (Unix milliseconds) or earlier. */
  | { readonly kind: 'waiting'; readonly reason: string; readonly retryByMs: number }
  /** The connection ended for good. Only `reconnectNow` opens it again. */
  | { readonly kind: 'ended'; readonly reason: string }

const delayMsMin = 500
const delayMsMax = 20_000

/**
 * Limit on the data of one message, in bytes. The gateway closes the connection for good after a frame above
 * 64 KiB; the difference is for the JSON around the text.
 */
const platformMessageBytesMax = 64 * 1024 - 1024

export class ChatConnection {
  readonly client: Centrifuge
  readonly #identity: PageIdentity
  readonly #url: string
  readonly #events: { changed(): void; connected(): void }
  readonly #clients = new Set<string>()
  #user: string | undefined
  #state: ConnectionState = { kind: 'connecting' }
  #messageBytesMax = platformMessageBytesMax
  #failedAttempts = 0
  /** Why the last request for a token failed. The SDK reports only that there was no token. */
  #tokenProblem = ''
  #isReconnecting = false

  /**
   * Does not connect before `client.connect()`. `connected` is called before the reply to any subscription.
   */
  constructor(identity: PageIdentity, events: { changed(): void; connected(): void }) {
    this.#identity = identity
    this.#user = identity.user
    this.#url = new URL(`/${identity.tenant}/connection/websocket`, location.href).href.replace(
      /^http/u,
      'ws',
    )
    this.#events = events
    this.client = new TimedCentrifuge(this.#url, {
      name: 'parley-page',
      minReconnectDelay: delayMsMin,
      maxReconnectDelay: delayMsMax,
      // A guest gets its token from the gateway, and the SDK must not ask the page for one. The SDK calls the
      // function again before a token expires.
      ...(identity.user === undefined
        ? { token: loadGuestToken(identity.tenant) ?? '' }
        : { getToken: () => this.#token() }),
    })
    this.client
      .on('connecting', ({ code }) => this.#onConnecting(code))
      .on('connected', (context) => this.#onConnected(context))
      .on('disconnected', ({ code, reason }) => this.#onDisconnected(code, reason))
      .on('error', ({ type, error }) => this.#onError(type, error.message))
  }

  get state(): ConnectionState {
    return this.#state
  }

  get self(): OwnIdentity {
    return { user: this.#user, clients: this.#clients }
  }

  /** Limit on the data of one message, in bytes of JSON. */
  get messageBytesMax(): number {
    return this.#messageBytesMax
  }

  /**
   * Reconnects without waiting for the next attempt. The SDK keeps its positions, so that recovery works as
   * after any other reconnect.
   */
  reconnectNow(): void {
    this.#isReconnecting = true
    this.client.disconnect()
    this.#isReconnecting = false
    this.client.connect()
  }

  async #token(): Promise<string> {
    try {
      return await fetchToken(this.#identity)
    } catch (error) {
      const isRefused = error instanceof TokenRefused
      this.#tokenProblem = isRefused ? withFullStop(error.message) : 'The gateway does not respond.'
      // After UnauthorizedError the SDK does not ask for a token again. After any other error it does.
      throw isRefused ? new Centrifuge.UnauthorizedError(error.message) : error
    }
  }

  #onConnecting(code: number): void {
    this.#failedAttempts = 0
    // Code 0 means that the page called `connect()`. Every other code reports a lost connection, after which
    // the SDK waits before it reconnects.
    if (code === 0) this.#set({ kind: 'connecting' })
    else this.#setWaiting(interruptionText(code))
  }

  #onConnected(context: ConnectedContext): void {
    this.#clients.add(context.client)
    if (this.#identity.user === undefined) this.#keepGuest(context.data)
    this.#messageBytesMax = messageBytesMaxIn(context.data) ?? platformMessageBytesMax
    this.#state = { kind: 'connected' }
    this.#events.connected()
    this.#events.changed()
  }

  /** Keeps the identity that the gateway issued, for the next connect and for a reload of the page. */
  #keepGuest(data: unknown): void {
    const fields = isJsonObject(data) ? data : {}
    const token = textOrEmpty(fields['guest_token'])
    this.#user = textOrEmpty(fields['user_id'])
    this.client.setToken(token)
    saveGuestToken(this.#identity.tenant, token)
  }

  #onDisconnected(code: number, reason: string): void {
    if (this.#isReconnecting) return
    // The gateway refuses the stored guest token. Without it, a reload makes a new guest.
    if (code === 3500 && this.#identity.user === undefined) removeGuestToken(this.#identity.tenant)
    this.#set({
      kind: 'ended',
      reason: (code === 1 && this.#tokenProblem) || disconnectText(code, reason),
    })
  }

  #onError(type: string, message: string): void {
    if (type !== 'transport' && type !== 'connect' && type !== 'connectToken') return
    this.#failedAttempts += 1
    if (type === 'connect') this.#setWaiting(withFullStop(withoutErrorCode(message)))
    else if (type === 'connectToken') this.#setWaiting(this.#tokenProblem)
    else {
      this.#setWaiting('The gateway does not respond.')
      void this.#diagnose()
    }
  }

  /**
   * Asks the gateway over HTTP why the WebSocket was refused, since a browser does not say. Never rejects.
   */
  async #diagnose(): Promise<void> {
    const diagnosis = await diagnose(this.#url)
    if (this.#state.kind !== 'waiting' || !diagnosis) return
    const { status, message } = diagnosis
    if (status === 403 || status === 404) {
      this.client.disconnect()
      this.#set({ kind: 'ended', reason: withFullStop(message) })
    } else if (message) {
      this.#set({ ...this.#state, reason: withFullStop(message) })
    }
  }

  /**
   * Shows the latest time of the next attempt. The SDK chooses a random delay below it, so that many pages do
   * not reconnect at once.
   */
  #setWaiting(reason: string): void {
    const delayMs = Math.min(delayMsMax, delayMsMin + delayMsMin * 2 ** this.#failedAttempts)
    this.#set({ kind: 'waiting', reason, retryByMs: Date.now() + delayMs })
  }

  #set(state: ConnectionState): void {
    this.#state = state
    this.#events.changed()
  }
}

/** Reads the limit on messages from the data that Parley sends with the reply to `connect`. */
function messageBytesMaxIn(data: unknown): number | undefined {
  const limits = isJsonObject(data) ? data['limits'] : undefined
  const bytes = isJsonObject(limits) ? limits['message_bytes'] : undefined
  return typeof bytes === 'number' && bytes > 0 ? Math.min(bytes, platformMessageBytesMax) : undefined
}
