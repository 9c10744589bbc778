// A link to the current master for one role. It replaces each lost connection by a new one and never reuses a
// client.
import type { Log } from '../log.js'
import type { Clock } from '../time.js'
import { RedisConnection, describeError, type MasterVerifier } from './connection.js'
import { onDeadline, pause, abortable } from '../deadline.js'
import { probeKey } from './keys.js'
import { RedisUnavailableError, type LiveRedis, type Prepare, type RedisLink } from './link.js'
import type { Locator } from './topology/locator.js'
import { formatAddress, type Address, type Login, type RedisTlsOptions } from './url.js'

/** The timing of a link, in milliseconds. */
export interface LinkTiming {
  /** The deadline for opening a connection. Default 2,000. */
  readonly connectMs: number
  /** The deadline for the preparation of a connection. Default 15,000. */
  readonly prepareMs: number
  /** The time between two PINGs. Default 1,500; shorter where a failover may begin sooner. */
  readonly pingIntervalMs: number
  /** The deadline for the answer to a PING. Default 1,500. */
  readonly pingDeadlineMs: number
  /** The pause between two connections. A random time of up to the same length is added. Default 100. */
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
  /** Default: connections need no preparation. */
  readonly prepare?: Prepare | undefined
  readonly login: Login
  /** Default: no TLS. */
  readonly tls?: RedisTlsOptions | undefined
  /** The number of the database. Default 0. */
  readonly db?: number | undefined
  /**
   * For a link to a Cluster whose caller has all keys in one slot: the link connects only to a master that
   * serves this slot.
   */
  readonly slot?: LinkSlot | undefined
  readonly timing?: Partial<LinkTiming> | undefined
}

export interface LinkSlot {
  /** The hash tag of all keys of the caller. */
  readonly tag: string
  /** See `RedisConnectionOptions.onRedirect`. */
  readonly onRedirect: () => void
}

export class ManagedLink implements RedisLink {
  readonly #role: string
  readonly #options: LinkOptions
  readonly #timing: LinkTiming
  readonly #listeners: ((live: LiveRedis) => void)[] = []
  readonly #waiting = new Set<(live: LiveRedis) => void>()
  #current: RedisConnection | undefined
  #reason: string
  #unavailableSinceMs: number
  #stopped = false

  /** `role` names the link in logs and in Redis's CLIENT LIST. */
  constructor(role: string, options: LinkOptions) {
    this.#role = role
    this.#options = options
    this.#timing = { ...defaultTiming, ...options.timing }
    this.#reason = 'no connection has been made yet'
    this.#unavailableSinceMs = options.clock.monotonicMs()
  }

  get current(): LiveRedis | undefined {
    return this.#current
  }

  get unavailableReason(): string | undefined {
    return this.#current ? undefined : `${this.#role}: ${this.#reason}`
  }

  /** The time since the last connection was lost, in milliseconds; 0 while a connection is open. */
  get unavailableMs(): number {
    return this.#current ? 0 : this.#options.clock.monotonicMs() - this.#unavailableSinceMs
  }

  onOpen(listener: (live: LiveRedis) => void): void {
    this.#listeners.push(listener)
  }

