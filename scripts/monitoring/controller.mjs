// The controller, under controller-runtime's names.
import { chosen, halfAndWorst, places, rate } from './grafana.mjs'
import { processPanels } from './processes.mjs'

const watch = 'parley_controller_watch_silent_seconds'

/** @param {string} expr @param {string} legend */
function ours(expr, legend) {
  return { expr: `${expr} and on (job, instance) ${chosen(watch)}`, legend }
}

/** Of the leader, who alone tells of them. @param {string} matchers */
function tenants(matchers) {
  return `max by (type) (${chosen('parley_controller_tenants', matchers)})`
}

/** @type {import('./grafana.mjs').Dashboard} */
export const controller = {
  uid: 'parley-controller',
  title: 'Parley / Controller',
  description:
    'Who leads, what is done, what waits, and whether the API server is heard. The series are controller-runtime’s.',
  variables: places(watch),
  rows: [
    {
      title: 'Standing',
      panels: [
        {
          title: 'Leader',
          description:
            '1 where it leads. One at a time; none for some seconds while the lease changes hands.',
          unit: 'short',
          queries: [ours(chosen('leader_election_master_status'), '{{pod}}')],
        },
        {
          title: 'Silence of the API server',
          description: 'Since it was last heard of about a kind. Bookmarks come every minute.',
          unit: 's',
          thresholds: [90, 180],
          queries: [{ expr: `max by (kind) (${chosen(watch)})`, legend: '{{kind}}' }],
        },
        {
          title: 'Calls to the API server',
          description: 'By status; `<error>` got no answer.',
          unit: 'cps',
          stack: true,
          queries: [
            {
              expr: `sum by (code, method) (${rate('rest_client_requests_total')} and on (job, instance) ${chosen(watch)})`,
              legend: '{{method}} {{code}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Edits',
      panels: [
        {
          title: 'Time until an edit is in force',
          description: 'From writing a new revision to every live gateway enforcing it.',
          unit: 's',
          queries: halfAndWorst('parley_controller_programmed_seconds'),
        },
        {
          title: 'Oldest edit that is not',
          description: 'Of the leader. 0: all are in force.',
          unit: 's',
          thresholds: [30, 120],
          queries: [{ expr: chosen('parley_controller_unprogrammed_seconds'), legend: '{{pod}}' }],
        },
        {
          title: 'Edits put in force',
          description: 'Revisions per second.',
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
          title: 'Tenants in order',
          description: 'By what their conditions say. Ready is all of the others together.',
          unit: 'short',
          queries: [{ expr: tenants('status="true",type!~"QuotaPressure|Conflict"'), legend: '{{type}}' }],
        },
        {
          title: 'Tenants that want something',
          description:
            'Not ready: `kubectl get chattenants -A` says why. Under pressure: more than 90 % of a limit is used.',
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
          title: 'By result',
          description: 'Passes per second.',
          unit: 'cps',
          stack: true,
          queries: [
            {
              expr: `sum by (controller, result) (${rate('controller_runtime_reconcile_total')} and on (job, instance) ${chosen(watch)})`,
              legend: '{{controller}} {{result}}',
            },
          ],
        },
        {
          title: 'Failed',
          description: 'Tried again with a growing pause; panics are bugs, and have a stack in the log.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (controller) (${rate('controller_runtime_reconcile_errors_total')} and on (job, instance) ${chosen(watch)})`,
              legend: '{{controller}} errors',
            },
            {
              expr: `sum by (controller) (${rate('controller_runtime_reconcile_panics_total')} and on (job, instance) ${chosen(watch)})`,
              legend: '{{controller}} panics',
            },
          ],
        },
        {
          title: 'Time (p99)',
          description: 'Of one pass.',
          unit: 's',
          queries: [
            {
              expr: `histogram_quantile(0.99, sum by (le, controller) (${rate('controller_runtime_reconcile_time_seconds_bucket')} and on (job, instance) ${chosen(watch)}))`,
              legend: '{{controller}}',
            },
          ],
        },
        {
          title: 'Workers busy',
          description: 'And how many there are.',
          unit: 'short',
          queries: [
            ours(chosen('controller_runtime_active_workers'), '{{controller}}'),
            ours(chosen('controller_runtime_max_concurrent_reconciles'), '{{controller}} at most'),
          ],
        },
      ],
    },
    {
      title: 'Queues',
      panels: [
        {
          title: 'Depth',
          description: 'Keys that wait. On a standby they wait for nobody, each once.',
          unit: 'short',
          queries: [ours(chosen('workqueue_depth'), '{{pod}} {{name}}')],
        },
        {
          title: 'Added and tried again',
          description: 'Keys per second.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (name) (${rate('workqueue_adds_total')} and on (job, instance) ${chosen(watch)})`,
              legend: '{{name}}',
            },
            {
              expr: `sum by (name) (${rate('workqueue_retries_total')} and on (job, instance) ${chosen(watch)})`,
              legend: '{{name}} again',
            },
          ],
        },
        {
          title: 'Wait and work (p99)',
          description: 'Of a key: until its turn, and from there on.',
          unit: 's',
          queries: ['queue', 'work'].map((what) => ({
            expr: `histogram_quantile(0.99, sum by (le, name) (${rate(`workqueue_${what}_duration_seconds_bucket`)} and on (job, instance) ${chosen(watch)}))`,
            legend: `{{name}} ${what}`,
          })),
        },
        {
          title: 'Slowest under way',
          description: 'What the key that is worked on longest has taken so far.',
          unit: 's',
          queries: [ours(chosen('workqueue_longest_running_processor_seconds'), '{{pod}} {{name}}')],
        },
      ],
    },
    { title: 'Processes', panels: processPanels(watch) },
  ],
}
