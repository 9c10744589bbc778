// Computes the results of the probes: whether a restart would help (liveness), and whether all caches were
// filled (readiness).
import type { Clock } from '../time.js'

/** The part of a reflector that health needs. */
export interface WatchedKind {
  readonly kind: string
  readonly cache: { readonly synced: boolean }
  readonly unavailableReason: string | undefined
  readonly stuckMs: number
}

/** Every attempt of a reflector ends within three minutes; a silent watch takes longest. */
const stuckMsMax = 300_000
const tickMs = 1_000
/**
 * A stall of the event loop that a busy machine does not cause. A leader loses its lease at a third of it.
 */
const stallMsMax = 30_000
/** The time after the end of a stall during which it still counts, so that a probe cannot miss it. */
const stallRememberedMs = 60_000

export class Health {
  readonly #reflectors: readonly WatchedKind[]
  readonly #clock: Clock
  #tickedMs: number
  /** The last long stall, and the time at which it ended. */
  #lastStall: { ms: number; endedAtMs: number } | undefined

  constructor(reflectors: readonly WatchedKind[], clock: Clock) {
    this.#reflectors = reflectors
    this.#clock = clock
    this.#tickedMs = clock.monotonicMs()
  }

  /** Calls `tick` every second until `signal` aborts. */
  run(signal: AbortSignal): void {
    this.#tickedMs = this.#clock.monotonicMs()
    const interval = setInterval(() => this.tick(), tickMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  /** Measures the time since the last tick, which is longer than a second when the event loop stalled. */
  tick(): void {
    const nowMs = this.#clock.monotonicMs()
    const stallMs = nowMs - this.#tickedMs
    this.#tickedMs = nowMs
    if (stallMs >= stallMsMax) this.#lastStall = { ms: stallMs, endedAtMs: nowMs }
    else if (this.#lastStall && nowMs - this.#lastStall.endedAtMs > stallRememberedMs)
      this.#lastStall = undefined
  }

  /**
   * Returns why this process should be restarted, or an empty list. An unreachable API server is not a
   * reason.
   */
  livenessProblems(): string[] {
    const sinceTickMs = this.#clock.monotonicMs() - this.#tickedMs
    const stallMs = Math.max(sinceTickMs, this.#lastStall?.ms ?? 0)
    return [
      ...(stallMs >= stallMsMax ? [`the event loop stalled for ${seconds(stallMs)} s`] : []),
      ...this.#reflectors
        .filter(({ stuckMs }) => stuckMs >= stuckMsMax)
        .map(({ kind, stuckMs }) => `the watch of ${kind} has made no progress for ${seconds(stuckMs)} s`),
    ]
  }

  /**
   * Returns the kinds that were never listed completely, or an empty list when the process is ready. A cache
   * that was complete once stays usable, because stale data is better than none.
   */
  readinessProblems(): string[] {
    return this.#reflectors
      .filter(({ cache }) => !cache.synced)
      .map(
        ({ kind, unavailableReason }) =>
          `${kind} was not listed yet: ${unavailableReason ?? 'list in progress'}`,
      )
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(0)
}
