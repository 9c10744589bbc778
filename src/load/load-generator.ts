// Load for `parley bench` and for the benchmarks in bench/speed: many client connections in one process,
// which publish in rounds and count every delivery. This room may import leaves and its own files. Start
// reading here; round.ts measures, client-protocol.ts is the seam to the kinds of servers, and
// raw-websocket.ts is the client.
import { setTimeout as sleep } from 'node:timers/promises'
import { RawWebSocket, type RawWebSocketHandler } from './raw-websocket.js'
import type { ClientProtocol, LoadClient } from './client-protocol.js'
import { Latencies, type LatencySummary } from './latencies.js'
import { Round, type RoundOptions, type RoundReport } from './round.js'
import { nowUs } from './stamp.js'

export interface LoadGeneratorOptions {
  readonly url: URL
  readonly protocol: ClientProtocol
  readonly subscribers: number
  /** Returns the channels of one subscriber. */
  readonly channelsOf: (index: number) => readonly string[]
  readonly publishers: number
  /** Limit on the handshakes that are in progress at the same time. */
  readonly connectingMax: number
  /**
   * Returns the local address of a client, for more connections than one address has ports. Undefined lets
   * the kernel choose.
   */
  readonly localAddressOf?: (index: number) => string | undefined
}

/** What `connect` measured. */
export interface ConnectReport {
  readonly ready: number
  readonly seconds: number
  /** Time from the start of the successful attempt to its last reply. */
  readonly latency: LatencySummary
  /**
   * Number of attempts that the server refused with a Retry-After header, and that were repeated after that
   * time.
   */
  readonly deferred: number
  /** Number of clients that were refused or lost, by code. */
  readonly failures: Readonly<Record<string, number>>
}

/**
 * How an attempt ended. `retryAfterMs` is how long to wait before the next one. Undefined when the client is
 * ready, or failed for good.
 */
type AttemptResult = { readonly retryAfterMs: number | undefined }

class LoadConnection implements LoadClient, RawWebSocketHandler {
  readonly index: number
  readonly channels: readonly string[]
  readonly #generator: LoadGenerator
  readonly #socket: RawWebSocket
  readonly #onSettled: (result: AttemptResult) => void
  readonly #startedUs = nowUs()
  /** Number of replies that the client waits for before it is ready. */
  #repliesMissing = 1
  ready = false

  constructor(
    generator: LoadGenerator,
    client: LoadClient,
    options: { url: URL; localAddress: string | undefined; onSettled: (result: AttemptResult) => void },
  ) {
    this.index = client.index
    this.channels = client.channels
    this.#generator = generator
    this.#onSettled = options.onSettled
    const { localAddress, url } = options
    this.#socket = new RawWebSocket(url, generator.protocol.requestTarget(client), {
      handler: this,
      localAddress,
    })
  }

  onOpen(): void {
    const opening = this.#generator.protocol.opening(this)
    this.#repliesMissing = opening?.replies ?? 0
    if (opening) this.#socket.send(opening.text)
    else this.#onReady()
  }

  onText(bytes: Buffer, from: number, to: number): void {
    const { protocol, round } = this.#generator
    const kind = protocol.frameKind(bytes, from, to)
    if (kind === 'push') return round?.onPush(bytes, from, to)
    if (kind === 'ping') return this.#socket.send(protocol.pong)
    const text = bytes.toString('utf8', from, to)
    if (this.ready) {
      const errorCode = kind === 'error' ? protocol.errorCode(text) : undefined
      return round?.onReply(this, errorCode)
    }
    if (kind === 'error') return this.#fail(protocol.errorCode(text))
    protocol.onOpeningReply(this, text)
    this.#repliesMissing -= 1
    if (this.#repliesMissing === 0) this.#onReady()
  }

  onClosed(reason: string, retryAfterMs?: number): void {
    this.#generator.onLost(this, retryAfterMs === undefined ? reason : undefined)
    this.#onSettled({ retryAfterMs })
  }

  send(text: string): void {
    this.#socket.send(text)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #onReady(): void {
    this.ready = true
    this.#generator.onReady(this, nowUs() - this.#startedUs)
    this.#onSettled({ retryAfterMs: undefined })
  }

  #fail(reason: string): void {
    this.#socket.destroy()
    this.onClosed(reason)
  }
}

