// The columns of the scenarios that measure deliveries, and their values.
import type { Comparison } from './comparison.js'
import type { MeasuredRound } from './load-commands.js'
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

export const perCpuSecond = ({ cpuSeconds, delivered }: MeasuredRound): number =>
  delivered / cpuSeconds.server

/** Publishes that were refused with a code. Their deliveries are not lost. */
const refusedOf = ({ errors }: MeasuredRound): number =>
  Object.values(errors).reduce((sum, count) => sum + count, 0)

/** Returns true when more deliveries are missing than were refused, which makes all figures worthless. */
export const lostOf = (report: MeasuredRound, subscribersEach: number): boolean =>
  report.missing > refusedOf(report) * subscribersEach

const percent = (part: number, { wallSeconds }: MeasuredRound): number => (part / wallSeconds) * 100

export function deliveryValues(comparison: Comparison<MeasuredRound>, name: string): Record<string, number> {
  const of = (measure: (report: MeasuredRound) => number): number => comparison.median(name, measure)
  return {
    perCpuSecond: of(perCpuSecond),
    perSecond: of(({ delivered, seconds }) => delivered / seconds),
    missing: of(({ missing }) => missing),
    refused: of(refusedOf),
    p50: of(({ deliveryLatency }) => deliveryLatency.p50Ms),
    p99: of(({ deliveryLatency }) => deliveryLatency.p99Ms),
    max: of(({ deliveryLatency }) => deliveryLatency.maxMs),
    server: of((report) => percent(report.cpuSeconds.server, report)),
    redis: of((report) => percent(report.cpuSeconds.redis, report)),
    load: of((report) => percent(report.cpuSeconds.load, report)),
  }
}
