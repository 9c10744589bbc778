// A WebSocket client that reads no more than it must: frames are counted where they lie, so that who measures costs less than who is measured.
import { randomBytes } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls } from 'node:tls'

export interface LineOwner {
  onOpen(): void
  /** A text frame lies in bytes[from, to); the bytes are good during the call alone. */
  onText(bytes: Buffer, from: number, to: number): void
  /** Once, and the last. Before `onOpen`: it was refused, for good or until `retryAfterMs` have passed. */
  onClosed(reason: string, retryAfterMs?: number): void
}

const opcodes = { text: 1, close: 8, ping: 9 }
const closedAbnormally = 1006

/** One for all lines: what was read is looked at before anybody else reads. */
const readBuffer = Buffer.allocUnsafe(262_144)
const none = Buffer.alloc(0)

export class Line {
  readonly #socket: Socket
  readonly #owner: LineOwner
  readonly #secure: boolean
  #open = false
  #over = false
  /** The beginning of something whose end has not come. */
  #rest: Buffer = none

  /** `target` is path and query; the address comes from `url`, as does whether there is TLS. */
  constructor(url: URL, target: string, options: { owner: LineOwner; localAddress?: string | undefined }) {
    const { localAddress, owner } = options
    this.#owner = owner
    const secure = url.protocol === 'wss:'
    this.#secure = secure
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
    const to: TcpNetConnectOpts = {
      host,
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      noDelay: true,
      ...(localAddress === undefined ? {} : { localAddress }),
      onread: { buffer: readBuffer, callback: (count) => this.#read(readBuffer.subarray(0, count)) },
    }
    this.#socket = secure
      ? connectTls({ ...to, ...(isIP(host) === 0 && { servername: host }) })
      : connectTcp(to)
    this.#socket.once(secure ? 'secureConnect' : 'connect', () => this.#socket.write(upgrade(url, target)))
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message))
    this.#socket.on('close', () => this.#end(String(closedAbnormally)))
  }

  send(text: string): void {
    this.#socket.write(frame(opcodes.text, Buffer.from(text)))
  }

  /** No goodbye: as when the network goes. And no port that is kept for a minute: thousands of them make each new connection slow. */
  cut(): void {
    this.#over = true
    if (this.#secure) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  #end(reason: string, retryAfterMs?: number): void {
    if (this.#over) return
    this.cut()
    this.#owner.onClosed(reason, retryAfterMs)
  }

  #read(chunk: Buffer): true {
    if (this.#over) return true
    const bytes = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const taken = this.#open ? this.#readFrames(bytes, 0) : this.#readAnswer(bytes)
    // A copy: the buffer is everybody's.
    this.#rest = taken === bytes.byteLength ? none : Buffer.from(bytes.subarray(taken))
    return true
  }

  #readAnswer(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n\r\n')
    if (end === -1) return 0
    const status = bytes.toString('latin1', 9, 12)
    if (status !== '101') {
      const code = /"code":\s*"([A-Z_]+)"/.exec(bytes.toString('utf8', end))?.[1]
      const retryAfterS = /\r\nretry-after: (\d+)\r\n/i.exec(bytes.toString('latin1', 0, end + 2))?.[1]
      this.#end(
        code === undefined ? status : `${status} ${code}`,
        retryAfterS === undefined ? undefined : Number(retryAfterS) * 1000,
      )
      return bytes.byteLength
    }
    this.#open = true
    this.#owner.onOpen()
    return this.#readFrames(bytes, end + 4)
  }

  /** Gives where the first frame begins that is not whole. */
  #readFrames(bytes: Buffer, start: number): number {
    let at = start
    while (bytes.byteLength - at >= 2) {
      const short = bytes.readUInt8(at + 1) & 0x7f
      const headBytes = short === 126 ? 4 : short === 127 ? 10 : 2
      if (bytes.byteLength - at < headBytes) break
      const length =
        short === 126
          ? bytes.readUInt16BE(at + 2)
          : short === 127
            ? Number(bytes.readBigUInt64BE(at + 2))
            : short
      const from = at + headBytes
      const to = from + length
      if (to > bytes.byteLength) break
      this.#take(bytes.readUInt8(at) & 0x0f, bytes, { from, to })
      if (this.#over) return bytes.byteLength
      at = to
    }
    return at
  }

  #take(opcode: number, bytes: Buffer, { from, to }: { from: number; to: number }): void {
    switch (opcode) {
      case opcodes.text:
        return this.#owner.onText(bytes, from, to)
      case opcodes.ping:
        return void this.#socket.write(frame(0x0a, bytes.subarray(from, to)))
      case opcodes.close:
        return this.#end(String(to - from >= 2 ? bytes.readUInt16BE(from) : 1005))
      default:
    }
  }
}

function upgrade(url: URL, target: string): string {
  return [
    `GET ${target} HTTP/1.1`,
    `Host: ${url.host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    'Sec-WebSocket-Version: 13',
    '\r\n',
  ].join('\r\n')
}

/** Masked by zeros, which leave the payload as it is: a server cannot tell, and nobody listens in on a benchmark. */
function frame(opcode: number, payload: Uint8Array): Buffer {
  const length = payload.byteLength
  const headBytes = length < 126 ? 6 : length < 65_536 ? 8 : 14
  const bytes = Buffer.alloc(headBytes + length)
  bytes[0] = 0x80 | opcode
  if (headBytes === 6) bytes[1] = 0x80 | length
  else if (headBytes === 8) {
    bytes[1] = 0x80 | 126
    bytes.writeUInt16BE(length, 2)
  } else {
    bytes[1] = 0x80 | 127
    bytes.writeBigUInt64BE(BigInt(length), 2)
  }
  bytes.set(payload, headBytes)
  return bytes
}
