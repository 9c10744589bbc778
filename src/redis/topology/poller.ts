// Polls several servers, which are Sentinels or the nodes of a Cluster, and keeps the last answer of each.
import { setMaxListeners } from 'node:events'
import { onDeadline, pause } from '../../deadline.js'
import { RedisConnection } from '../connection.js'
import { formatAddress, type Address, type Login, type RedisTlsOptions } from '../url.js'

/** The timing of a poller, in milliseconds. */
export interface PollTiming {
  /** The pause between an answer and the next request to the same server. */
  readonly intervalMs: number
  /** The deadline for one answer, and for opening one connection. */
  readonly deadlineMs: number
  /** The deadline of a fresh poll. Servers that have not answered within this time do not count. */
  readonly confirmMs: number
}

/** The result for a server that cannot be reached or does not answer. */
export interface PollFailure {
  readonly kind: 'failure'
  readonly reason: unknown
}

export interface PollerOptions<Answer> {
  readonly login: Login
  readonly tls?: RedisTlsOptions | undefined
  readonly timing: PollTiming
  /**
   * Sends one request to a server, which has its own connection, and resolves with its answer. When it
   * throws, the server counts as failed and its connection is replaced.
   */
  readonly ask: (connection: RedisConnection, server: Address) => Promise<Answer>
  /** Called after each answer and each failure. */
  readonly onAnswer: () => void
}

interface Server {
  readonly address: Address
  /** Aborted when the server is no longer polled. */
  readonly dropped: AbortController
}

export class Poller<Answer extends { readonly kind: string }> {
  readonly #options: PollerOptions<Answer>
  readonly #servers = new Map<string, Server>()
  readonly #answers = new Map<string, Answer | PollFailure>()
  /**
   * The number of the current round. By it a fresh poll distinguishes answers to its own requests from older
   * ones.
   */
  #round = 0
  readonly #answeredRounds = new Map<string, number>()
  readonly #waiting = new Set<() => void>()
  /** Aborted to end the pauses of all servers. */
  #pollRequested = createPollRequest()
  #serversChanged = new AbortController()

  constructor(servers: readonly Address[], options: PollerOptions<Answer>) {
    this.#options = options
    this.setServers(servers)
  }

  /** Sets the servers that are polled from now on, and forgets the answers of all others. */
  setServers(addresses: readonly Address[]): void {
    const desired = new Map(addresses.map((address) => [formatAddress(address), address]))
    for (const [name, { dropped }] of this.#servers) {
      if (desired.has(name)) continue
      dropped.abort()
      this.#servers.delete(name)
      this.#answers.delete(name)
      this.#answeredRounds.delete(name)
    }
    const added = [...desired].filter(([name]) => !this.#servers.has(name))
    for (const [name, address] of added) this.#servers.set(name, { address, dropped: new AbortController() })
    if (added.length > 0) this.#serversChanged.abort()
  }

  get serverCount(): number {
    return this.#servers.size
  }

  /** The last answer or failure of each server that has one. */
  get answers(): readonly (Answer | PollFailure)[] {
    return [...this.#answers.values()]
  }

  /**
   * Polls all servers now. A server that has not answered the last request yet is polled again after its
   * answer.
   */
  pollNow(): void {
    this.#round += 1
    this.#pollRequested.abort()
    this.#pollRequested = createPollRequest()
  }

  /**
   * Polls all servers now. Resolves with the new answers when every server has answered or `confirmMs` has
   * passed.
   */
  freshPoll(): Promise<readonly (Answer | PollFailure)[]> {
    this.pollNow()
    const round = this.#round
    return new Promise((resolve) => {
      const fresh = () =>
        [...this.#answers].filter(([name]) => (this.#answeredRounds.get(name) ?? 0) >= round)
      const settle = () => {
        cancel()
        this.#waiting.delete(check)
        resolve(fresh().map(([, answer]) => answer))
      }
      const check = () => {
        if (fresh().length === this.#servers.size) settle()
      }
      const cancel = onDeadline(this.#options.timing.confirmMs, settle)
      this.#waiting.add(check)
    })
  }

  /** Polls until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const polling = new Map<Server, Promise<void>>()
    while (!signal.aborted) {
      this.#serversChanged = new AbortController()
      for (const server of this.#servers.values()) {
        if (polling.has(server)) continue
        const ended = AbortSignal.any([signal, server.dropped.signal])
        polling.set(
          server,
          this.#pollServer(server, ended).finally(() => polling.delete(server)),
        )
      }
      await Promise.race([...polling.values(), aborted(signal, this.#serversChanged.signal)])
    }
    await Promise.all(polling.values())
  }

  /**
   * Sends only one request at a time to a server. Sending a second request before the first answer made a
   * process with too little CPU stop responding.
   */
  async #pollServer(server: Server, ended: AbortSignal): Promise<void> {
    const { ask, login, timing, tls } = this.#options
    const { deadlineMs, intervalMs } = timing
    while (!ended.aborted) {
      let round = this.#round
      const connection = new RedisConnection({ address: server.address, login, tls, name: 'parley-locator' })
      const stop = () => connection.discard('the server is no longer polled')
      ended.addEventListener('abort', stop)
      try {
        await connection.open(deadlineMs)
        while (!ended.aborted) {
          round = this.#round
          this.#recordAnswer(server, await ask(connection, server.address), round)
          if (round === this.#round)
            await pause(intervalMs, ended, connection.lost, this.#pollRequested.signal)
        }
      } catch (reason) {
        this.#recordAnswer(server, { kind: 'failure', reason }, round)
      } finally {
        ended.removeEventListener('abort', stop)
        connection.discard('the poller replaces or ends the connection')
      }
      await pause(intervalMs, ended, this.#pollRequested.signal)
    }
  }

  #recordAnswer({ address, dropped }: Server, answer: Answer | PollFailure, round: number): void {
    if (dropped.signal.aborted) return
    const name = formatAddress(address)
    this.#answers.set(name, answer)
    this.#answeredRounds.set(name, round)
    for (const check of [...this.#waiting]) check()
    this.#options.onAnswer()
  }
}

function createPollRequest(): AbortController {
  const request = new AbortController()
  // The pause of each server adds a listener.
  setMaxListeners(0, request.signal)
  return request
}

function aborted(...signals: readonly AbortSignal[]): Promise<void> {
  const any = AbortSignal.any([...signals])
  return new Promise((resolve) => {
    if (any.aborted) resolve()
    else any.addEventListener('abort', () => resolve(), { once: true })
  })
}
