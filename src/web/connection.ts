// One connection to one tenant, by Centrifuge's own SDK: it reconnects, recovers and refreshes tokens. Here its events become a state that
// can be shown in words.
import { Centrifuge, type ConnectedContext } from 'centrifuge'
import { diagnose, fetchToken, Refused } from './dev-server.js'
import type { Identity } from './identity.js'
import { isJsonObject } from './json.js'
import { type Self, TimedCentrifuge } from './publication.js'
import { endingSentence, interruptionSentence, plain, withFullStop } from './error-text.js'

export type ConnectionState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  /** Lost; the SDK tries again by itself, at the latest at `retryByMs`. */
  | { readonly kind: 'waiting'; readonly why: string; readonly retryByMs: number }
  /** Ended; nobody tries again but a person. */
  | { readonly kind: 'over'; readonly why: string }

const delayMsMin = 500
const delayMsMax = 20_000

/** The gateway hangs up for good on a frame above 64 KiB; a little is left for what surrounds the text. */
const messageBytesOfPlatform = 64 * 1024 - 1024

export class Connection {
  readonly client: Centrifuge
  readonly #identity: Identity
  readonly #url: string
  readonly #events: { changed(): void; connected(): void }
  readonly #clients = new Set<string>()
  #user: string | undefined
  #state: ConnectionState = { kind: 'connecting' }
  #messageBytesMax = messageBytesOfPlatform
  #attempt = 0
  /** Why there was no token last time: the SDK keeps only that there was none. */
  #noToken = ''
  #tryingNow = false

  /** Does nothing until `client.connect()`. `connected` is called before any subscription is answered. */
  constructor(identity: Identity, events: { changed(): void; connected(): void }) {
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
      // A guest has no token, and the SDK must not ask for one. The SDK calls this again whenever a token runs out.
      getToken: identity.user === undefined ? null : () => this.#token(),
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

  get self(): Self {
    return { user: this.#user, clients: this.#clients }
  }

  /** What one message may have; as data, in bytes. */
  get messageBytesMax(): number {
    return this.#messageBytesMax
  }

  /** For people who do not like to wait. Positions are kept: recovery works as after any other pause. */
  tryNow(): void {
    this.#tryingNow = true
    this.client.disconnect()
    this.#tryingNow = false
    this.client.connect()
  }

  async #token(): Promise<string> {
    try {
      return await fetchToken(this.#identity)
    } catch (error) {
      const isRefused = error instanceof Refused
      this.#noToken = isRefused ? withFullStop(error.message) : 'The gateway does not answer.'
      // The SDK's word for: do not ask again. After any other error it does.
      throw isRefused ? new Centrifuge.UnauthorizedError(error.message) : error
    }
  }

  #onConnecting(code: number): void {
    this.#attempt = 0
    // 0: we asked for it. All other codes tell of a loss, after which the SDK waits before it tries.
    if (code === 0) this.#set({ kind: 'connecting' })
    else this.#wait(interruptionSentence(code))
  }

  #onConnected(context: ConnectedContext): void {
    this.#clients.add(context.client)
    if (this.#identity.user === undefined) this.#user = `guest:${context.client}`
    this.#messageBytesMax = messageBytesOf(context.data) ?? messageBytesOfPlatform
    this.#state = { kind: 'connected' }
    this.#events.connected()
    this.#events.changed()
  }

  #onDisconnected(code: number, reason: string): void {
    if (this.#tryingNow) return
    this.#set({
      kind: 'over',
      why: (code === 1 && this.#noToken) || endingSentence(code, reason),
    })
  }

  #onError(type: string, message: string): void {
    if (type !== 'transport' && type !== 'connect' && type !== 'connectToken') return
    this.#attempt += 1
    if (type === 'connect') this.#wait(withFullStop(plain(message)))
    else if (type === 'connectToken') this.#wait(this.#noToken)
    else {
      this.#wait('The gateway does not answer.')
      void this.#explain()
    }
  }

  /** Asks over HTTP what the browser does not tell about the WebSocket. Never rejects. */
  async #explain(): Promise<void> {
    const diagnosis = await diagnose(this.#url)
    if (this.#state.kind !== 'waiting' || !diagnosis) return
    const { status, message } = diagnosis
    if (status === 403 || status === 404) {
      this.client.disconnect()
      this.#set({ kind: 'over', why: withFullStop(message) })
    } else if (message) {
      this.#set({ ...this.#state, why: withFullStop(message) })
    }
  }

  /** The SDK chooses a random delay below this bound, so that a thousand pages do not come back at once. */
  #wait(why: string): void {
    const delayMs = Math.min(delayMsMax, delayMsMin + delayMsMin * 2 ** this.#attempt)
    this.#set({ kind: 'waiting', why, retryByMs: Date.now() + delayMs })
  }

  #set(state: ConnectionState): void {
    this.#state = state
    this.#events.changed()
  }
}

/** Parley tells each connection its limits when it is accepted. */
function messageBytesOf(data: unknown): number | undefined {
  const limits = isJsonObject(data) ? data['limits'] : undefined
  const bytes = isJsonObject(limits) ? limits['message_bytes'] : undefined
  return typeof bytes === 'number' && bytes > 0 ? Math.min(bytes, messageBytesOfPlatform) : undefined
}
