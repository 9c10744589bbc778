// Finds clients that stopped answering, so that a dead socket never keeps a place in its tenant's quota.
import { closeCodes, type CloseCode } from '../../protocol/codes.js'
import type { Timer, TimerWheel } from '../../time.js'

/** What a heartbeat needs of a session. */
export interface HeartbeatPeer {
  ping(): void
  close(code: CloseCode): void
}

export interface HeartbeatTiming {
  /** Between two pings. */
  readonly pingIntervalMs: number
  /** Silence after a ping that ends the session with `noPong` (3012). Below the interval. */
  readonly pongTimeoutMs: number
}

/** One timer for both waits: interval, ping, timeout, verdict. The first ping comes after 50–100 % of the interval, so that a fleet does not ping in step. */
export class Heartbeat {
  readonly #peer: HeartbeatPeer
  readonly #timing: HeartbeatTiming
  readonly #wheel: TimerWheel
  readonly #timer: Timer
  #next: 'ping' | 'verdict' = 'ping'
  /** Since the last ping. */
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
        this.#next = 'verdict'
        this.#silent = true
        this.#wheel.reschedule(this.#timer, pongTimeoutMs)
        return this.#peer.ping()
      case 'verdict':
        if (this.#silent) return this.#peer.close(closeCodes.noPong)
        this.#next = 'ping'
        this.#wheel.reschedule(this.#timer, pingIntervalMs - pongTimeoutMs)
    }
  }

  /** Any frame counts as a pong: a busy client is alive even when its pongs wait behind data. */
  alive(): void {
    this.#silent = false
  }

  stop(): void {
    this.#wheel.cancel(this.#timer)
  }
}