  ready(waitMs: number): Promise<LiveRedis> {
    if (this.#current) return Promise.resolve(this.#current)
    return new Promise((resolve, reject) => {
      const onConnection = (live: LiveRedis) => {
        cancel()
        this.#waiting.delete(onConnection)
        resolve(live)
      }
      const cancel = onDeadline(waitMs, () => {
        this.#waiting.delete(onConnection)
        reject(
          new RedisUnavailableError(
            this.unavailableReason ?? `${this.#role}: the connection was lost as soon as it opened`,
          ),
        )
      })
      this.#waiting.add(onConnection)
    })
  }

  /** Opens connections until `signal` aborts. Resolves when the last connection is closed. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => (this.#stopped = true), { once: true })
    while (!signal.aborted) {
      const { address, unavailableReason } = this.#options.locator
      if (address) await this.#connect(address, signal)
      // The reason is not logged here: many links share one locator, and the owner of the locator logs it.
      else this.#reason = unavailableReason ?? 'the address of the master is not known'
      await pause(this.#timing.pauseMs * (1 + Math.random()), signal)
    }
  }

  /** Opens one connection and resolves when it has ended. */
  async #connect(address: Address, signal: AbortSignal): Promise<void> {
    const { db, locator, login, slot, tls } = this.#options
    const masterVerifier: MasterVerifier = {
      confirm: () => locator.confirm(address),
      get failoverAfterMs() {
        return locator.failoverAfterMs / 2
      },
    }
    const name = `parley-${this.#role}`
    const onRedirect = slot?.onRedirect
    const connection = new RedisConnection({ address, login, tls, db, masterVerifier, name, onRedirect })
    const stop = () => connection.discard('the link stops')
    signal.addEventListener('abort', stop)
    const unsubscribe = locator.onChange(() => {
      const now = locator.address
      if (now && formatAddress(now) !== formatAddress(address))
        connection.discard(`the master is now ${formatAddress(now)}`)
    })
    // The listener runs in the same turn of the event loop, so that no caller gets a lost connection.
    connection.lost.addEventListener('abort', () => this.#lose(connection, address))
    try {
      if (await this.#open(connection)) this.#announce(connection, address)
      await ended(connection)
    } finally {
      connection.discard('the link no longer needs the connection')
      signal.removeEventListener('abort', stop)
      unsubscribe()
    }
  }

  /** Opens, verifies and prepares the connection. Resolves with false when the connection was discarded. */
  async #open(connection: RedisConnection): Promise<boolean> {
    const { connectMs, pingDeadlineMs, pingIntervalMs, prepareMs } = this.#timing
    try {
      await connection.open(connectMs)
      await assertMaster(connection, this.#options.slot)
      // The watch begins before the preparation, because the preparation may take long and a dead connection
      // must be detected quickly.
      connection.watch({
        // The interval is short enough for `confirmMaster` to answer without asking the Sentinels.
        intervalMs: Math.min(pingIntervalMs, this.#options.locator.failoverAfterMs / 4),
        deadlineMs: pingDeadlineMs,
      })
      const cancel = onDeadline(prepareMs, () => connection.discard(`not prepared within ${prepareMs} ms`))
      await abortable(connection.lost, this.#options.prepare?.(connection) ?? Promise.resolve()).finally(
        cancel,
      )
    } catch (error) {
      connection.discard(describeError(error))
    }
    return !connection.lost.aborted
  }

  #announce(connection: RedisConnection, address: Address): void {
    this.#current = connection
    this.#options.log.info({ role: this.#role, master: formatAddress(address) }, 'connected to Redis master')
    for (const listener of this.#listeners) listener(connection)
    // A listener may have discarded the connection.
    if (this.#current === connection) for (const onConnection of [...this.#waiting]) onConnection(connection)
  }

  #lose(connection: RedisConnection, address: Address): void {
    const wasOpen = this.#current === connection
    if (wasOpen) {
      this.#current = undefined
      this.#unavailableSinceMs = this.#options.clock.monotonicMs()
    }
    const reason = `${formatAddress(address)}: ${describeError(connection.lost.reason)}`
    this.#setReason(reason, wasOpen)
  }

  #setReason(reason: string, wasOpen: boolean): void {
    if (this.#stopped) return
    if (reason !== this.#reason || wasOpen)
      this.#options.log.warn({ role: this.#role, reason }, 'no connection to Redis master')
    this.#reason = reason
  }
}

/** Throws when the server is a replica, is still loading its data, or does not serve `slot`. */
async function assertMaster(connection: RedisConnection, slot: LinkSlot | undefined): Promise<void> {
  const pipeline = connection.client.pipeline().role().ping()
  if (slot) pipeline.exists(probeKey(slot.tag))
  const [role, pong, probed] = await connection.run(pipeline)
  if (role instanceof Error) throw role
  if (!Array.isArray(role) || role[0] !== 'master') throw new Error('the server is a replica, not a master')
  // While Redis loads its data, it answers ROLE but not PING.
  if (pong instanceof Error) throw pong
  if (probed instanceof Error) throw probed
}

function ended({ lost }: RedisConnection): Promise<void> {
  return new Promise((resolve) => {
    if (lost.aborted) resolve()
    else lost.addEventListener('abort', () => resolve(), { once: true })
  })
}
