// The only file that imports ws: turns an upgrade request into a transport. Frames are written to the socket
// as complete bytes, which all receivers of the frame share.
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer, type RawData, type ServerOptions } from 'ws'
import type { CloseCode } from '../protocol/codes.js'
import type { Frame, Transport, TransportListener } from '../session/transport.js'

export interface WebSocketLimits {
  /**
   * A larger message closes the connection with 1009, after which Centrifuge's SDKs do not reconnect. The
   * tenants' own limits are lower. Default: 64 KiB.
   */
  readonly messageBytesMax: number
  /** The time to wait for the client's close frame before the connection is cut. Default: 5 s. */
  readonly closeTimeoutMs: number
}

const defaultWebSocketLimits: WebSocketLimits = { messageBytesMax: 65_536, closeTimeoutMs: 5_000 }

/**
 * Holds its transport, so that the handlers below are shared functions instead of closures for each of
 * 100,000 sockets.
 */
class TransportSocket extends WebSocket {
  transport: WebSocketTransport | undefined
  declare readonly _receiver: PartialMessage
}

/**
 * What ws has of an unfinished message: bytes that are not parsed yet, and fragments. The fields are private;
 * a test notices when a version of ws renames them.
 */
interface PartialMessage {
  readonly _bufferedBytes: number
  readonly _messageLength: number
}

export interface UpgradeOptions {
  /** Bytes received after the request. */
  readonly head: Buffer
  /** The subprotocol to echo to the client. Undefined: none. */
  readonly subprotocol: string | undefined
  /** True: payloads are sent in binary frames. False: in text frames. */
  readonly binary: boolean
  /** Called when the upgrade is accepted. */
  opened(transport: WebSocketTransport): void
  /** Called when the request is not a valid WebSocket upgrade. The caller writes the response. */
  refused(reason: string): void
}

export class WebSocketUpgrader {
  readonly #server: WebSocketServer
  readonly #upgrades = new WeakMap<IncomingMessage, UpgradeOptions>()

  constructor(limits: WebSocketLimits = defaultWebSocketLimits) {
    // The defaults of ws suit one trusted peer: messages of 100 MiB, 16,384 fragments, 30 s to close.
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      WebSocket: TransportSocket,
      maxPayload: limits.messageBytesMax,
      maxFragments: 64,
      maxBufferedChunks: 256,
      closeTimeout: limits.closeTimeoutMs,
      perMessageDeflate: false,
      clientTracking: false,
      // ws would echo the first subprotocol offered, which may be a token.
      handleProtocols: (_offered, request) => this.#upgrades.get(request)?.subprotocol ?? false,
    }
    this.#server = new WebSocketServer(options)
    this.#server.on('wsClientError', (error, _socket, request) =>
      this.#upgrades.get(request)?.refused(error.message),
    )
  }

  /** Answers with 101 and calls `opened`, or calls `refused`. */
  upgrade(request: IncomingMessage, socket: Duplex, options: UpgradeOptions): void {
    this.#upgrades.set(request, options)
    this.#server.handleUpgrade(request, socket, options.head, (webSocket) => {
      options.opened(new WebSocketTransport(webSocket, socket, { binary: options.binary }))
      // The gate that kept the first bytes has paused the stream.
      if (!webSocket.isPaused) socket.resume()
    })
  }
}

export class WebSocketTransport implements Transport {
  readonly #webSocket: WebSocket
  readonly #socket: Duplex
  /** Undefined until a session is created. */
  listener: TransportListener | undefined
  readonly #binary: boolean
  #closing = false
  readonly #receiver: PartialMessage | undefined
  /** The bytes of an unfinished message that the listener knows of. */
  #partialBytes = 0

  constructor(webSocket: WebSocket, socket: Duplex, options: { binary: boolean }) {
    this.#webSocket = webSocket
    this.#socket = socket
    this.#binary = options.binary
    if (webSocket instanceof TransportSocket) {
      webSocket.transport = this
      this.#receiver = webSocket._receiver
    }
    webSocket.on('message', onMessage)
    webSocket.on('ping', onControl)
    webSocket.on('pong', onControl)
    webSocket.on('error', ignore)
    webSocket.on('close', onClose)
    socket.on('drain', () => this.listener?.onDrained())
    // Registered after the listener of ws, which has parsed the data when this one is called.
    socket.on('data', () => this.#reportPartialInput())
  }

  listen(listener: TransportListener): void {
    this.listener = listener
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  /**
   * Writes the frames and returns false when the socket's buffer is full. ws writes its control frames to the
   * same socket, each in one piece, so these frames never interleave with them.
   */
  send(frames: readonly Frame[]): boolean {
    // Nothing may follow a close frame, whether it was sent by `close` or by ws after a malformed frame.
    if (this.#webSocket.readyState !== WebSocket.OPEN || !this.#socket.writable) return true
    const [first] = frames
    if (frames.length === 1 && first) return this.#socket.write(encodeFrame(first, this.#binary))
    return this.#socket.write(mergedWire(frames, this.#binary))
  }

  close(code: CloseCode): void {
    if (this.#closing) return
    this.#closing = true
    this.#webSocket.close(code.code, code.reason)
    // The client's close frame has to be read.
    this.#webSocket.resume()
  }

  cut(code: CloseCode, afterMs: number): void {
    this.close(code)
    setTimeout(() => this.#webSocket.terminate(), afterMs).unref()
  }

  read(isReading: boolean): void {
    if (this.#closing) return
    if (isReading) this.#webSocket.resume()
    else this.#webSocket.pause()
  }

  #reportPartialInput(): void {
    if (!this.#receiver) return
    const bytes = this.#receiver._bufferedBytes + this.#receiver._messageLength
    if (bytes === this.#partialBytes) return
    this.listener?.onPartialInput(bytes - this.#partialBytes)
    this.#partialBytes = bytes
  }
}

function listenerOf(webSocket: WebSocket): TransportListener | undefined {
  return webSocket instanceof TransportSocket ? webSocket.transport?.listener : undefined
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  // With the default `binaryType` of ws, 'nodebuffer', the data is always a single Buffer.
  if (Buffer.isBuffer(data)) listenerOf(this)?.onMessage(data, isBinary)
}

function onControl(this: WebSocket): void {
  listenerOf(this)?.onControl()
}

function onClose(this: WebSocket, code: number): void {
  listenerOf(this)?.onClosed(code)
}

/** Ignores the errors of malformed frames and lost connections: a 'close' event with the code follows. */
function ignore(): void {}

let lastMerged: { readonly frames: readonly Frame[]; readonly wire: Buffer } | undefined

/**
 * Concatenates the frames. Sessions that share channels mostly get the same frames in one flush interval, so
 * sessions flushed in succession share the buffer.
 */
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

/**
 * Returns the frame as header (final, not masked) and payload in one buffer. The first sender creates it. All
 * receivers of a frame use the same codec, so `binary` is the same for all of them.
 */
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
