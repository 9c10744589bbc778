// What a client says at Parley's Centrifuge door, in JSON.
import { z } from 'zod'
import type { Heard, Language, Visitor } from './language.js'

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

export interface CentrifugeVisits {
  /** Of the tenant: `/<namespace>/<name>`. */
  path(visitor: Visitor): string
  token(visitor: Visitor): string
}

export class CentrifugeLanguage implements Language {
  readonly acknowledges = true
  readonly pong = '{}'
  /** Visitors were here before, and ask for what they missed. */
  returning = false
  /** Subscriptions that were given all they had missed. */
  recovered = 0
  readonly #visits: CentrifugeVisits
  /** Where each channel stood when the first visitor came. */
  readonly #positions = new Map<string, { epoch: string; offset: number }>()

  constructor(visits: CentrifugeVisits) {
    this.#visits = visits
  }

  target(visitor: Visitor): string {
    return `${this.#visits.path(visitor)}/connection/websocket`
  }

  hello(visitor: Visitor): { text: string; answers: number } {
    const connect = { id: 1, connect: { token: this.#visits.token(visitor) } }
    const subscribes = visitor.channels.map((channel, index) => {
      const since = this.returning ? this.#positions.get(channel) : undefined
      const subscribe = { channel, recoverable: true, ...(since && { recover: true, ...since }) }
      return { id: index + 2, subscribe }
    })
    const commands = [connect, ...subscribes].map((command) => JSON.stringify(command))
    return { text: commands.join('\n'), answers: commands.length }
  }

  publish(id: number, channel: string, data: string): string {
    return `{"id":${id},"publish":{"channel":"${channel}","data":"${data}"}}`
  }

  /** Pushes begin with `{"push":`, replies with `{"id":123,` and the name of what they hold; pings are empty. */
  hear(bytes: Buffer, from: number, to: number): Heard {
    if (to - from === 2) return 'ping'
    if (bytes[from + 2] !== firstOf.id) return 'push'
    return bytes[bytes.indexOf(comma, from) + 2] === firstOf.error ? 'refusal' : 'answer'
  }

  welcome(visitor: Visitor, text: string): void {
    const { id, subscribe } = Reply.parse(JSON.parse(text))
    const channel = visitor.channels[id - 2]
    if (!subscribe || channel === undefined) return
    if (subscribe.recovered) this.recovered += 1
    if (this.#positions.has(channel)) return
    this.#positions.set(channel, { epoch: subscribe.epoch, offset: subscribe.offset })
  }

  refusal(text: string): string {
    return String(Reply.parse(JSON.parse(text)).error?.code ?? 'no code')
  }
}
