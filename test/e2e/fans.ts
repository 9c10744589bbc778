// Fans at both doors: each is in one room, and comes back by itself as the documentation asks of clients.
import type { IncomingMessage } from 'node:http'
import { Centrifuge } from 'centrifuge'
import { WebSocket } from 'ws'
import { ChatRequests } from '../support/chat-requests.js'
import { within } from '../support/waiting.js'
import type { Tenant } from './tenants.js'
import { Thread } from './thread.js'

/** Whatever a busy cluster takes to let somebody in. */
const joinDeadlineMs = 60_000

export interface Room {
  readonly tenant: Tenant
  readonly name: string
}

export interface Fan {
  readonly room: Room
  readonly thread: Thread
  close(): void
}

export interface FanOptions {
  readonly name: string
  readonly room: Room
  /** The gateways' Service. */
  readonly url: string
}

interface Position {
  readonly epoch: string
  readonly offset: number
}

export interface ChatEvent extends Partial<Position> {
  readonly event: string
  readonly id?: string
  readonly code?: string
  readonly recovered?: boolean
  readonly content?: { readonly n: number }
  readonly messages?: readonly ChatEvent[]
}

/** The unmodified `centrifuge` package, with the pauses it has by default. */
export async function sdkFan({ name, room, url }: FanOptions): Promise<Fan> {
  const thread = new Thread(`${name} in ${room.name}`)
  const client = new Centrifuge(`${url}/${room.tenant.name}/connection/websocket`, {
    websocket: WebSocket,
    token: await room.tenant.token(name),
  })
  const subscription = client.newSubscription(room.name, { recoverable: true, positioned: true })
  subscription.on('subscribing', ({ code }) => code !== 0 && thread.lost())
  subscription.on('subscribed', ({ recovered, wasRecovering }) => thread.joined(!wasRecovering || recovered))
  subscription.on('publication', ({ data }) => thread.received((data as { n: number }).n))
  subscription.subscribe()
  client.connect()
  await subscription.ready(joinDeadlineMs)
  return { room, thread, close: () => client.disconnect() }
}

/** The pause before the next attempt: random, up to twice as long each time. */
const pauseMsMax = { first: 500, last: 8_000 }

/** The plain chat door, by hand as docs/chat-protocol.md says. */
export class ChatFan implements Fan {
  readonly thread: Thread
  readonly #options: FanOptions
  readonly #asks = new ChatRequests<ChatEvent>()
  /** Called each time that it has joined its room. */
  #onJoined = (): void => {}
  #token = ''
  #socket: WebSocket | undefined
  #since: Position | undefined
  #attempts = 0
  #retryAfterMs = 0
  #closed = false

  private constructor(options: FanOptions) {
    this.#options = options
    this.thread = new Thread(`${options.name} in ${options.room.name}`)
  }

  static async open(options: FanOptions): Promise<ChatFan> {
    const fan = new ChatFan(options)
    fan.#token = await options.room.tenant.token(options.name)
    const joined = new Promise<void>((resolve) => (fan.#onJoined = resolve))
    fan.#connect()
    await within(`${options.name} joining`, joined, joinDeadlineMs)
    return fan
  }

  get room(): Room {
    return this.#options.room
  }

  get closed(): boolean {
    return this.#closed
  }

  /** See `ChatAsks.ask`. */
  ask(command: object): Promise<ChatEvent> {
    return this.#asks.ask(this.#socket, command)
  }

  close(): void {
    this.#closed = true
    this.#socket?.terminate()
  }

  #connect(): void {
    const { room, url } = this.#options
    const socket = new WebSocket(`${url}/${room.tenant.name}/ws`, {
      headers: { Authorization: `Bearer ${this.#token}` },
      handshakeTimeout: 10_000,
    })
    this.#socket = socket
    socket.on('open', () => this.#join(socket))
    socket.on('message', (data: Buffer) => this.#onEvent(JSON.parse(data.toString()) as ChatEvent, socket))
    socket.on('unexpected-response', (_request, { headers }: IncomingMessage) => {
      this.#retryAfterMs = Number(headers['retry-after'] ?? 0) * 1_000
      socket.terminate()
    })
    socket.on('error', () => {})
    socket.on('close', () => this.#onClose())
  }

  #onClose(): void {
    if (this.#closed) return
    this.thread.lost()
    this.#asks.lose()
    const mostMs = Math.min(pauseMsMax.last, pauseMsMax.first * 2 ** this.#attempts)
    this.#attempts += 1
    setTimeout(() => !this.#closed && this.#connect(), this.#retryAfterMs + mostMs * Math.random())
    this.#retryAfterMs = 0
  }

  #join(socket: WebSocket): void {
    if (socket.readyState !== WebSocket.OPEN) return
    const command = {
      type: 'join_room',
      room: this.#options.room.name,
      id: 'join',
      since: this.#since ?? null,
    }
    socket.send(JSON.stringify(command))
  }

  #onEvent(event: ChatEvent, socket: WebSocket): void {
    const { content, epoch, id, offset } = event
    if (event.event === 'ping') return socket.send('{"type":"pong"}')
    if (epoch !== undefined && offset !== undefined && (event.event === 'chat' || event.event === 'joined'))
      this.#since = { epoch, offset }
    if (event.event === 'chat' && content) this.thread.received(content.n)
    if (event.event === 'joined') {
      this.#attempts = 0
      this.thread.joined(event.recovered === true)
      this.#onJoined()
    }
    if (event.event === 'error' && id === 'join') setTimeout(() => this.#join(socket), 200)
    else if (id !== undefined && event.event !== 'chat') this.#asks.answer(id, event)
  }
}
