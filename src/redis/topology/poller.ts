// Asks several servers the same question all the time, and keeps what each said last: Sentinels, or the nodes of a Cluster.
import { setMaxListeners } from 'node:events'
import { Connection } from '../connection.js'
import { onDeadline, pause } from '../../deadline.js'
import { formatAddress, type Address, type Login, type TlsOptions } from '../url.js'

export interface SurveyTiming {
  /** Between an answer and the next question to the same server. */
  readonly intervalMs: number
  /** For one answer, and for one connection. */
  readonly deadlineMs: number
  /** For `afresh`: those who have not answered by then do not count. */
  readonly confirmMs: number
}

export interface Silent {
  readonly kind: 'silent'
  readonly reason: unknown
}

export interface SurveyOptions<Answer> {
  readonly login: Login
  readonly tls?: TlsOptions | undefined
  readonly timing: SurveyTiming
  /** The question, on a connection of its own to each. Throwing makes the server silent, and the connection another. */
  readonly ask: (connection: Connection, server: Address) => Promise<Answer>
  /** Called after each answer, and each silence. */
  readonly onAnswer: () => void
}

interface Server {
  readonly address: Address
  /** Aborted when it is asked no more. */
  readonly dropped: AbortController
}

export class Survey<Answer extends { readonly kind: string }> {
  readonly #options: SurveyOptions<Answer>
  readonly #servers = new Map<string, Server>()
  readonly #answers = new Map<string, Answer | Silent>()
  /** Questions are counted in turns, so that `afresh` can tell answers to its own from older ones. */
  #turn = 0
  readonly #answeredTurns = new Map<string, number>()
  readonly #waiting = new Set<() => void>()
  #hurry = hurryOfAll()
  #changed = new AbortController()

  constructor(servers: readonly Address[], options: SurveyOptions<Answer>) {
    this.#options = options
    this.setServers(servers)
  }

  /** Who is asked from now on. What the others said is forgotten. */
  setServers(addresses: readonly Address[]): void {
    const wanted = new Map(addresses.map((address) => [formatAddress(address), address]))
    for (const [name, { dropped }] of this.#servers) {
      if (wanted.has(name)) continue
      dropped.abort()
      this.#servers.delete(name)
      this.#answers.delete(name)
      this.#answeredTurns.delete(name)
    }
    const added = [...wanted].filter(([name]) => !this.#servers.has(name))
    for (const [name, address] of added) this.#servers.set(name, { address, dropped: new AbortController() })
    if (added.length > 0) this.#changed.abort()
  }

  get serverCount(): number {
    return this.#servers.size
  }

  /** The last of each that has said anything, or failed to. */
  get answers(): readonly (Answer | Silent)[] {
    return [...this.#answers.values()]
  }

  /** Asks all again now; those that have a question under way, after it. */
  hurry(): void {
    this.#turn += 1
    this.#hurry.abort()
    this.#hurry = hurryOfAll()
  }

  /** What all say who are asked from now on: when the last has answered, or the time for it is over. */
  afresh(): Promise<readonly (Answer | Silent)[]> {
    this.hurry()
    const turn = this.#turn
    return new Promise((resolve) => {
      const fresh = () => [...this.#answers].filter(([name]) => (this.#answeredTurns.get(name) ?? 0) >= turn)
      const settle = () => {
        cancel()
        this.#waiting.delete(look)
        resolve(fresh().map(([, answer]) => answer))
      }
      const look = () => {
        if (fresh().length === this.#servers.size) settle()
      }
      const cancel = onDeadline(this.#options.timing.confirmMs, settle)
      this.#waiting.add(look)
    })
  }

  /** Asks until `signal` ends it. */
  async run(signal: AbortSignal): Promise<void> {
    const asked = new Map<Server, Promise<void>>()
    while (!signal.aborted) {
      this.#changed = new AbortController()
      for (const server of this.#servers.values()) {
        if (asked.has(server)) continue
        const over = AbortSignal.any([signal, server.dropped.signal])
        asked.set(
          server,
          this.#askOn(server, over).finally(() => asked.delete(server)),
        )
      }
      await Promise.race([...asked.values(), aborted(signal, this.#changed.signal)])
    }
    await Promise.all(asked.values())
  }

  /** One question at a time: a second one before the answer to the first brought a starved process to a standstill. */
  async #askOn(server: Server, over: AbortSignal): Promise<void> {
    const { ask, login, timing, tls } = this.#options
    const { deadlineMs, intervalMs } = timing
    while (!over.aborted) {
      let turn = this.#turn
      const connection = new Connection({ address: server.address, login, tls, name: 'parley-locator' })
      const stop = () => connection.discard('nobody asks it any more')
      over.addEventListener('abort', stop)
      try {
        await connection.open(deadlineMs)
        while (!over.aborted) {
          turn = this.#turn
          this.#take(server, await ask(connection, server.address), turn)
          if (turn === this.#turn) await pause(intervalMs, over, connection.lost, this.#hurry.signal)
        }
      } catch (reason) {
        this.#take(server, { kind: 'silent', reason }, turn)
      } finally {
        over.removeEventListener('abort', stop)
        connection.discard('the question was the last')
      }
      await pause(intervalMs, over, this.#hurry.signal)
    }
  }

  #take({ address, dropped }: Server, answer: Answer | Silent, turn: number): void {
    if (dropped.signal.aborted) return
    const name = formatAddress(address)
    this.#answers.set(name, answer)
    this.#answeredTurns.set(name, turn)
    for (const look of [...this.#waiting]) look()
    this.#options.onAnswer()
  }
}

function hurryOfAll(): AbortController {
  const hurry = new AbortController()
  // Each server's pause listens.
  setMaxListeners(0, hurry.signal)
  return hurry
}

function aborted(...signals: readonly AbortSignal[]): Promise<void> {
  const any = AbortSignal.any([...signals])
  return new Promise((resolve) => {
    if (any.aborted) resolve()
    else any.addEventListener('abort', () => resolve(), { once: true })
  })
}
