// A client that sends and records plain messages at any endpoint: JSON of the chat protocol, or Centrifuge's
// protocol in JSON or protobuf. Messages of all three are plain objects.
import { once } from 'node:events'
import { WebSocket } from 'ws'
import {
  readMessage,
  splitDelimited,
  writeDelimited,
} from '../../src/protocol/centrifuge/protobuf-message.js'
import { WireCommand, WireReply } from '../../src/protocol/centrifuge/schema.js'
import type { CloseFrame } from './frames.js'
import type { Json } from './raw-client.js'
import { Arrivals, within } from './waiting.js'

export const wires = ['chat', 'centrifuge-json', 'centrifuge-protobuf'] as const
export type Wire = (typeof wires)[number]

export interface WireOptions {
  readonly tenant: string
  /** The token of a user. Empty: a guest. */
  readonly token: string
  /** At the chat endpoint. */
  readonly clientId?: string
  /** At the Centrifuge endpoint: positions of the channels that the token names. */
  readonly subs?: Json
}

export class WireClient {
  readonly wire: Wire
  /** All messages except pings, in order of arrival. */
  readonly received: Json[] = []
  readonly #socket: WebSocket
  readonly #arrivals = new Arrivals<Json>('a message')
  readonly #closing: Promise<CloseFrame>
  #requests = 0

  private constructor(wire: Wire, socket: WebSocket) {
    this.wire = wire
    this.#socket = socket
    socket.on('message', (payload: Buffer, binary) => {
      for (const message of binary ? decodedProtobuf(payload) : decodedJson(payload)) {
        if (message['event'] === 'ping' || Object.keys(message).length === 0) continue
        this.received.push(message)
        this.#arrivals.push(message)
      }
    })
    this.#closing = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  /** Resolves when the client is connected; its first message is then the `welcome` or the connect reply. */
  static async connect(
    { ws }: { readonly ws: string },
    wire: Wire,
    { clientId = '', subs, tenant, token }: WireOptions,
  ): Promise<WireClient> {
    const path = wire === 'chat' ? `ws/${clientId}` : 'connection/websocket'
    const subprotocols = wire === 'chat' ? (token === '' ? [] : ['parley.chat.v1', token]) : [wire]
    const socket = new WebSocket(`${ws}/${tenant}/${path}`, subprotocols)
    const client = new WireClient(wire, socket)
    await within('opening', once(socket, 'open'))
    if (wire === 'chat') await client.next(({ event }) => event === 'welcome')
    else await client.ask({ connect: { token, ...(subs && { subs }) } })
    return client
  }

  send(message: Json): void {
    this.#socket.send(
      this.wire === 'centrifuge-protobuf' ? encodedProtobuf(message) : JSON.stringify(message),
    )
  }

  /** Sends the command with a new id. Resolves with the reply or error, at the chat endpoint with the ack. */
  async ask(command: Json): Promise<Json> {
    this.#requests += 1
    const id = this.#requests
    this.send({ id, ...command })
    const what = `the answer to ${JSON.stringify(command)}`
    const closed = this.#closing.then(({ code, reason }) => {
      throw new Error(`closed with ${code} ${reason} before ${what}`)
    })
    const answers = ({ event, id: answered }: Json): boolean =>
      answered === id && (this.wire !== 'chat' || event === 'ack' || event === 'error')
    return Promise.race([this.next(answers, what), closed])
  }

  /** Returns the oldest message that fits and was not returned before. */
  next(fits: (message: Json) => boolean, what?: string): Promise<Json> {
    return this.#arrivals.next(fits, what)
  }

  /** Waits for a message that contains `text`. */
  async hear(text: string): Promise<Json> {
    return this.next((message) => JSON.stringify(message).includes(text), `a message with ${text}`)
  }

  closed(): Promise<CloseFrame> {
    return within('closing', this.#closing)
  }

  close(): void {
    this.#socket.terminate()
  }
}

function decodedJson(payload: Buffer): Json[] {
  return payload
    .toString()
    .split('\n')
    .map((line) => JSON.parse(line) as Json)
}

function decodedProtobuf(payload: Buffer): Json[] {
  return [...splitDelimited(payload)].map((message) => plain(readMessage(WireReply, message)) as Json)
}

/** Converts maps to objects, and bytes, which hold JSON, to values. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return JSON.parse(Buffer.from(value).toString())
  if (value instanceof Map) return plain(Object.fromEntries(value))
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]))
}

/** Converts the two members that are no plain values in protobuf: the data of a publish, and a map. */
function encodedProtobuf(message: Json): Uint8Array {
  const { connect, publish } = message
  return writeDelimited(WireCommand, {
    ...message,
    ...(publish && { publish: { ...publish, data: Buffer.from(JSON.stringify(publish.data)) } }),
    ...(connect?.subs && { connect: { ...connect, subs: new Map(Object.entries(connect.subs)) } }),
  })
}
