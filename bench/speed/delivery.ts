// What is read from a round of deliveries.
import type { Contest } from './contest.js'
import type { RanReport } from './orders.js'
import type { Column } from './results.js'

export const deliveryColumns: readonly Column[] = [
  { key: 'perCpuSecond', title: 'deliveries per CPU-second', unit: 'count' },
  { key: 'perSecond', title: 'deliveries/s', unit: 'count' },
  { key: 'missing', title: 'missing', unit: 'count' },
  { key: 'refused', title: 'publishes refused', unit: 'count' },
  { key: 'p50', title: 'p50', unit: 'ms' },
  { key: 'p99', title: 'p99', unit: 'ms' },
  { key: 'max', title: 'max', unit: 'ms' },
  { key: 'server', title: 'server CPU', unit: 'percent' },
  { key: 'redis', title: 'Redis CPU', unit: 'percent' },
  { key: 'load', title: 'load CPU', unit: 'percent' },
]

export const perCpuSecond = ({ cpuSeconds, delivered }: RanReport): number => delivered / cpuSeconds.server

/** With their reason told: not delivered, and not missing. */
const refusedOf = ({ refusals }: RanReport): number =>
  Object.values(refusals).reduce((sum, count) => sum + count, 0)

/** More is missing than was refused: then no figure is worth anything. */
export const lostOf = (report: RanReport, subscribersEach: number): boolean =>
  report.missing > refusedOf(report) * subscribersEach

const percent = (part: number, { wallSeconds }: RanReport): number => (part / wallSeconds) * 100

export function deliveryValues(contest: Contest<RanReport>, name: string): Record<string, number> {
  const of = (measure: (report: RanReport) => number): number => contest.median(name, measure)
  return {
    perCpuSecond: of(perCpuSecond),
    perSecond: of(({ delivered, seconds }) => delivered / seconds),
    missing: of(({ missing }) => missing),
    refused: of(refusedOf),
    p50: of(({ delivery }) => delivery.p50Ms),
    p99: of(({ delivery }) => delivery.p99Ms),
    max: of(({ delivery }) => delivery.maxMs),
    server: of((report) => percent(report.cpuSeconds.server, report)),
    redis: of((report) => percent(report.cpuSeconds.redis, report)),
    load: of((report) => percent(report.cpuSeconds.load, report)),
  }
}
