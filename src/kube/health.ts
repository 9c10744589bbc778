// What the probes ask: would a restart help (liveness), is there anything to go by (readiness).
import type { Clock } from '../time.js'

/** What health needs of a reflector. */
export interface WatchedKind {
  readonly kind: string
  readonly cache: { readonly synced: boolean }
  readonly trouble: string | undefined
  readonly stuckMs: number
}

/** Every attempt of a reflector ends, one way or another, within three minutes (a silent watch takes longest). */
const stuckMsMax = 300_000
const tickMs = 1_000
/** Far above what a busy machine does to a process; an election is lost at a third of it. */
const stillMsMax = 30_000

export class Health {
  readonly #reflectors: readonly WatchedKind[]
  readonly #clock: Clock
  #tickedMs: number
  /** Of the longest standstill of late. */
  #stood: { ms: number; atMs: number } | undefined

  constructor(reflectors: readonly WatchedKind[], clock: Clock) {
    this.#reflectors = reflectors
    this.#clock = clock
    this.#tickedMs = clock.monotonicMs()
  }

  /** Ticks until `signal` ends it. */
  run(signal: AbortSignal): void {
    this.#tickedMs = this.#clock.monotonicMs()
    const interval = setInterval(() => this.tick(), tickMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  /** Once a second when all is well. */
  tick(): void {
    const nowMs = this.#clock.monotonicMs()
    const stoodMs = nowMs - this.#tickedMs
    this.#tickedMs = nowMs
    if (stoodMs >= stillMsMax) this.#stood = { ms: stoodMs, atMs: nowMs }
    else if (this.#stood && nowMs - this.#stood.atMs > 60_000) this.#stood = undefined
  }

  /** Why this process should be restarted. An API server that is away is no reason. */
  dead(): string[] {
    const stillMs = this.#clock.monotonicMs() - this.#tickedMs
    const stood = Math.max(stillMs, this.#stood?.ms ?? 0)
    return [
      ...(stood >= stillMsMax ? [`the event loop stood still for ${seconds(stood)} s`] : []),
      ...this.#reflectors
        .filter(({ stuckMs }) => stuckMs >= stuckMsMax)
        .map(({ kind, stuckMs }) => `the watch of ${kind} is stuck for ${seconds(stuckMs)} s`),
    ]
  }

  /** Why it has nothing to go by yet. A cache that was complete once stays good: old is better than nothing. */
  unready(): string[] {
    return this.#reflectors
      .filter(({ cache }) => !cache.synced)
      .map(({ kind, trouble }) => `${kind} was not read yet: ${trouble ?? 'listing'}`)
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(0)
}
