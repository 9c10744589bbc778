// A client on a bare TCP socket: it sends any bytes, and reads HTTP responses and WebSocket frames. Every
// wait has a deadline.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as after } from 'node:timers/promises'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { opcodes, readFrame, text, type ServerFrame } from './raw-frames.js'

const deadlineMs = 10_000

export interface HttpAnswer {
  readonly status: number
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The parsed body. Undefined when there is none, or when it is not JSON. */
  readonly body: { code?: string; message?: string } | undefined
}

export type Json = Readonly<Record<string, any>> // oxlint-disable-line typescript/no-explicit-any -- tests check replies with expect

export class RawClient {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #ended = false
  /** Wakes the pending read for new bytes or the end of the connection. */
  #wake: () => void = () => {}
  /** Lines of frames with several objects that were not read yet. */
  readonly #lines: Json[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#wake()
    })
    // A reset ends the connection too. Tests check what arrived before it.
    socket.on('error', () => {})
    const ended = (): void => {
      this.#ended = true
      this.#wake()
    }
    socket.on('end', ended)
    socket.on('close', ended)
  }

  /** `localAddress` is the address that the server sees: Linux has all of 127.0.0.0/8. Default: 127.0.0.1. */
  static async connect(
    port: number,
    { localAddress = '127.0.0.1' }: { localAddress?: string } = {},
  ): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', localAddress, allowHalfOpen: true, noDelay: true })
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  /** Rejects when the handshake fails. */
  static async connectTls(port: number, options: ConnectionOptions): Promise<RawClient> {
    const socket = connectTls({ port, host: '127.0.0.1', ...options })
    await once(socket, 'secureConnect')
    return new RawClient(socket)
  }

  /** Each character of a string is one byte (Latin-1). */
  write(...bytes: (Buffer | string)[]): void {
    const parts = bytes.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part))
    this.socket.write(Buffer.concat(parts))
  }

  /** Sends one text frame: a string unchanged, anything else as JSON. */
  send(message: unknown): void {
    this.write(text(typeof message === 'string' ? message : JSON.stringify(message)))
  }

  async answer(): Promise<HttpAnswer> {
    return this.#until('an HTTP answer', () => this.#takeAnswer())
  }

  /** Returns the next frame of any type. */
  async frame(): Promise<ServerFrame> {
    return this.#until('a frame', () => {
      const read = readFrame(this.#received)
      if (!read) return undefined
      this.#received = this.#received.subarray(read.taken)
      return read.frame
    })
  }

  /** Returns the next frame that is not a text frame. */
  async control(): Promise<ServerFrame> {
    for (;;) {
      const frame = await this.frame()
      if (frame.opcode !== opcodes.text) return frame
    }
  }

  /** Returns the next object that `matches` accepts, and drops those before it. */
  async json(matches: (message: Json) => boolean = () => true): Promise<Json> {
    for (;;) {
      for (let line = this.#lines.shift(); line; line = this.#lines.shift()) if (matches(line)) return line
      const frame = await this.frame()
      if (frame.opcode === opcodes.close) throw new Error(`closed: ${JSON.stringify(closeOf(frame))}`)
      if (frame.opcode !== opcodes.text) continue
      for (const line of frame.payload.toString().split('\n')) this.#lines.push(JSON.parse(line) as Json)
    }
  }

  /** Returns code and reason of the close frame, or 1006 when the connection ends without one. */
  async closed(): Promise<{ code: number; reason: string }> {
    for (;;) {
      const frame = await this.frame().catch((error: unknown) => {
        if (this.#ended) return undefined
        throw error
      })
      if (!frame) return { code: 1006, reason: '' }
      if (frame.opcode === opcodes.close) return closeOf(frame)
    }
  }

  /** Returns all bytes until the server ends the connection. */
  async end(): Promise<Buffer> {
    return this.#until('the end of the connection', () => (this.#ended ? this.#received : undefined))
  }

  destroy(): void {
    this.socket.destroy()
  }

  #takeAnswer(): HttpAnswer | undefined {
    const headEnd = this.#received.indexOf('\r\n\r\n')
    if (headEnd === -1) return undefined
    const [statusLine = '', ...lines] = this.#received.subarray(0, headEnd).toString('latin1').split('\r\n')
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.replace(/^[^:]*: */, '')]),
    )
    const bodyEnd = headEnd + 4 + Number(headers['content-length'] ?? 0)
    if (this.#received.byteLength < bodyEnd) return undefined
    const body = this.#received.subarray(headEnd + 4, bodyEnd).toString()
    this.#received = this.#received.subarray(bodyEnd)
    return { status: Number(statusLine.split(' ')[1]), headers, body: parsed(body) }
  }

  async #until<Found>(what: string, look: () => Found | undefined): Promise<Found> {
    const timeout = new AbortController()
    const late = after(deadlineMs, 'late' as const, { signal: timeout.signal }).catch(() => 'late' as const)
    try {
      for (;;) {
        const woken = new Promise<'woken'>((resolve) => (this.#wake = () => resolve('woken')))
        const found = look()
        if (found !== undefined) return found
        if (this.#ended)
          throw new Error(`the connection ended before ${what}: ${this.#received.toString('latin1')}`)
        if ((await Promise.race([woken, late])) === 'late') throw new Error(`${what} did not arrive in time`)
      }
    } finally {
      timeout.abort()
    }
  }
}

function closeOf({ payload }: ServerFrame): { code: number; reason: string } {
  return payload.byteLength < 2
    ? { code: 1005, reason: '' }
    : { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() }
}

function parsed(body: string): HttpAnswer['body'] {
  try {
    return JSON.parse(body) as HttpAnswer['body']
  } catch {
    return undefined
  }
}
