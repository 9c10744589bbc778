// Panels of the metrics of a Node process.
import { selected, rate } from './grafana.mjs'

/** Panels for the processes that the dashboard's variables select. */
const panels = /** @type {import('./grafana.mjs').Panel[]} */ ([
  {
    title: 'CPU',
    description:
      'CPU cores in use. The JavaScript code of a gateway or controller uses at most one core; garbage collection and TLS use a little more.',
    unit: 'short',
    queries: [{ expr: rate('process_cpu_seconds_total'), legend: '{{pod}}' }],
  },
  {
    title: 'Memory',
    description: 'Resident memory of the process. Compare it with the memory limit of the container.',
    unit: 'bytes',
    queries: [{ expr: selected('process_resident_memory_bytes'), legend: '{{pod}}' }],
  },
  {
    title: 'Event loop lag (p99)',
    description: 'Delay of the event loop. Clients notice values above 100 ms.',
    unit: 's',
    thresholds: [0.1, 0.25],
    queries: [{ expr: selected('nodejs_eventloop_lag_p99_seconds'), legend: '{{pod}}' }],
  },
])

/**
 * Restricts the panels to targets that expose `series`, because other programs in the namespace expose the
 * same Node metrics.
 * @param {string} series
 * @returns {import('./grafana.mjs').Panel[]}
 */
export function processPanels(series) {
  return panels.map(({ queries, ...panel }) => ({
    ...panel,
    queries: queries.map(({ expr, legend }) => ({
      expr: `${expr} and on (job, instance) ${selected(series)}`,
      legend,
    })),
  }))
}
