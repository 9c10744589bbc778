// A connection to the current master, remade for ever: one object, one life. A client that was lost is never revived.
import type { Log } from '../log.js'
import type { Clock } from '../time.js'
import { Connection, describeError, type Watchers } from './connection.js'
import { onDeadline, pause, unlessAborted } from '../deadline.js'
import { probeKey } from './keys.js'
import { RedisUnavailableError, type LiveRedis, type Prepare, type RedisLink } from './link.js'
import type { Locator } from './topology/locator.js'
import { formatAddress, type Address, type Login, type TlsOptions } from './url.js'

export interface LinkTiming {
  readonly connectMs: number
  readonly prepareMs: number
  readonly pingIntervalMs: number
  readonly pingDeadlineMs: number
  /** Between two connections; up to as much again is added by chance. */
  readonly pauseMs: number
}

const defaultTiming: LinkTiming = {
  connectMs: 2_000,
  prepareMs: 15_000,
  pingIntervalMs: 1_500,
  pingDeadlineMs: 1_500,
  pauseMs: 100,
}

export interface LinkOptions {
  readonly locator: Locator
  readonly clock: Clock
  readonly log: Log
  /** Absent: nothing is to be prepared. */
  readonly prepare?: Prepare | undefined
  readonly login: Login
  readonly tls?: TlsOptions | undefined
  readonly db?: number | undefined
  /** In a Cluster, of a link whose everything lies in one slot: it is open only where that slot is served. */
  readonly slot?: SlotPlace | undefined
  readonly timing?: Partial<LinkTiming> | undefined
}

export interface SlotPlace {
  readonly tag: string
  /** See ConnectionOptions. */
  readonly onElsewhere: () => void
}

export interface RunningLink extends RedisLink {
  /** For how long there has been no connection; 0 when there is one. */
  readonly troubleMs: number
  /** Makes connections until `signal` ends it; the last one is closed by then. */
  run(signal: AbortSignal): Promise<void>
}

/** `role` names the link in logs and in Redis's CLIENT LIST. */
export function createLink(role: string, options: LinkOptions): RunningLink {
  return new Link(role, options)
}

class Link implements RunningLink {
  readonly #role: string
  readonly #options: LinkOptions
  readonly #timing: LinkTiming
  readonly #listeners: ((live: LiveRedis) => void)[] = []
  readonly #waiting = new Set<(live: LiveRedis) => void>()
  #current: Connection | undefined
  #trouble: string
  #troubleSinceMs: number
  #stopped = false

  constructor(role: string, options: LinkOptions) {
    this.#role = role
    this.#options = options
    this.#timing = { ...defaultTiming, ...options.timing }
    this.#trouble = 'no connection was made yet'
    this.#troubleSinceMs = options.clock.monotonicMs()
  }

  get current(): LiveRedis | undefined {
    return this.#current
  }

  get trouble(): string | undefined {
    return this.#current ? undefined : `${this.#role}: ${this.#trouble}`
  }

  get troubleMs(): number {
    return this.#current ? 0 : this.#options.clock.monotonicMs() - this.#troubleSinceMs
  }

  onOpen(listener: (live: LiveRedis) => void): void {
    this.#listeners.push(listener)
  }

