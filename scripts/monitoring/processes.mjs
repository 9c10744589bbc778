// What Node says of itself, as panels.
import { chosen, rate } from './grafana.mjs'

/** Node's own numbers of whoever is chosen. */
const panels = /** @type {import('./grafana.mjs').Panel[]} */ ([
  {
    title: 'CPU',
    description:
      'Cores in use. One is all that a gateway’s or controller’s own code can use; a little more goes to TLS and garbage.',
    unit: 'short',
    queries: [{ expr: rate('process_cpu_seconds_total'), legend: '{{pod}}' }],
  },
  {
    title: 'Memory',
    description: 'Resident memory of the process, to be held against the container’s limit.',
    unit: 'bytes',
    queries: [{ expr: chosen('process_resident_memory_bytes'), legend: '{{pod}}' }],
  },
  {
    title: 'Event loop lag (p99)',
    description: 'How late the process comes to what it has to do. Above 100 ms clients feel it.',
    unit: 's',
    thresholds: [0.1, 0.25],
    queries: [{ expr: chosen('nodejs_eventloop_lag_p99_seconds'), legend: '{{pod}}' }],
  },
])

/**
 * Of the targets that have `series`: others in the same namespace have Node's too.
 * @param {string} series
 * @returns {import('./grafana.mjs').Panel[]}
 */
export function processPanels(series) {
  return panels.map(({ queries, ...panel }) => ({
    ...panel,
    queries: queries.map(({ expr, legend }) => ({
      expr: `${expr} and on (job, instance) ${chosen(series)}`,
      legend,
    })),
  }))
}
