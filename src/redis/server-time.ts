// The clock of a Redis master, estimated without asking it each time. Publications are stamped with it, so
// that their times and expiries do not depend on the clocks of gateways.
import type { Clock } from '../time.js'
import type { LiveRedis } from './link.js'

/** An estimate older than this is replaced by a less exact one, because clocks drift. */
const ageMsMax = 60_000
const samples = 3

export class ServerTime {
  readonly #clock: Clock
  /** The difference between the clock of Redis and the monotonic clock, exact to `errorMs`. */
  #estimate: { offsetMs: number; errorMs: number; atMs: number } | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Returns the time of the master in whole milliseconds since the Unix epoch. Before the first measurement
   * it is the time of this gateway.
   */
  nowMs(): number {
    const estimate = this.#estimate
    return Math.floor(estimate ? this.#clock.monotonicMs() + estimate.offsetMs : this.#clock.epochMs())
  }

  /** Measures the clock of a master that is new, because its clock may differ from that of the last one. */
  async begin(live: LiveRedis): Promise<void> {
    for (let sample = 0; sample < samples; sample += 1) await this.measure(live, { replace: sample === 0 })
  }

  /**
   * Measures the clock again, and keeps the more exact estimate unless it is old. `replace`: keeps the new
   * one in any case. Until then the last estimate holds.
   */
  async measure(live: LiveRedis, { replace = false }: { readonly replace?: boolean } = {}): Promise<void> {
    const sentMs = this.#clock.monotonicMs()
    const [reply] = await live.run(live.client.pipeline().time())
    const atMs = this.#clock.monotonicMs()
    if (reply instanceof Error) throw reply
    const [seconds, micros] = Array.isArray(reply) ? reply.map(Number) : []
    if (seconds === undefined || micros === undefined) throw new Error('TIME has no time')
    const errorMs = (atMs - sentMs) / 2
    const known = this.#estimate
    if (!replace && known && known.errorMs < errorMs && atMs - known.atMs < ageMsMax) return
    this.#estimate = { offsetMs: seconds * 1_000 + micros / 1_000 - (sentMs + atMs) / 2, errorMs, atMs }
  }
}
