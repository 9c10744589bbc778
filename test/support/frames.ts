// Raw frames over ws, for what no client library would send, and for the exact bytes of what comes back.
import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { door } from './centrifuge-sdk.js'
import type { TestGateway } from './gateway.js'
import { Arrivals, within } from './waiting.js'

export interface Closing {
  readonly code: number
  readonly reason: string
}

/** What came, with the line it was. */
export type Line = Readonly<Record<string, unknown>>

export class RawClient {
  readonly socket: WebSocket
  /** Frames as they came. */
  readonly frames: string[] = []
  /** Replies and pushes as text, one to a line; pings are left out. */
  readonly lines = new Arrivals<string>('a line')
  readonly pings = new Arrivals<string>('a ping')
  readonly closing: Promise<Closing>

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

  static async open(url: string, protocols: string[] = []): Promise<RawClient> {
    const socket = new WebSocket(url, protocols)
    const client = new RawClient(socket)
    onTestFinished(() => socket.terminate())
    await within('opening', once(socket, 'open'))
    return client
  }

  /** Objects become one frame, one to a line; a text is sent as it is. */
  send(...commands: readonly (object | string)[]): void {
    this.socket.send(
      commands.map((command) => (typeof command === 'string' ? command : JSON.stringify(command))).join('\n'),
    )
  }

  /** The next line, exactly. */
  line(): Promise<string> {
    return this.lines.next()
  }

  async object(): Promise<Line> {
    return JSON.parse(await this.line()) as Line
  }

  /** The answer to a command, also when others come before it. */
  async reply(id: number): Promise<Line> {
    const line = await this.lines.next(
      (text) => text.startsWith(`{"id":${id},`),
      `the reply to command ${id}`,
    )
    return JSON.parse(line) as Line
  }

  /** Sends one command and waits for its answer. */
  ask(id: number, command: object): Promise<Line> {
    this.send({ id, ...command })
    return this.reply(id)
  }

  closed(): Promise<Closing> {
    return within('closing', this.closing)
  }
}

export function rawAt(gateway: TestGateway, tenant = 'demo/acme'): Promise<RawClient> {
  return RawClient.open(door(gateway, tenant))
}

/** Connected: its next line is the answer to what the test sends. */
export async function rawAs(gateway: TestGateway, user: string, tenant = 'demo/acme'): Promise<RawClient> {
  const client = await rawAt(gateway, tenant)
  const reply = await client.ask(1, { connect: { token: await gateway.token(user, { tenant }) } })
  if (!('connect' in reply)) throw new Error(`connect was refused: ${JSON.stringify(reply)}`)
  return client
}