export class LoadGenerator {
  readonly protocol: ClientProtocol
  /** The round in progress. */
  round: Round | undefined
  readonly #options: LoadGeneratorOptions
  readonly #connections = new Set<LoadConnection>()
  readonly #publishers: LoadConnection[] = []
  readonly #subscribersOf = new Map<string, number>()
  readonly #failures = new Map<string, number>()
  #connectLatencies = new Latencies()
  #rounds = 0

  constructor(options: LoadGeneratorOptions) {
    this.#options = options
    this.protocol = options.protocol
  }

  get size(): number {
    return this.#connections.size
  }

  get canPublish(): boolean {
    return this.#publishers.length > 0
  }

  /** Number of failed clients by code, since the last `connect`. */
  get failures(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#failures)
  }

  /** Connects all clients. Resolves when each is ready or failed. */
  async connect(): Promise<ConnectReport> {
    const { connectingMax, channelsOf, localAddressOf, publishers, subscribers, url } = this.#options
    this.#failures.clear()
    this.#connectLatencies = new Latencies()
    const startedUs = nowUs()
    const indices = Array.from({ length: subscribers + publishers }, (_, index) => index).values()
    let deferred = 0
    const worker = async (): Promise<void> => {
      for (const index of indices) {
        const client = { index, channels: index < subscribers ? channelsOf(index) : [] }
        const localAddress = localAddressOf?.(index)
        const attempt = (): Promise<AttemptResult> =>
          new Promise((onSettled) => {
            this.#connections.add(new LoadConnection(this, client, { url, localAddress, onSettled }))
          })
        let { retryAfterMs } = await attempt()
        while (retryAfterMs !== undefined) {
          deferred += 1
          await sleep(retryAfterMs)
          ;({ retryAfterMs } = await attempt())
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(connectingMax, subscribers + publishers) }, worker))
    return {
      ready: this.#connections.size,
      seconds: (nowUs() - startedUs) / 1e6,
      latency: this.#connectLatencies.summary(),
      deferred,
      failures: this.failures,
    }
  }

  onReady(connection: LoadConnection, us: number): void {
    this.#connectLatencies.add(us)
    for (const channel of connection.channels)
      this.#subscribersOf.set(channel, (this.#subscribersOf.get(channel) ?? 0) + 1)
    if (connection.channels.length === 0) this.#publishers.push(connection)
  }

  /**
   * Removes a closed connection. `reason` is the code of the failure. Undefined when the client connects
   * again.
   */
  onLost(connection: LoadConnection, reason: string | undefined): void {
    if (reason !== undefined) this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1)
    this.#remove(connection)
  }

  /** Runs one round; rounds must not overlap. Resolves like `Round.run`. */
  async run(options: RoundOptions): Promise<RoundReport> {
    this.#rounds += 1
    this.round = new Round(options, {
      number: this.#rounds,
      protocol: this.protocol,
      publishers: this.#publishers.toSorted((a, b) => a.index - b.index),
      subscribersOf: this.#subscribersOf,
    })
    try {
      return await this.round.run()
    } finally {
      this.round = undefined
    }
  }

  /** Drops all connections at once, without close frames. */
  disconnect(): void {
    for (const connection of this.#connections) {
      connection.destroy()
      this.#remove(connection)
    }
  }

  #remove(connection: LoadConnection): void {
    if (!this.#connections.delete(connection) || !connection.ready) return
    for (const channel of connection.channels)
      this.#subscribersOf.set(channel, (this.#subscribersOf.get(channel) ?? 1) - 1)
    const publisher = this.#publishers.indexOf(connection)
    if (publisher !== -1) this.#publishers.splice(publisher, 1)
  }
}
