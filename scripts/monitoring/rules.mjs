// All alerts and recording rules. They are written to dashboards/rules.yaml for any Prometheus, and into the
// chart for the Prometheus Operator.
import { burnAlerts, serverErrorCodes, recordingGroups, slos } from './slos.mjs'

/**
 * @typedef {{ alert: string, expr: string, for: string, labels: Record<string, string>, annotations:
 * Record<string, string> }} Alert
 * @typedef {{ record: string, expr: string, labels?: Record<string, string> }} Recording
 * @typedef {{ name: string, interval?: string, rules: (Alert | Recording)[] }} Group
 */

/** Name prefix of the groups that need a controller. The chart leaves them out when there is none. */
const controllerPrefix = 'parley-controller'

/** Error codes of refusals that a larger quota would prevent. */
const quotaCodes = 'CONNECTION_LIMIT|SUBSCRIPTION_LIMIT|CHANNEL_LIMIT|QUOTA_EXCEEDED|STORAGE_LIMIT'

/**
 * @param {{ matcher?: string, runbooks: string }} options `matcher`: a label matcher for all series, such as
 * `namespace="chat"`.
 *   `runbooks`: the folder or URL of the runbooks.
 * @returns {Group[]}
 */
export function ruleGroups({ matcher = '', runbooks }) {
  /** @type {import('./slos.mjs').Series} */
  const series = (name, ...matchers) => {
    const all = [matcher, ...matchers].filter(Boolean).join(',')
    return all === '' ? name : `${name}{${all}}`
  }
  const { clients, controller } = slos(series)
  /** @type {Group[]} */
  const groups = [
    ...recordingGroups(clients, 'parley-slo'),
    { name: 'parley-slo-alerts', rules: clients.flatMap((slo) => burnAlerts(slo, series)) },
    { name: 'parley-gateways', rules: [...connectionRecordings(series), ...gatewayAlerts(series)] },
    { name: 'parley-tenants', rules: tenantAlerts(series) },
    ...recordingGroups(controller, `${controllerPrefix}-slo`),
    {
      name: controllerPrefix,
      rules: [...controller.flatMap((slo) => burnAlerts(slo, series)), ...controllerAlerts(series)],
    },
  ]
  for (const rule of groups.flatMap(({ rules }) => rules))
    if ('alert' in rule) rule.annotations['runbook_url'] = `${runbooks}/${rule.alert}.md`
  return groups
}

/**
 * Autoscaling uses the mean; clients are affected by the fullest gateway.
 * @param {import('./slos.mjs').Series} series
 * @returns {Recording[]}
 */
function connectionRecordings(series) {
  return ['sum', 'avg', 'max'].map((by) => ({
    record: `namespace:parley_gateway_connections:${by}`,
    expr: `${by} by (namespace) (${series('parley_gateway_connections')})`,
  }))
}

/**
 * @param {string} name
 * @param {'critical' | 'warning' | 'info'} severity
 * @param {{ expr: string, for: string, summary: string, description: string }} rest
 * @returns {Alert}
 */
function alert(name, severity, { description, expr, summary, for: duration }) {
  return { alert: name, expr, for: duration, labels: { severity }, annotations: { summary, description } }
}