  ready(waitMs: number): Promise<LiveRedis> {
    if (this.#current) return Promise.resolve(this.#current)
    return new Promise((resolve, reject) => {
      const take = (live: LiveRedis) => {
        cancel()
        this.#waiting.delete(take)
        resolve(live)
      }
      const cancel = onDeadline(waitMs, () => {
        this.#waiting.delete(take)
        reject(new RedisUnavailableError(this.trouble ?? `${this.#role}: the connection did not last`))
      })
      this.#waiting.add(take)
    })
  }

  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => (this.#stopped = true), { once: true })
    while (!signal.aborted) {
      const { address, trouble } = this.#options.locator
      if (address) await this.#live(address, signal)
      // Many links wait for one locator: whoever asks it tells the log.
      else this.#trouble = trouble ?? 'the address of the master is not known'
      await pause(this.#timing.pauseMs * (1 + Math.random()), signal)
    }
  }

  /** One connection from its making to its end. */
  async #live(address: Address, signal: AbortSignal): Promise<void> {
    const { db, locator, login, slot, tls } = this.#options
    const watchers: Watchers = {
      confirm: () => locator.confirm(address),
      get silenceMs() {
        return locator.silenceMs / 2
      },
    }
    const name = `parley-${this.#role}`
    const onElsewhere = slot?.onElsewhere
    const connection = new Connection({ address, login, tls, db, watchers, name, onElsewhere })
    const stop = () => connection.discard('the link stops')
    signal.addEventListener('abort', stop)
    const deaf = locator.onChange(() => {
      const now = locator.address
      if (now && formatAddress(now) !== formatAddress(address))
        connection.discard(`the master is now ${formatAddress(now)}`)
    })
    // In the same turn: nobody is to be given a connection that is lost.
    connection.lost.addEventListener('abort', () => this.#lose(connection, address))
    try {
      if (await this.#open(connection)) this.#handOut(connection, address)
      await ended(connection)
    } finally {
      connection.discard('the link is done with it')
      signal.removeEventListener('abort', stop)
      deaf()
    }
  }

  /** False: it was thrown away. */
  async #open(connection: Connection): Promise<boolean> {
    const { connectMs, pingDeadlineMs, pingIntervalMs, prepareMs } = this.#timing
    try {
      await connection.open(connectMs)
      await assertMaster(connection, this.#options.slot)
      // From here on: a preparation may take its time, a dead connection may not.
      connection.watch({
        // Often enough for `stands` to know without asking.
        intervalMs: Math.min(pingIntervalMs, this.#options.locator.silenceMs / 4),
        deadlineMs: pingDeadlineMs,
      })
      const cancel = onDeadline(prepareMs, () => connection.discard(`not prepared within ${prepareMs} ms`))
      await unlessAborted(connection.lost, this.#options.prepare?.(connection) ?? Promise.resolve()).finally(
        cancel,
      )
    } catch (error) {
      connection.discard(describeError(error))
    }
    return !connection.lost.aborted
  }

  #handOut(connection: Connection, address: Address): void {
    this.#current = connection
    this.#options.log.info({ role: this.#role, master: formatAddress(address) }, 'connected to Redis')
    for (const listener of this.#listeners) listener(connection)
    // A listener may have found it wanting.
    if (this.#current === connection) for (const take of [...this.#waiting]) take(connection)
  }

  #lose(connection: Connection, address: Address): void {
    const wasOpen = this.#current === connection
    if (wasOpen) {
      this.#current = undefined
      this.#troubleSinceMs = this.#options.clock.monotonicMs()
    }
    const reason = `${formatAddress(address)}: ${describeError(connection.lost.reason)}`
    this.#setTrouble(reason, wasOpen)
  }

  #setTrouble(reason: string, again = false): void {
    if (this.#stopped) return
    if (reason !== this.#trouble || again)
      this.#options.log.warn({ role: this.#role, reason }, 'no connection to Redis')
    this.#trouble = reason
  }
}

/** Throws when the other side is a replica, or a master that does not serve yet, or not this slot. */
async function assertMaster(connection: Connection, slot: SlotPlace | undefined): Promise<void> {
  const question = connection.client.pipeline().role().ping()
  if (slot) question.exists(probeKey(slot.tag))
  const [role, pong, probed] = await connection.run(question)
  if (role instanceof Error) throw role
  if (!Array.isArray(role) || role[0] !== 'master') throw new Error('it is a replica, not a master')
  // ROLE is answered while data is being loaded; PING is not.
  if (pong instanceof Error) throw pong
  if (probed instanceof Error) throw probed
}

function ended({ lost }: Connection): Promise<void> {
  return new Promise((resolve) => {
    if (lost.aborted) resolve()
    else lost.addEventListener('abort', () => resolve(), { once: true })
  })
}
