// How long things took: quantiles of any number of samples in a fixed amount of memory.
import { createHistogram } from 'node:perf_hooks'

/** In milliseconds; 0 when there are none. */
export interface LatencySummary {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export class Latencies {
  readonly #histogram = createHistogram()

  add(us: number): void {
    this.#histogram.record(Math.max(1, us))
  }

  summary(): LatencySummary {
    const { count, max } = this.#histogram
    if (count === 0) return { p50Ms: 0, p99Ms: 0, maxMs: 0 }
    const [p50Ms, p99Ms] = [50, 99].map((part) => this.#histogram.percentile(part) / 1000)
    return { p50Ms: p50Ms ?? 0, p99Ms: p99Ms ?? 0, maxMs: max / 1000 }
  }
}
