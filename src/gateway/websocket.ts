// The one door to ws: from an upgrade request to a transport. Frames are written to the socket as ready-made bytes, shared by all who get them.
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer, type RawData, type ServerOptions } from 'ws'
import type { CloseCode } from '../protocol/codes.js'
import type { Frame, Transport, TransportListener } from '../session/transport.js'

export interface WebSocketLimits {
  /** A larger message closes with 1009, which official clients take as final: tenants' own limits lie below it. */
  readonly messageBytesMax: number
  /** For the other side's close frame; then the line is cut. */
  readonly closeTimeoutMs: number
}

const defaultWebSocketLimits: WebSocketLimits = { messageBytesMax: 65_536, closeTimeoutMs: 5_000 }

/** Carries its transport, so that the handlers below are functions and not closures for each of a hundred thousand sockets. */
class TransportSocket extends WebSocket {
  transport: WebSocketTransport | undefined
}

export interface UpgradeOptions {
  /** Bytes that came behind the request. */
  readonly head: Buffer
  /** Echoed to the client. Undefined: none is. */
  readonly subprotocol: string | undefined
  /** What is sent goes in binary frames, not in text frames. */
  readonly binary: boolean
  opened(transport: WebSocketTransport): void
  /** The request is no proper WebSocket upgrade, and why; the caller answers it. */
  refused(reason: string): void
}

export class WebSocketUpgrader {
  readonly #server: WebSocketServer
  readonly #upgrades = new WeakMap<IncomingMessage, UpgradeOptions>()

  constructor(limits: WebSocketLimits = defaultWebSocketLimits) {
    // ws's defaults are made for one trusted peer: 100 MiB messages, 16,384 fragments, half a minute to close.
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      WebSocket: TransportSocket,
      maxPayload: limits.messageBytesMax,
      maxFragments: 64,
      maxBufferedChunks: 256,
      closeTimeout: limits.closeTimeoutMs,
      perMessageDeflate: false,
      clientTracking: false,
      // ws would echo the first offered, and that may be a token.
      handleProtocols: (_offered, request) => this.#upgrades.get(request)?.subprotocol ?? false,
    }
    this.#server = new WebSocketServer(options)
    this.#server.on('wsClientError', (error, _socket, request) =>
      this.#upgrades.get(request)?.refused(error.message),
    )
  }

  /** Answers 101 and calls `opened`, or calls `refused`. */
  upgrade(request: IncomingMessage, socket: Duplex, options: UpgradeOptions): void {
    this.#upgrades.set(request, options)
    this.#server.handleUpgrade(request, socket, options.head, (webSocket) => {
      options.opened(new WebSocketTransport(webSocket, socket, { binary: options.binary }))
    })
  }
}

export class WebSocketTransport implements Transport {
  readonly #webSocket: WebSocket
  readonly #socket: Duplex
  /** Undefined until a session takes it over. */
  listener: TransportListener | undefined
  readonly #binary: boolean
  #closing = false

  constructor(webSocket: WebSocket, socket: Duplex, options: { binary: boolean }) {
    this.#webSocket = webSocket
    this.#socket = socket
    this.#binary = options.binary
    if (webSocket instanceof TransportSocket) webSocket.transport = this
    webSocket.on('message', onMessage)
    webSocket.on('ping', onControl)
    webSocket.on('pong', onControl)
    webSocket.on('error', ignore)
    webSocket.on('close', onClose)
    socket.on('drain', () => this.listener?.onDrained())
  }

  listen(listener: TransportListener): void {
    this.listener = listener
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  /** ws itself writes control frames to the same socket, whole and at once, so ours never cut through one of its own. */
  send(frames: readonly Frame[]): boolean {
    // After a close frame (ours, or ws's own about a broken frame) nothing may follow.
    if (this.#webSocket.readyState !== WebSocket.OPEN || !this.#socket.writable) return true
    const [first] = frames
    if (frames.length === 1 && first) return this.#socket.write(encodeFrame(first, this.#binary))
    return this.#socket.write(mergedWire(frames, this.#binary))
  }

  close(code: CloseCode): void {
    if (this.#closing) return
    this.#closing = true
    this.#webSocket.close(code.code, code.reason)
  }
}

function listenerOf(webSocket: WebSocket): TransportListener | undefined {
  return webSocket instanceof TransportSocket ? webSocket.transport?.listener : undefined
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  // One Buffer it always is, since `binaryType` is ws's default, 'nodebuffer'.
  if (Buffer.isBuffer(data)) listenerOf(this)?.onMessage(data, isBinary)
}

function onControl(this: WebSocket): void {
  listenerOf(this)?.onControl()
}

function onClose(this: WebSocket, code: number): void {
  listenerOf(this)?.onClosed(code)
}

/** Broken frames and cut lines: 'close' follows with the code that tells. */
function ignore(): void {}

let lastMerged: { readonly frames: readonly Frame[]; readonly wire: Buffer } | undefined

/** Who shares channels mostly gets the same frames in a turn or a beat: one buffer for all who come in succession. */
function mergedWire(frames: readonly Frame[], binary: boolean): Buffer {
  const last = lastMerged
  if (last?.frames.length === frames.length && last.frames.every((frame, index) => frame === frames[index]))
    return last.wire
  const wire = Buffer.concat(frames.map((frame) => encodeFrame(frame, binary)))
  lastMerged = { frames, wire }
  return wire
}

const none = Buffer.alloc(0)
const emptyPing = Buffer.from([0x89, 0])

/** Header (final frame, not masked) and payload in one buffer, made by the first who sends it: who shares a frame speaks the same codec. */
function encodeFrame(frame: Frame, binary: boolean): Uint8Array {
  if (frame.wire) return frame.wire
  const { payload } = frame
  const length = payload.byteLength
  const headerLength = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const ping = frame.pings ? emptyPing : none
  const wire = Buffer.allocUnsafe(headerLength + length + ping.byteLength)
  wire[0] = binary ? 0x82 : 0x81
  if (headerLength === 2) wire[1] = length
  else if (headerLength === 4) {
    wire[1] = 126
    wire.writeUInt16BE(length, 2)
  } else {
    wire[1] = 127
    wire.writeBigUInt64BE(BigInt(length), 2)
  }
  wire.set(payload, headerLength)
  wire.set(ping, headerLength + length)
  frame.wire = wire
  return wire
}
