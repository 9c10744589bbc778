// Passes the bytes of one connection to Node's HTTP parser, one request at a time. Node parses a whole packet
// at once: a packet of 64 KiB holds more than a thousand requests, and their responses would be made in one
// turn of the event loop and kept until the client reads them. Behind this gate, the next request is parsed
// after the response to the one before was taken by the kernel, and in another turn.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { ChunkCounter } from './chunk-counter.js'
import { takeListener } from './take-listener.js'

/** Why a connection was cut; a label of a metric. */
export type GateCut =
  | 'pipelining'
  | 'unread_response'
  | 'early_frames'
  | 'api_key_guessing'
  | 'small_chunks'
  | 'unread_body'

/** Bytes after a request that wait for its response: further requests, or frames before the upgrade. */
const heldBytesMax = 16 * 1024
/** Parts of a packet that are parsed in one turn. A part ends at an empty line. */
const partsPerTurnMax = 64
/**
 * Bytes of a body that are read and discarded after the response to its request: of strangers, and of a
 * backend, whose client may send a whole body before it reads the refusal.
 */
const discardedBytesMax = { stranger: 64 * 1024, backend: 2_097_152 } as const
/** How long a connection that broke a rule stays open, unread: closed at once, it would be opened at once. */
const penaltyMs = 1_000
const emptyLine = Buffer.from('\r\n\r\n')
const nothing = Buffer.alloc(0)

export class RequestGate {
  readonly #socket: Socket
  readonly #onCut: (reason: GateCut) => void
  /** Node's own listener, which gives the bytes to the parser. */
  readonly #parse: (bytes: Buffer) => void
  readonly #listener = (bytes: Buffer): void => this.#onData(bytes)
  #held: Buffer = nothing
  /** The end of the part that was parsed last: an empty line may begin in it. */
  #tail: Buffer = nothing
  #state: 'parsing' | 'paused' | 'upgrading' | 'released' | 'cut' = 'parsing'
  #unanswered = false
  /** The rest of the body of the current request, when its length is known. */
  #bodyLeft = 0
  /** The current request, when its body ends with an empty line. */
  #chunked: { readonly request: IncomingMessage; readonly chunks: ChunkCounter } | undefined
  #discardedBytes = 0
  #discardedBytesMax: number = discardedBytesMax.stranger
  /** True when the current request arrived before the response to the one before it. */
  #pipelined = false