/** @param {import('./slos.mjs').Series} series */
function gatewayAlerts(series) {
  const publishes = (/** @type {string[]} */ ...matchers) =>
    `sum by (namespace) (rate(${series('parley_commands_total', 'command="publish"', ...matchers)}[5m]))`
  return [
    alert('ParleyNoGatewayReady', 'critical', {
      expr: `sum by (namespace) (${series('parley_gateway_ready')}) == 0 or absent(${series('parley_gateway_ready')})`,
      for: '1m',
      summary: 'No gateway accepts new connections.',
      description: 'No gateway in {{ $labels.namespace }} is ready, or Prometheus scrapes none.',
    }),
    alert('ParleyGatewayUnready', 'warning', {
      expr: `${series('parley_gateway_ready')} == 0 and ${series('parley_gateway_draining')} == 0`,
      for: '5m',
      summary: 'A gateway has not been ready for 5 minutes.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} has not accepted new connections for 5 minutes and is not draining. Its /readyz endpoint reports the reason.',
    }),
    alert('ParleyGatewayNearlyFull', 'warning', {
      expr: `${series('parley_gateway_connections')} / ${series('parley_gateway_connections_limit')} > 0.9`,
      for: '5m',
      summary: 'A gateway is close to its connection limit.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its connection limit. At 100% it refuses new connections with status 503.',
    }),
    alert('ParleyGatewayEventLoopSlow', 'warning', {
      expr: `(${series('nodejs_eventloop_lag_p99_seconds')} > 0.25) and on (job, instance) ${series('parley_gateway_ready')}`,
      for: '10m',
      summary: 'A gateway has a high event loop lag.',
      description:
        'The 99th percentile of the event loop lag of {{ $labels.namespace }}/{{ $labels.pod }} is {{ $value | humanizeDuration }}.',
    }),
    alert('ParleyRedisAway', 'critical', {
      expr: `max by (namespace, pod) (${series('parley_redis_away_seconds')}) > 15`,
      for: '30s',
      summary: 'A gateway is disconnected from Redis.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} has been without one of its Redis connections for {{ $value | humanizeDuration }}. It is not ready, and publishes through it fail.',
    }),
    alert('ParleyRedisMemoryHigh', 'warning', {
      expr: `max by (namespace) (${series('parley_redis_memory_used_bytes')} / (${series('parley_redis_memory_limit_bytes')} > 0)) > 0.8`,
      for: '5m',
      summary: 'Redis is close to its memory limit.',
      description:
        'The fullest Redis master of {{ $labels.namespace }} uses {{ $value | humanizePercentage }} of maxmemory. At 90% gateways refuse publications with history.',
    }),
    alert('ParleyRedisMemoryReserved', 'critical', {
      expr: `max by (namespace) (${series('parley_redis_memory_reserved')}) > 0`,
      for: '0s',
      summary: 'Publications with history are refused because Redis is almost full.',
      description:
        'Gateways in {{ $labels.namespace }} store no publications, and keep the rest of the memory of Redis for control commands.',
    }),
    alert('ParleyPublishErrors', 'critical', {
      expr: `${publishes(`result=~"${serverErrorCodes}"`)} / ${publishes()} > 0.05`,
      for: '5m',
      summary: 'Publishes fail because of server errors.',
      description:
        '{{ $value | humanizePercentage }} of the publishes in {{ $labels.namespace }} fail with a server error.',
    }),
    alert('ParleyCatalogStale', 'warning', {
      expr: `max by (namespace, pod) (${series('parley_catalog_age_seconds')}) > 60`,
      for: '2m',
      summary: 'A gateway uses an outdated tenant catalog.',
      description:
        'A controller last confirmed the tenant catalog of {{ $labels.namespace }}/{{ $labels.pod }} {{ $value | humanizeDuration }} ago.',
    }),
    alert('ParleyCatalogProblems', 'warning', {
      expr: `max by (namespace) (${series('parley_catalog_problems')}) > 0`,
      for: '10m',
      summary: 'Gateways cannot load the latest revision of some tenants.',
      description:
        'A gateway in {{ $labels.namespace }} cannot load the latest revision of {{ $value }} tenants. They keep their last good revision.',
    }),
    alert('ParleyCertificateExpiring', 'warning', {
      expr: `min by (namespace, pod) (${series('parley_tls_certificate_expiry_timestamp_seconds')}) - time() < 604800`,
      for: '15m',
      summary: 'The TLS certificate of a gateway expires in less than 7 days.',
      description:
        'The TLS certificate of {{ $labels.namespace }}/{{ $labels.pod }} expires in {{ $value | humanizeDuration }}. After that, clients cannot connect.',
    }),
    alert('ParleyBugs', 'warning', {
      expr: `sum by (namespace) (increase(${series('parley_bugs_total')}[15m])) > 0`,
      for: '0s',
      summary: 'A gateway or the controller hit an internal error.',
      description:
        '{{ $value | humanize }} internal errors occurred in {{ $labels.namespace }} within 15 minutes. The log has the stack of each.',
    }),
  ]
}

