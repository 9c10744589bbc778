// The dashboard of the controller.
import { selected, medianAndP99, targetVariables, rate } from './grafana.mjs'
import { processPanels } from './processes.mjs'

const watch = 'parley_controller_watch_silent_seconds'

/** @param {string} expr @param {string} legend */
function ofParley(expr, legend) {
  return { expr: `${expr} and on (job, instance) ${selected(watch)}`, legend }
}

/** Tenants by condition; only the leader reports them. @param {string} matchers */
function tenants(matchers) {
  return `max by (type) (${selected('parley_controller_tenants', matchers)})`
}

/** @type {import('./grafana.mjs').Dashboard} */
export const controller = {
  uid: 'parley-controller',
  title: 'Parley / Controller',
  description:
    'Leader election, API server, reconciles and work queues of the controller. The metrics are those of controller-runtime.',
  variables: targetVariables(watch),
  rows: [
    {
      title: 'Status',
      panels: [
        {
          title: 'Leader',
          description:
            '1 for the leader. There is at most one, and none for some seconds while the lease moves to another controller.',
          unit: 'short',
          queries: [ofParley(selected('leader_election_master_status'), '{{pod}}')],
        },
        {
          title: 'Time since last watch event',
          description:
            'Time since the watch of a kind last received anything. The API server sends bookmarks every minute.',
          unit: 's',
          thresholds: [90, 180],
          queries: [{ expr: `max by (kind) (${selected(watch)})`, legend: '{{kind}}' }],
        },
        {
          title: 'API server requests',
          description: 'Requests per second by status. `<error>` means that there was no response.',
          unit: 'cps',
          stack: true,
          queries: [
            {
              expr: `sum by (code, method) (${rate('rest_client_requests_total')} and on (job, instance) ${selected(watch)})`,
              legend: '{{method}} {{code}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Tenant revisions',
      panels: [
        {
          title: 'Propagation time',
          description: 'Time from writing a new revision of a tenant to every live gateway enforcing it.',
          unit: 's',
          queries: medianAndP99('parley_controller_programmed_seconds'),
        },
        {
          title: 'Oldest pending revision',
          description:
            'Age of the oldest revision that not every live gateway enforces; 0 when there is none. Reported by the leader.',
          unit: 's',
          thresholds: [30, 120],
          queries: [{ expr: selected('parley_controller_unprogrammed_seconds'), legend: '{{pod}}' }],
        },
        {
          title: 'Propagated revisions',
          description: 'Revisions per second that all live gateways began to enforce.',
          unit: 'cps',
          queries: [
            { expr: `sum(${rate('parley_controller_programmed_seconds_count')})`, legend: 'revisions' },
          ],
        },
      ],
    },
    {
      title: 'Tenants',
      panels: [
        {
          title: 'Tenants by condition',
          description: 'Number of tenants whose condition is True. Ready summarizes the others.',
          unit: 'short',
          queries: [{ expr: tenants('status="true",type!~"QuotaPressure|Conflict"'), legend: '{{type}}' }],
        },
        {
          title: 'Tenants with problems',
          description:
            'Tenants that are not Ready (`kubectl get chattenants -A` shows the reason), use more than 90% of a limit (QuotaPressure), or have a Conflict.',
          unit: 'short',
          stack: true,
          queries: [
            { expr: tenants('status="false",type="Ready"'), legend: 'not {{type}}' },
            { expr: tenants('status="true",type=~"QuotaPressure|Conflict"'), legend: '{{type}}' },
          ],
        },
      ],
    },
    {
      title: 'Reconciles',
      panels: [
        {
          title: 'Reconciles by result',
          description: 'Reconciles per second.',
          unit: 'cps',
          stack: true,
          queries: [
            {
              expr: `sum by (controller, result) (${rate('controller_runtime_reconcile_total')} and on (job, instance) ${selected(watch)})`,
              legend: '{{controller}} {{result}}',
            },
          ],
        },
        {
          title: 'Failed reconciles',
          description:
            'Failed reconciles are retried with exponential backoff. Panics are bugs; the log has their stack.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (controller) (${rate('controller_runtime_reconcile_errors_total')} and on (job, instance) ${selected(watch)})`,
              legend: '{{controller}} errors',
            },
            {
              expr: `sum by (controller) (${rate('controller_runtime_reconcile_panics_total')} and on (job, instance) ${selected(watch)})`,
              legend: '{{controller}} panics',
            },
          ],
        },
        {
          title: 'Reconcile duration (p99)',
          description: '99th percentile of the duration of a reconcile.',
          unit: 's',
          queries: [
            {
              expr: `histogram_quantile(0.99, sum by (le, controller) (${rate('controller_runtime_reconcile_time_seconds_bucket')} and on (job, instance) ${selected(watch)}))`,
              legend: '{{controller}}',
            },
          ],
        },
        {
          title: 'Active workers',
          description: 'Running reconciles and their largest possible number.',
          unit: 'short',
          queries: [
            ofParley(selected('controller_runtime_active_workers'), '{{controller}}'),
            ofParley(selected('controller_runtime_max_concurrent_reconciles'), '{{controller}} max'),
          ],
        },
      ],
    },
    {
      title: 'Work queues',
      panels: [
        {
          title: 'Queue depth',
          description:
            'Keys that wait in the queue. On a standby every key waits once, until it becomes the leader.',
          unit: 'short',
          queries: [ofParley(selected('workqueue_depth'), '{{pod}} {{name}}')],
        },
        {
          title: 'Oldest waiting key',
          description:
            'How long the oldest key has waited, by priority. Changes that may take rights away are urgent.',
          unit: 's',
          queries: [
            {
              expr: `max by (controller, priority) (${selected('parley_controller_queue_oldest_seconds')} and on (job, instance) ${selected(watch)})`,
              legend: '{{controller}} {{priority}}',
            },
          ],
        },
        {
          title: 'Adds and retries',
          description: 'Keys per second that are added, and added again after a failure.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (name) (${rate('workqueue_adds_total')} and on (job, instance) ${selected(watch)})`,
              legend: '{{name}}',
            },
            {
              expr: `sum by (name) (${rate('workqueue_retries_total')} and on (job, instance) ${selected(watch)})`,
              legend: '{{name}} retries',
            },
          ],
        },
        {
          title: 'Wait and processing time (p99)',
          description:
            '99th percentile of the time a key waits in the queue, and of the time it is processed.',
          unit: 's',
          queries: ['queue', 'work'].map((what) => ({
            expr: `histogram_quantile(0.99, sum by (le, name) (${rate(`workqueue_${what}_duration_seconds_bucket`)} and on (job, instance) ${selected(watch)}))`,
            legend: `{{name}} ${what}`,
          })),
        },
        {
          title: 'Longest running key',
          description: 'Time of the key that has been processed longest, so far.',
          unit: 's',
          queries: [ofParley(selected('workqueue_longest_running_processor_seconds'), '{{pod}} {{name}}')],
        },
      ],
    },
    { title: 'Processes', panels: processPanels(watch) },
  ],
}
