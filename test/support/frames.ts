// Raw frames over ws, for input that no client library sends, and for the exact bytes of the replies.
import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { centrifugeUrl } from './centrifuge-sdk.js'
import type { TestGateway } from './gateway.js'
import { Arrivals, within } from './waiting.js'

export interface CloseFrame {
  readonly code: number
  readonly reason: string
}

/** A parsed line of a frame. */
export type JsonLine = Readonly<Record<string, unknown>>

export class RawCentrifugeClient {
  readonly socket: WebSocket
  /** The received frames. */
  readonly frames: string[] = []
  /** Replies and pushes as text, one per line, without pings. */
  readonly lines = new Arrivals<string>('a line')
  readonly pings = new Arrivals<string>('a ping')
  readonly closing: Promise<CloseFrame>

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data: Buffer, binary) => {
      if (binary) throw new Error('the server sent a binary frame')
      const frame = data.toString()
      this.frames.push(frame)
      for (const line of frame.split('\n')) (line === '{}' ? this.pings : this.lines).push(line)
    })
    this.closing = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  static async open(url: string, protocols: string[] = []): Promise<RawCentrifugeClient> {
    const socket = new WebSocket(url, protocols)
    const client = new RawCentrifugeClient(socket)
    onTestFinished(() => socket.terminate())
    await within('opening', once(socket, 'open'))
    return client
  }

  /** Sends one frame with one command per line. A string is sent unchanged. */
  send(...commands: readonly (object | string)[]): void {
    this.socket.send(
      commands.map((command) => (typeof command === 'string' ? command : JSON.stringify(command))).join('\n'),
    )
  }

  /** Resolves to the exact text of the next line. */
  line(): Promise<string> {
    return this.lines.next()
  }

  async object(): Promise<JsonLine> {
    return JSON.parse(await this.line()) as JsonLine
  }

  /** Resolves to the reply to a command, also when other replies arrive before it. */
  async reply(id: number): Promise<JsonLine> {
    const line = await this.lines.next(
      (text) => text.startsWith(`{"id":${id},`),
      `the reply to command ${id}`,
    )
    return JSON.parse(line) as JsonLine
  }

  /** Sends one command and waits for its reply. */
  ask(id: number, command: object): Promise<JsonLine> {
    this.send({ id, ...command })
    return this.reply(id)
  }

  closed(): Promise<CloseFrame> {
    return within('closing', this.closing)
  }
}

export function rawAt(gateway: TestGateway, tenant = 'demo/acme'): Promise<RawCentrifugeClient> {
  return RawCentrifugeClient.open(centrifugeUrl(gateway, tenant))
}

/** Opens a connected client, whose next line is the reply to the test's first command. */
export async function rawAs(
  gateway: TestGateway,
  user: string,
  tenant = 'demo/acme',
): Promise<RawCentrifugeClient> {
  const client = await rawAt(gateway, tenant)
  const reply = await client.ask(1, { connect: { token: await gateway.token(user, { tenant }) } })
  if (!('connect' in reply)) throw new Error(`connect was refused: ${JSON.stringify(reply)}`)
  return client
}
