// Clients of both endpoints. Each joins one room, and reconnects automatically as the documentation asks of
// clients.
import type { IncomingMessage } from 'node:http'
import { Centrifuge } from 'centrifuge'
import { WebSocket } from 'ws'
import { ChatRequests } from '../support/chat-requests.js'
import { within } from '../support/waiting.js'
import type { Tenant } from './tenants.js'
import { ReceivedLog } from './received-log.js'

/** Long enough for a connect on a busy cluster. */
const joinDeadlineMs = 60_000

export interface Room {
  readonly tenant: Tenant
  readonly name: string
}

export interface TestClient {
  readonly room: Room
  readonly log: ReceivedLog
  close(): void
}

export interface TestClientOptions {
  readonly name: string
  readonly room: Room
  /** URL of the gateways' Service. */
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

/** Connects a client with the unmodified `centrifuge` package and its default reconnect delays. */
export async function sdkTestClient({ name, room, url }: TestClientOptions): Promise<TestClient> {
  const log = new ReceivedLog(`${name} in ${room.name}`)
  const client = new Centrifuge(`${url}/${room.tenant.name}/connection/websocket`, {
    websocket: WebSocket,
    token: await room.tenant.token(name),
  })
  const subscription = client.newSubscription(room.name, { recoverable: true, positioned: true })
  subscription.on('subscribing', ({ code }) => code !== 0 && log.lost())
  subscription.on('subscribed', ({ recovered, wasRecovering }) => log.joined(!wasRecovering || recovered))
  subscription.on('publication', ({ data }) => log.received((data as { n: number }).n))
  subscription.subscribe()
  client.connect()
  await subscription.ready(joinDeadlineMs)
  return { room, log, close: () => client.disconnect() }
}

/** Limits of the random pause before the next attempt. The limit doubles with each attempt. */
const pauseMsMax = { first: 500, last: 8_000 }

/** A client of the chat endpoint that implements docs/chat-protocol.md. */
export class ChatTestClient implements TestClient {
  readonly log: ReceivedLog
  readonly #options: TestClientOptions
  readonly #requests = new ChatRequests<ChatEvent>()
  /** Called each time the client has joined its room. */
  #onJoined = (): void => {}
  #token = ''
  #socket: WebSocket | undefined
  #since: Position | undefined
  #attempts = 0
  #retryAfterMs = 0
  #closed = false

  private constructor(options: TestClientOptions) {
    this.#options = options
    this.log = new ReceivedLog(`${options.name} in ${options.room.name}`)
  }

  static async open(options: TestClientOptions): Promise<ChatTestClient> {
    const client = new ChatTestClient(options)
    client.#token = await options.room.tenant.token(options.name)
    const joined = new Promise<void>((resolve) => (client.#onJoined = resolve))
    client.#connect()
    await within(`${options.name} joining`, joined, joinDeadlineMs)
    return client
  }

  get room(): Room {
    return this.#options.room
  }

  get closed(): boolean {
    return this.#closed
  }

  /** See `ChatRequests.ask`. */
  ask(command: object): Promise<ChatEvent> {
    return this.#requests.ask(this.#socket, command)
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
    this.log.lost()
    this.#requests.rejectAll()
    const maxMs = Math.min(pauseMsMax.last, pauseMsMax.first * 2 ** this.#attempts)
    this.#attempts += 1
    setTimeout(() => !this.#closed && this.#connect(), this.#retryAfterMs + maxMs * Math.random())
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
    if (event.event === 'chat' && content) this.log.received(content.n)
    if (event.event === 'joined') {
      this.#attempts = 0
      this.log.joined(event.recovered === true)
      this.#onJoined()
    }
    if (event.event === 'error' && id === 'join') setTimeout(() => this.#join(socket), 200)
    else if (id !== undefined && event.event !== 'chat') this.#requests.answer(id, event)
  }
}
