// A client of the chat endpoint: a plain WebSocket and JSON, like the client of an application that
// implements the protocol.
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { expect, onTestFinished, vi } from 'vitest'
import { WebSocket, type ClientOptions } from 'ws'
import type { CloseFrame } from './frames.js'
import type { TestGateway } from './gateway.js'
import { Arrivals, deadlineMs, within } from './waiting.js'

export interface ChatEvent {
  readonly event: string
  readonly [field: string]: unknown
}

export interface ChatOptions {
  readonly protocols?: string[]
  /** The options of the ws library. */
  readonly options?: ClientOptions
  /**
   * The client is used by several tests, and the caller closes it. Default: false, and it closes with the
   * test.
   */
  readonly shared?: boolean
}

export class ChatClient {
  readonly socket: WebSocket
  /** All frames as they arrived, pings included. */
  readonly texts: string[] = []
  readonly events = new Arrivals<ChatEvent>('an event')
  readonly #closing: Promise<CloseFrame>
  #requests = 0

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

  /** Sends an object as JSON, and a string unchanged. */
  send(command: object | string): void {
    this.socket.send(typeof command === 'string' ? command : JSON.stringify(command))
  }

  /** Returns the oldest event of that name that was not returned before. */
  next(event: string, fits: (event: ChatEvent) => boolean = () => true): Promise<ChatEvent> {
    return this.events.next((item) => item.event === event && fits(item), `"${event}"`)
  }

  /** Sends the command with a new id, and returns the ack or the error. */
  async ask(command: object): Promise<ChatEvent> {
    this.#requests += 1
    const id = `ask-${this.#requests}`
    this.send({ ...command, id })
    return this.events.next(
      (item) => item.id === id && (item.event === 'ack' || item.event === 'error'),
      `the answer to ${JSON.stringify(command)}`,
    )
  }

  /** Sends the command like `ask`, and throws when the reply is an error. */
  async done(command: object): Promise<ChatEvent> {
    const answer = await this.ask(command)
    if (answer.event === 'error') throw new Error(JSON.stringify(answer))
    return answer
  }

  /**
   * Returns all events that were not returned before. Everything that was acknowledged to any client before
   * this call has arrived when it returns, since the gateway sends in order. (Leaving a room that the client
   * is not in is no error, needs no permission and changes nothing.)
   */
  async settle(): Promise<ChatEvent[]> {
    const { id } = await this.done({ type: 'leave_room', room: 'nowhere' })
    const events: ChatEvent[] = []
    while (this.events.waiting.length > 0) events.push(await this.events.next())
    return events.filter((item) => item.id !== id)
  }

  /** Resolves with the close frame of the server. */
  closed(): Promise<CloseFrame> {
    return within('closing', this.#closing)
  }
}

/** Closes the client, and resolves when the gateway has noticed. */
export async function leave(client: ChatClient, { gateway }: TestGateway): Promise<void> {
  const { sessions } = gateway.context
  const remaining = sessions.size - 1
  client.socket.close(1000)
  await client.closed()
  await vi.waitFor(() => expect(sessions.size).toBe(remaining), deadlineMs)
}

/** A gateway in this process or another one, or a load balancer in front of several. */
export type ChatEndpoint = Pick<TestGateway, 'ws' | 'token'>

export function chatUrl(gateway: Pick<ChatEndpoint, 'ws'>, tenant = 'demo/acme'): string {
  return `${gateway.ws}/${tenant}/ws`
}

export interface ChatUser extends ChatOptions {
  readonly tenant?: string
  readonly clientId?: string
  readonly claims?: Record<string, unknown>
  readonly expiresInS?: number
}

/** Returns a connected client that has received all events so far. */
export async function chatAs(
  gateway: ChatEndpoint,
  user: string,
  options: ChatUser = {},
): Promise<ChatClient> {
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

/** Attempts an upgrade, and returns the response that refuses it. */
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

/** Sends a plain GET to the URL, and returns the response. */
export async function plainGet(url: string, headers: Record<string, string> = {}): Promise<Refusal> {
  const response = await fetch(url.replace(/^ws/, 'http'), { headers })
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.json(),
  }
}