/** @param {import('./slos.mjs').Series} series */
function tenantAlerts(series) {
  const by = 'by (namespace, tenant)'
  return [
    alert('ParleyTenantConnectionsHigh', 'info', {
      expr: `sum ${by} (${series('parley_tenant_connections')}) / max ${by} (${series('parley_tenant_connections_limit')}) > 0.9`,
      for: '10m',
      summary: 'A tenant is close to its connection quota.',
      description:
        '{{ $labels.tenant }} uses {{ $value | humanizePercentage }} of its connection quota. At 100% new connections are refused.',
    }),
    alert('ParleyTenantPublishRateHigh', 'info', {
      expr: `sum ${by} (rate(${series('parley_tenant_publications_total')}[5m])) / max ${by} (${series('parley_tenant_publish_rate_limit')}) > 0.9`,
      for: '10m',
      summary: 'A tenant is close to its publish rate quota.',
      description:
        '{{ $labels.tenant }} uses {{ $value | humanizePercentage }} of its publish rate quota. At 100% publishes are refused.',
    }),
    alert('ParleyTenantStoredBytesHigh', 'info', {
      expr: `max ${by} (${series('parley_tenant_stored_bytes')}) / max ${by} (${series('parley_tenant_stored_bytes_limit')}) > 0.9`,
      for: '10m',
      summary: 'A tenant is close to its quota of stored bytes.',
      description:
        'The histories of {{ $labels.tenant }} occupy {{ $value | humanizePercentage }} of its quota. At 100% publications with history are refused.',
    }),
    alert('ParleyTenantRefused', 'info', {
      expr: `sum by (namespace, tenant, code) (rate(${series('parley_tenant_refusals_total', `code=~"${quotaCodes}"`)}[5m])) > 0.1`,
      for: '10m',
      summary: 'A tenant exceeds its quota.',
      description:
        '{{ $value | humanize }} commands or connections of {{ $labels.tenant }} per second are refused with {{ $labels.code }}.',
    }),
  ]
}

/** @param {import('./slos.mjs').Series} series */
function controllerAlerts(series) {
  const watch = series('parley_controller_watch_silent_seconds')
  // Other controllers expose metrics with the same names. Those of Parley come from targets that also expose
  // `watch`.
  const ofParley = (/** @type {string} */ vector) => `(${vector} and on (job, instance) ${watch})`
  const leading = `(${series('leader_election_master_status')} == 1)`
  const reconciles = (/** @type {string} */ name) =>
    `sum by (namespace, controller) ${ofParley(`rate(${series(name)}[10m])`)}`
  return [
    alert('ParleyControllerNoLeader', 'critical', {
      expr: `max by (namespace) ${ofParley(series('leader_election_master_status'))} == 0 or absent(${watch})`,
      for: '2m',
      summary: 'No controller is the leader.',
      description:
        'No controller in {{ $labels.namespace }} holds the leader lease, or Prometheus scrapes none. Changes of tenants do not reach the gateways.',
    }),
    alert('ParleyControllerWatchSilent', 'warning', {
      expr: `max by (namespace, pod, kind) (${watch}) > 180`,
      for: '2m',
      summary: 'A controller receives no watch events from the API server.',
      description:
        'The {{ $labels.kind }} watch of {{ $labels.namespace }}/{{ $labels.pod }} has received nothing for {{ $value | humanizeDuration }}. The API server sends bookmarks every minute.',
    }),
    alert('ParleyControllerReconcileErrors', 'warning', {
      expr: `${reconciles('controller_runtime_reconcile_errors_total')} / ${reconciles('controller_runtime_reconcile_total')} > 0.1`,
      for: '15m',
      summary: 'Reconciles of the controller fail.',
      description:
        '{{ $value | humanizePercentage }} of the {{ $labels.controller }} reconciles in {{ $labels.namespace }} fail.',
    }),
    alert('ParleyControllerBacklog', 'warning', {
      // On a standby, keys wait until it becomes the leader.
      expr: `(${ofParley(series('workqueue_depth'))} > 100) and on (job, instance) ${leading}`,
      for: '15m',
      summary: 'The controller has a backlog in its work queue.',
      description:
        '{{ $value }} keys wait in the {{ $labels.name }} queue of the controller in {{ $labels.namespace }}.',
    }),
    alert('ParleyControllerUrgentWait', 'warning', {
      expr: `max by (namespace, controller) (${series('parley_controller_queue_oldest_seconds', 'priority="urgent"')}) > 5`,
      for: '1m',
      summary: 'Changes that take rights away are enforced late.',
      description:
        'A suspension, a Deny, a removed key or a deletion has waited {{ $value | humanizeDuration }} in the {{ $labels.controller }} queue of the controller in {{ $labels.namespace }}.',
    }),
    alert('ParleyTenantNotReady', 'info', {
      expr: `max by (namespace, tenant) (${series('parley_tenant_condition', 'type="Ready"')}) == 0`,
      for: '15m',
      summary: 'A tenant has not been Ready for 15 minutes.',
      description:
        'The Ready condition of {{ $labels.tenant }} is not True. Run `kubectl describe chattenant` for the reason. The gateways keep the last good revision.',
    }),
    alert('ParleyTenantsUnprogrammed', 'warning', {
      expr: `max by (namespace) (${series('parley_controller_unprogrammed_seconds')}) > 120`,
      for: '1m',
      summary: 'A tenant revision does not reach all gateways.',
      description:
        'A tenant revision in {{ $labels.namespace }} has waited {{ $value | humanizeDuration }} for all gateways to enforce it.',
    }),
  ]
}
