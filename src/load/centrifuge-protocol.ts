// The client side of Parley's Centrifuge endpoint, in JSON.
import { z } from 'zod'
import type { FrameKind, ClientProtocol, LoadClient } from './client-protocol.js'

const Reply = z.object({
  id: z.int(),
  error: z.object({ code: z.int() }).optional(),
  subscribe: z
    .object({
      epoch: z.string().default(''),
      offset: z.int().default(0),
      recovered: z.boolean().default(false),
    })
    .optional(),
})

const firstOf = { id: 'i'.charCodeAt(0), error: 'e'.charCodeAt(0) }
const comma = ','.charCodeAt(0)

export interface CentrifugeProtocolOptions {
  /** Returns the path of the tenant: `/<namespace>/<name>`. */
  path(client: LoadClient): string
  /** Returns the token of the client; an empty token makes it a guest. */
  token(client: LoadClient): string
}

export class CentrifugeProtocol implements ClientProtocol {
  readonly acknowledgesPublishes = true
  readonly pong = '{}'
  /**
   * When true, clients subscribe with recovery from the position at which the first client subscribed.
   * Default false.
   */
  recovers = false
  /** Number of subscriptions whose recovery was complete. */
  recovered = 0
  readonly #options: CentrifugeProtocolOptions
  /** The position of each channel when the first client subscribed to it. */
  readonly #positions = new Map<string, { epoch: string; offset: number }>()

  constructor(options: CentrifugeProtocolOptions) {
    this.#options = options
  }

  requestTarget(client: LoadClient): string {
    return `${this.#options.path(client)}/connection/websocket`
  }

  opening(client: LoadClient): { text: string; replies: number } {
    const connect = { id: 1, connect: { token: this.#options.token(client) } }
    const subscribes = client.channels.map((channel, index) => {
      const since = this.recovers ? this.#positions.get(channel) : undefined
      const subscribe = { channel, recoverable: true, ...(since && { recover: true, ...since }) }
      return { id: index + 2, subscribe }
    })
    const commands = [connect, ...subscribes].map((command) => JSON.stringify(command))
    return { text: commands.join('\n'), replies: commands.length }
  }

  publish(id: number, channel: string, data: string): string {
    return `{"id":${id},"publish":{"channel":"${channel}","data":"${data}"}}`
  }

  /**
   * Pushes begin with `{"push":`. Replies begin with `{"id":123,` and the name of their content. A ping is
   * the empty object `{}`.
   */
  frameKind(bytes: Buffer, from: number, to: number): FrameKind {
    if (to - from === 2) return 'ping'
    if (bytes[from + 2] !== firstOf.id) return 'push'
    return bytes[bytes.indexOf(comma, from) + 2] === firstOf.error ? 'error' : 'reply'
  }

  onOpeningReply(client: LoadClient, text: string): void {
    const { id, subscribe } = Reply.parse(JSON.parse(text))
    const channel = client.channels[id - 2]
    if (!subscribe || channel === undefined) return
    if (subscribe.recovered) this.recovered += 1
    if (this.#positions.has(channel)) return
    this.#positions.set(channel, { epoch: subscribe.epoch, offset: subscribe.offset })
  }

  errorCode(text: string): string {
    return String(Reply.parse(JSON.parse(text)).error?.code ?? 'no code')
  }
}
