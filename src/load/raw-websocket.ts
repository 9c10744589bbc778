// A WebSocket client that hands out frames without copying or decoding them, so that the load generator uses
// less CPU than the server that it measures.
import { randomBytes } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls } from 'node:tls'

export interface RawWebSocketHandler {
  onOpen(): void
  /** Called with a text frame in bytes[from, to). The bytes are valid only during the call. */
  onText(bytes: Buffer, from: number, to: number): void
  /**
   * Called once, as the last event. Before `onOpen` it means that the upgrade was refused: for good, or for
   * `retryAfterMs`.
   */
  onClosed(reason: string, retryAfterMs?: number): void
}

const opcodes = { text: 1, close: 8, ping: 9 }
const abnormalClosure = 1006

/** Shared by all sockets: the bytes of one read are processed before the next read. */
const readBuffer = Buffer.allocUnsafe(262_144)
const noBytes = Buffer.alloc(0)

export class RawWebSocket {
  readonly #socket: Socket
  readonly #handler: RawWebSocketHandler
  readonly #isSecure: boolean
  #isOpen = false
  #isEnded = false
  /** The bytes of an incomplete frame or response. */
  #incomplete: Buffer = noBytes

  /**
   * `url` gives the host, the port and whether TLS is used. `target` is the path and query of the request.
   */
  constructor(
    url: URL,
    target: string,
    options: { handler: RawWebSocketHandler; localAddress?: string | undefined },
  ) {
    const { localAddress, handler } = options
    this.#handler = handler
    const secure = url.protocol === 'wss:'
    this.#isSecure = secure
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
    const address: TcpNetConnectOpts = {
      host,
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      noDelay: true,
      ...(localAddress === undefined ? {} : { localAddress }),
      onread: { buffer: readBuffer, callback: (count) => this.#read(readBuffer.subarray(0, count)) },
    }
    this.#socket = secure
      ? connectTls({ ...address, ...(isIP(host) === 0 && { servername: host }) })
      : connectTcp(address)
    this.#socket.once(secure ? 'secureConnect' : 'connect', () =>
      this.#socket.write(upgradeRequest(url, target)),
    )
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message))
    this.#socket.on('close', () => this.#end(String(abnormalClosure)))
  }

  send(text: string): void {
    this.#socket.write(frame(opcodes.text, Buffer.from(text)))
  }

  /**
   * Closes the TCP connection without a close frame, as a network failure does. A reset leaves no port in
   * TIME_WAIT: thousands of them slow down each new connection.
   */
  destroy(): void {
    this.#isEnded = true
    if (this.#isSecure) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  #end(reason: string, retryAfterMs?: number): void {
    if (this.#isEnded) return
    this.destroy()
    this.#handler.onClosed(reason, retryAfterMs)
  }

  #read(chunk: Buffer): true {
    if (this.#isEnded) return true
    const bytes = this.#incomplete.byteLength === 0 ? chunk : Buffer.concat([this.#incomplete, chunk])
    const consumed = this.#isOpen ? this.#readFrames(bytes, 0) : this.#readUpgradeResponse(bytes)
    // Copied, because the read buffer is shared.
    this.#incomplete = consumed === bytes.byteLength ? noBytes : Buffer.from(bytes.subarray(consumed))
    return true
  }

  #readUpgradeResponse(bytes: Buffer): number {
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
    this.#isOpen = true
    this.#handler.onOpen()
    return this.#readFrames(bytes, end + 4)
  }

  /** Processes all complete frames. Returns the offset of the first incomplete one. */
  #readFrames(bytes: Buffer, start: number): number {
    let at = start
    while (bytes.byteLength - at >= 2) {
      const short = bytes.readUInt8(at + 1) & 0x7f
      const headerBytes = short === 126 ? 4 : short === 127 ? 10 : 2
      if (bytes.byteLength - at < headerBytes) break
      const length =
        short === 126
          ? bytes.readUInt16BE(at + 2)
          : short === 127
            ? Number(bytes.readBigUInt64BE(at + 2))
            : short
      const from = at + headerBytes
      const to = from + length
      if (to > bytes.byteLength) break
      this.#onFrame(bytes.readUInt8(at) & 0x0f, bytes, { from, to })
      if (this.#isEnded) return bytes.byteLength
      at = to
    }
    return at
  }

  #onFrame(opcode: number, bytes: Buffer, { from, to }: { from: number; to: number }): void {
    switch (opcode) {
      case opcodes.text:
        return this.#handler.onText(bytes, from, to)
      case opcodes.ping:
        return void this.#socket.write(frame(0x0a, bytes.subarray(from, to)))
      case opcodes.close:
        return this.#end(String(to - from >= 2 ? bytes.readUInt16BE(from) : 1005))
      default:
    }
  }
}

function upgradeRequest(url: URL, target: string): string {
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

/**
 * Returns a frame. Its mask is zero, which leaves the payload unchanged: the server cannot tell, and a
 * benchmark needs no protection from proxies.
 */
function frame(opcode: number, payload: Uint8Array): Buffer {
  const length = payload.byteLength
  const headerBytes = length < 126 ? 6 : length < 65_536 ? 8 : 14
  const bytes = Buffer.alloc(headerBytes + length)
  bytes[0] = 0x80 | opcode
  if (headerBytes === 6) bytes[1] = 0x80 | length
  else if (headerBytes === 8) {
    bytes[1] = 0x80 | 126
    bytes.writeUInt16BE(length, 2)
  } else {
    bytes[1] = 0x80 | 127
    bytes.writeBigUInt64BE(BigInt(length), 2)
  }
  bytes.set(payload, headerBytes)
  return bytes
}