  /**
   * Call this after Node's HTTP server has taken the socket, and before the socket reads anything. `onCut` is
   * called when the client breaks a rule.
   */
  constructor(socket: Socket, onCut: (reason: GateCut) => void) {
    this.#socket = socket
    this.#onCut = onCut
    this.#parse = takeListener(socket, 'data')
    socket.on('data', this.#listener)
  }

  /**
   * Call this at the beginning of each plain request. Returns false when the connection was cut, because the
   * previous request is not answered yet.
   */
  begin(request: IncomingMessage, response: ServerResponse): boolean {
    if (this.#unanswered) this.penalize('pipelining')
    if (this.#isOver) return false
    this.#unanswered = true
    this.#discardedBytes = 0
    const { headers } = request
    if (headers['transfer-encoding'] === undefined) this.#bodyLeft = Number(headers['content-length'] ?? 0)
    else this.#chunked = { request, chunks: new ChunkCounter() }
    response.once('close', () => this.#onAnswered())
    return true
  }

  /**
   * Call this at an upgrade request, with the bytes that Node read after it. Returns false when the
   * connection was cut. Further bytes are kept until `release`.
   */
  beginUpgrade(head: Buffer): boolean {
    if (this.#unanswered || this.#pipelined) this.penalize('pipelining')
    if (this.#isOver) return false
    this.#state = 'upgrading'
    this.#held = Buffer.concat([head, this.#held])
    // A new listener restarts the stream, which Node has stopped.
    this.#socket.off('data', this.#listener)
    this.#socket.on('data', this.#listener)
    this.#socket.once('end', this.#onEnd)
    this.#checkHeld('early_frames')
    return !this.#isOver
  }

  /**
   * Ends the gate, and returns the bytes that it kept. The stream is paused: call `resume` once another
   * listener reads it.
   */
  release(): Buffer {
    const held = this.#held
    this.#state = 'released'
    this.#held = nothing
    this.#socket.off('data', this.#listener)
    this.#socket.off('end', this.#onEnd)
    this.#socket.pause()
    return held
  }

  /** True once the connection is closed, or will be closed because its client broke a rule. */
  get isCut(): boolean {
    return this.#state === 'cut' || this.#socket.destroyed
  }

  /** Call this when a request had a valid key. */
  recognizeBackend(): void {
    this.#discardedBytesMax = discardedBytesMax.backend
  }

  /** Cuts the connection now. */
  cut(reason: GateCut): void {
    if (this.#socket.destroyed) return
    this.#held = nothing
    this.#socket.destroy()
    this.#onCut(reason)
  }

  /** Stops reading now, and cuts the connection after a second. */
  penalize(reason: GateCut): void {
    if (this.#isOver) return
    this.release()
    this.#state = 'cut'
    this.#onCut(reason)
    const end = setTimeout(() => this.#socket.destroy(), penaltyMs)
    this.#socket.once('close', () => clearTimeout(end))
  }

  get #isOver(): boolean {
    return this.#state === 'released' || this.isCut
  }

  /** A client that has closed its side before the upgrade does not wait for it. */
  readonly #onEnd = (): void => void this.#socket.destroy()

  #onData(bytes: Buffer): void {
    this.#held = this.#held.byteLength === 0 ? bytes : Buffer.concat([this.#held, bytes])
    if (this.#state === 'upgrading') return this.#checkHeld('early_frames')
    if (this.#state === 'parsing') this.#run()
  }

  /** Parses what may be parsed now. */
  #run(): void {
    for (let parts = 0; this.#state === 'parsing'; parts += 1) {
      const bytes = this.#nextBytes()
      if (bytes === 0) break
      if (parts === partsPerTurnMax) return this.#continueNextTurn()
      const part = this.#held.subarray(0, bytes)
      this.#held = this.#held.subarray(bytes)
      if (!this.#acceptBody(part)) return
      if (this.#bodyLeft > 0) this.#bodyLeft -= bytes
      else this.#tail = Buffer.concat([this.#tail, part.subarray(-3)]).subarray(-3)
      this.#parse.call(this.#socket, part)
      if (this.#isOver) return void (this.#held = nothing)
    }
    if (this.#state !== 'parsing' || this.#held.byteLength === 0) return
    // The rest waits in the kernel, and costs nothing until the response is sent.
    this.#socket.pause()
    this.#checkHeld('pipelining')
  }

  /** The number of held bytes that belong to the current request, or to the next one that may begin. */
  #nextBytes(): number {
    if (this.#bodyLeft > 0) return Math.min(this.#bodyLeft, this.#held.byteLength)
    if (this.#chunked?.request.complete) this.#chunked = undefined
    if (this.#unanswered && !this.#chunked) return 0
    return this.#throughEmptyLine()
  }

  /** Returns false when the connection was cut because of what it sends as a body. */
  #acceptBody(part: Buffer): boolean {
    if (this.#bodyLeft === 0 && !this.#chunked) return true
    if (!this.#unanswered) this.#discardedBytes += part.byteLength
    if (this.#discardedBytes > this.#discardedBytesMax) this.penalize('unread_body')
    else if (this.#chunked?.chunks.accept(part) === false) this.penalize('small_chunks')
    return !this.#isOver
  }

  /** The number of held bytes until the end of the first empty line, or of all when there is none. */
  #throughEmptyLine(): number {
    const seam = Buffer.concat([this.#tail, this.#held.subarray(0, 3)])
    const inSeam = seam.indexOf(emptyLine)
    if (inSeam !== -1) return inSeam + emptyLine.byteLength - this.#tail.byteLength
    const at = this.#held.indexOf(emptyLine)
    return at === -1 ? this.#held.byteLength : at + emptyLine.byteLength
  }

  #onAnswered(): void {
    this.#unanswered = false
    this.#pipelined = this.#held.byteLength > 0
    if (this.#pipelined) this.#continueNextTurn()
  }

  #continueNextTurn(): void {
    if (this.#state !== 'parsing') return
    this.#state = 'paused'
    this.#socket.pause()
    setImmediate(() => {
      if (this.#state !== 'paused' || this.#socket.destroyed) return
      this.#state = 'parsing'
      this.#socket.resume()
      this.#run()
    })
  }

  #checkHeld(reason: GateCut): void {
    if (this.#held.byteLength > heldBytesMax) this.penalize(reason)
  }
}
