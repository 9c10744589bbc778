// Collects latencies and returns their quantiles. Uses a fixed amount of memory for any number of samples.
import { createHistogram } from 'node:perf_hooks'

/** Quantiles in milliseconds. All are 0 when there are no samples. */
export interface LatencySummary {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export class Latencies {
  readonly #histogram = createHistogram()

  /** Adds one sample in microseconds. Samples below 1 µs count as 1 µs. */
  add(us: number): void {
    this.#histogram.record(Math.max(1, us))
  }

  summary(): LatencySummary {
    const { count, max } = this.#histogram
    if (count === 0) return { p50Ms: 0, p99Ms: 0, maxMs: 0 }
    const [p50Ms, p99Ms] = [50, 99].map((percent) => this.#histogram.percentile(percent) / 1000)
    return { p50Ms: p50Ms ?? 0, p99Ms: p99Ms ?? 0, maxMs: max / 1000 }
  }
}
