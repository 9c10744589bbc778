// A client of the plain chat door: a bare WebSocket and JSON, as whoever writes against the contract has it.
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { expect, onTestFinished, vi } from 'vitest'
import { WebSocket, type ClientOptions } from 'ws'
import type { Closing } from './frames.js'
import type { TestGateway } from './gateway.js'
import { Arrivals, deadlineMs, within } from './waiting.js'

export interface ChatEvent {
  readonly event: string
  readonly [field: string]: unknown
}

/** `options` are those of ws. */
export interface ChatOptions {
  readonly protocols?: string[]
  readonly options?: ClientOptions
  /** Of several tests, and closed by whoever opened it. Default: it ends with the test. */
  readonly shared?: boolean
}

export class ChatClient {
  readonly socket: WebSocket
  /** Frames as they came, pings too. */
  readonly texts: string[] = []
  readonly events = new Arrivals<ChatEvent>('an event')
  readonly #closing: Promise<Closing>
  #asked = 0

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data: Buffer, binary) => {
      if (binary) throw new Error('the server sent a binary frame')
      const text = data.toString()
      this.texts.push(text)
      this.events.push(JSON.parse(text) as ChatEvent)
    })
    this.#closing = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  static async open(
    url: string,
    { protocols = [], options = {}, shared = false }: ChatOptions = {},
  ): Promise<ChatClient> {
    const socket = new WebSocket(url, protocols, options)
    const client = new ChatClient(socket)
    if (!shared) onTestFinished(() => socket.terminate())
    await within('opening', once(socket, 'open'))
    return client
  }

  /** An object is sent as JSON, a text as it is. */
  send(command: object | string): void {
    this.socket.send(typeof command === 'string' ? command : JSON.stringify(command))
  }

  /** The oldest event of that name not yet taken. */
  next(event: string, fits: (event: ChatEvent) => boolean = () => true): Promise<ChatEvent> {
    return this.events.next((item) => item.event === event && fits(item), `"${event}"`)
  }

  /** Sends with an id of its own; gives the ack, or the error. */
  async ask(command: object): Promise<ChatEvent> {
    this.#asked += 1
    const id = `ask-${this.#asked}`
    this.send({ ...command, id })
    return this.events.next(
      (item) => item.id === id && (item.event === 'ack' || item.event === 'error'),
      `the answer to ${JSON.stringify(command)}`,
    )
  }

  /** As `ask`, but an error fails the test. */
  async done(command: object): Promise<ChatEvent> {
    const answer = await this.ask(command)
    if (answer.event === 'error') throw new Error(JSON.stringify(answer))
    return answer
  }

  /**
   * All events not yet taken, up to now: whatever was acknowledged to anybody before this call has arrived when it returns, since
   * the gateway sends in order. (Leaving a room that one is not in is no error, needs no right and changes nothing.)
   */
  async settle(): Promise<ChatEvent[]> {
    const { id } = await this.done({ type: 'leave_room', room: 'nowhere' })
    const events: ChatEvent[] = []
    while (this.events.waiting.length > 0) events.push(await this.events.next())
    return events.filter((item) => item.id !== id)
  }

  /** The server's close. */
  closed(): Promise<Closing> {
    return within('closing', this.#closing)
  }
}

/** Goes by itself, and the gateway has noticed. */
export async function leave(client: ChatClient, { gateway }: TestGateway): Promise<void> {
  const { sessions } = gateway.context
  const wanted = sessions.size - 1
  client.socket.close(1000)
  await client.closed()
  await vi.waitFor(() => expect(sessions.size).toBe(wanted), deadlineMs)
}

/** Also a gateway that is a process of its own, or a balancer before some. */
export type ChatDoor = Pick<TestGateway, 'ws' | 'token'>

export function chatUrl(gateway: Pick<ChatDoor, 'ws'>, tenant = 'demo/acme'): string {
  return `${gateway.ws}/${tenant}/ws`
}

export interface ChatUser extends ChatOptions {
  readonly tenant?: string
  readonly clientId?: string
  readonly claims?: Record<string, unknown>
  readonly expiresInS?: number
}

/** Connected and told all there is to tell: what comes next is news. */
export async function chatAs(gateway: ChatDoor, user: string, options: ChatUser = {}): Promise<ChatClient> {
  const { tenant = 'demo/acme', clientId, claims = {}, expiresInS = 3600 } = options
  const token = await gateway.token(user, { tenant, claims, expiresInS })
  const query = new URLSearchParams({ token, ...(clientId === undefined ? {} : { client_id: clientId }) })
  const client = await ChatClient.open(`${chatUrl(gateway, tenant)}?${query}`, options)
  await client.settle()
  return client
}

export async function joined(client: ChatClient, room: string, fields: object = {}): Promise<ChatEvent> {
  await client.done({ type: 'join_room', room, ...fields })
  return client.next('joined', (event) => event.room === room)
}

export interface Refusal {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
}

/** The answer to an upgrade that is refused. */
export async function refusedUpgrade(
  url: string,
  { protocols = [], options = {} }: ChatOptions = {},
): Promise<Refusal> {
  const socket = new WebSocket(url, protocols, options)
  onTestFinished(() => socket.terminate())
  const refused = new Promise<IncomingMessage>((resolve, reject) => {
    socket.on('unexpected-response', (_request, response) => resolve(response))
    socket.on('open', () => reject(new Error('the upgrade was not refused')))
    socket.on('error', () => {})
  })
  const response = await within('a refusal', refused)
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) as unknown }
}

/** What a plain GET of the same URL is answered. */
export async function plainGet(url: string, headers: Record<string, string> = {}): Promise<Refusal> {
  const response = await fetch(url.replace(/^ws/, 'http'), { headers })
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.json(),
  }
}
