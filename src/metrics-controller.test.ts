import { expect, test } from 'vitest'
import { ControllerMetrics } from './metrics-controller.js'

/** `name{labels} value` of every series except the buckets of histograms. */
async function series(metrics: ControllerMetrics): Promise<string[]> {
  const text = await metrics.registry.metrics()
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#') && !line.includes('_bucket'))
}

test('names and labels are those of controller-runtime and client-go', async () => {
  const metrics = new ControllerMetrics({ process: false })
  const programmed = metrics.rolloutLatencyMeter(() => 3)
  metrics.observeQueue('chattenant', {
    depth: 7,
    waitingIn: (priority) =>
      priority === 'urgent' ? { depth: 1, oldestSeconds: 4 } : { depth: 6, oldestSeconds: 5 },
    unfinishedSeconds: () => [2, 3],
  })
  metrics.observeWatch('ChatTenant', () => 12)
  metrics.observeWatch('ChatPlan', () => undefined)
  const queue = metrics.queueMeter('chattenant')
  const reconcile = metrics.reconcileMeter('chattenant', 4)
  const lease = metrics.leaseMeter('parley')
  const rest = metrics.restMeter('10.0.0.1:443')
  programmed(0.2)
  queue.added()
  queue.retried()
  queue.waited(1, 'urgent')
  queue.worked(2)
  reconcile.started()
  reconcile.ended('success', 0.5)
  reconcile.started()
  reconcile.ended('error', 0.5)
  reconcile.started()
  reconcile.terminal()
  reconcile.panicked()
  reconcile.timedOut()
  metrics.countDroppedEvent()
  lease.leading(true)
  lease.slowPath()
  rest('GET', '200')
  rest('GET', '200')
  const named = '{name="chattenant",controller="chattenant"}'
  const controller = '{controller="chattenant"}'
  expect((await series(metrics)).toSorted()).toEqual(
    [
      `workqueue_depth${named} 7`,
      `workqueue_unfinished_work_seconds${named} 5`,
      `workqueue_longest_running_processor_seconds${named} 3`,
      `workqueue_adds_total${named} 1`,
      `workqueue_retries_total${named} 1`,
      'workqueue_queue_duration_seconds_sum{name="chattenant",controller="chattenant",priority="urgent"} 1',
      'workqueue_queue_duration_seconds_count{name="chattenant",controller="chattenant",priority="urgent"} 1',
      'parley_controller_queue_depth{controller="chattenant",priority="urgent"} 1',
      'parley_controller_queue_depth{controller="chattenant",priority="normal"} 6',
      'parley_controller_queue_oldest_seconds{controller="chattenant",priority="urgent"} 4',
      'parley_controller_queue_oldest_seconds{controller="chattenant",priority="normal"} 5',
      `workqueue_work_duration_seconds_sum${named} 2`,
      `workqueue_work_duration_seconds_count${named} 1`,
      `controller_runtime_active_workers${controller} 1`,
      `controller_runtime_max_concurrent_reconciles${controller} 4`,
      `controller_runtime_reconcile_errors_total${controller} 1`,
      `controller_runtime_terminal_reconcile_errors_total${controller} 1`,
      `controller_runtime_reconcile_panics_total${controller} 1`,
      `controller_runtime_reconcile_timeouts_total${controller} 1`,
      `controller_runtime_reconcile_time_seconds_sum${controller} 1`,
      `controller_runtime_reconcile_time_seconds_count${controller} 2`,
      'controller_runtime_reconcile_total{controller="chattenant",result="success"} 1',
      'controller_runtime_reconcile_total{controller="chattenant",result="error"} 1',
      'controller_runtime_reconcile_total{controller="chattenant",result="requeue"} 0',
      'controller_runtime_reconcile_total{controller="chattenant",result="requeue_after"} 0',
      'parley_bugs_total 1',
      'parley_controller_events_dropped_total 1',
      'parley_controller_watch_silent_seconds{kind="ChatTenant"} 12',
      'parley_controller_watch_silent_seconds{kind="ChatPlan"} +Inf',
      'parley_controller_programmed_seconds_sum 0.2',
      'parley_controller_programmed_seconds_count 1',
      'parley_controller_unprogrammed_seconds 3',
      'leader_election_master_status{name="parley"} 1',
      'leader_election_slowpath_total{name="parley"} 1',
      'rest_client_requests_total{code="200",method="GET",host="10.0.0.1:443"} 2',
    ].toSorted(),
  )
})

const readyOnly = { tenant: 'demo/acme', trueTypes: new Set(['Ready', 'Accepted', 'Stalled']) }
const pressed = { tenant: 'demo/globex', trueTypes: new Set(['Accepted', 'QuotaPressure']) }

test('tenants are counted by their conditions', async () => {
  const metrics = new ControllerMetrics({ process: false })
  metrics.observeConditions(() => [readyOnly, pressed])
  const lines = (await series(metrics)).filter((line) => line.startsWith('parley_controller_tenants'))
  const counts = { Ready: [1, 1], Accepted: [2, 0], Programmed: [0, 2], CredentialsReady: [0, 2] }
  expect(lines).toEqual(
    Object.entries({ ...counts, QuotaPressure: [1, 1], Conflict: [0, 2] }).flatMap(([type, [yes, no]]) => [
      `parley_controller_tenants{type="${type}",status="true"} ${yes}`,
      `parley_controller_tenants{type="${type}",status="false"} ${no}`,
    ]),
  )
})

test('each tenant has its own condition series, which end with the tenant', async () => {
  const metrics = new ControllerMetrics({ process: false })
  const all = [readyOnly, pressed]
  metrics.observeConditions(() => all)
  const exposed = async () => {
    const text = await metrics.tenantRegistry.metrics()
    return text.split('\n').filter((line) => line.startsWith('parley_tenant_condition{'))
  }
  expect(await exposed()).toHaveLength(12)
  expect(await exposed()).toContain('parley_tenant_condition{tenant="demo/acme",type="Ready"} 1')
  expect(await exposed()).toContain('parley_tenant_condition{tenant="demo/globex",type="Ready"} 0')
  all.pop()
  expect(await exposed()).toHaveLength(6)
})

test('a process that no longer leads reports no tenants', async () => {
  const metrics = new ControllerMetrics({ process: false })
  let leads = true
  metrics.observeConditions(() => (leads ? [readyOnly] : undefined))
  const exposed = async () => `${await metrics.registry.metrics()}${await metrics.tenantRegistry.metrics()}`
  expect(await exposed()).toMatch(/^parley_controller_tenants\{[^]*^parley_tenant_condition\{/m)
  leads = false
  expect(await exposed()).not.toMatch(/^parley_(controller_tenants|tenant_condition)\{/m)
})

test('a process that has never led does not report pending revisions', async () => {
  const lines = await series(new ControllerMetrics({ process: false }))
  expect(lines.filter((line) => line.startsWith('parley_controller_unprogrammed'))).toEqual([])
})
