// Finds clients that have stopped answering, so that a dead socket does not hold a connection of its tenant's
// quota.
import { closeCodes, type CloseCode } from '../../protocol/codes.js'
import type { Timer, TimerWheel } from '../../time.js'

/** What a heartbeat needs of a session. */
export interface HeartbeatPeer {
  /** False while the gateway does not read from the client, so that a pong cannot arrive. */
  readonly isReading: boolean
  ping(): void
  close(code: CloseCode): void
}

export interface HeartbeatTiming {
  /** Time between two pings. */
  readonly pingIntervalMs: number
  /** Silence after a ping that closes the session with `noPong` (3012). Less than the interval. */
  readonly pongTimeoutMs: number
}

/**
 * Pings a session and closes it when it stays silent. One timer serves both waits: it fires for the ping, and
 * for the check after it. The first ping comes after 50–100 % of the interval, so that the sessions of a
 * gateway do not ping in step.
 */
export class Heartbeat {
  readonly #peer: HeartbeatPeer
  readonly #timing: HeartbeatTiming
  readonly #wheel: TimerWheel
  readonly #timer: Timer
  #next: 'ping' | 'check' = 'ping'
  /** True while nothing has arrived since the last ping. */
  #silent = false

  constructor(
    peer: HeartbeatPeer,
    options: { timing: HeartbeatTiming; wheel: TimerWheel; random: () => number },
  ) {
    this.#peer = peer
    this.#timing = options.timing
    this.#wheel = options.wheel
    this.#timer = options.wheel.after(options.timing.pingIntervalMs * (0.5 + options.random() / 2), () =>
      this.#tick(),
    )
  }

  #tick(): void {
    const { pingIntervalMs, pongTimeoutMs } = this.#timing
    switch (this.#next) {
      case 'ping':
        this.#next = 'check'
        this.#silent = true
        this.#wheel.reschedule(this.#timer, pongTimeoutMs)
        return this.#peer.ping()
      case 'check':
        if (this.#silent && this.#peer.isReading) return this.#peer.close(closeCodes.noPong)
        this.#next = 'ping'
        this.#wheel.reschedule(this.#timer, pingIntervalMs - pongTimeoutMs)
    }
  }

  /**
   * Records that something arrived. Any frame counts as a pong: a busy client is alive even when its pongs
   * wait behind data.
   */
  onActivity(): void {
    this.#silent = false
  }

  stop(): void {
    this.#wheel.cancel(this.#timer)
  }
}
