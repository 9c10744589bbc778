// All alerts and recording rules, once: written as a file for any Prometheus, and into the chart for the operator's.
import { burnAlerts, ourFaults, recordingGroups, slos } from './slos.mjs'

/**
 * @typedef {{ alert: string, expr: string, for: string, labels: Record<string, string>, annotations: Record<string, string> }} Alert
 * @typedef {{ record: string, expr: string, labels?: Record<string, string> }} Recording
 * @typedef {{ name: string, interval?: string, rules: (Alert | Recording)[] }} Group
 */

/** Groups that say something only where there is a controller begin like this: the chart leaves them out where there is none. */
const controllerPrefix = 'parley-controller'

/** Refusals that a larger quota would end. */
const quotaCodes = 'CONNECTION_LIMIT|SUBSCRIPTION_LIMIT|CHANNEL_LIMIT|QUOTA_EXCEEDED'

/**
 * @param {{ matcher?: string, runbooks: string }} options `matcher`: what all series must have, as `namespace="chat"`. `runbooks`: the
 *   folder or URL that the runbooks are under.
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
 * What autoscaling looks at is the mean; what clients feel is the fullest.
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
function alert(name, severity, { description, expr, summary, for: lasting }) {
  return { alert: name, expr, for: lasting, labels: { severity }, annotations: { summary, description } }
}

/** @param {import('./slos.mjs').Series} series */
function gatewayAlerts(series) {
  const publishes = (/** @type {string[]} */ ...matchers) =>
    `sum by (namespace) (rate(${series('parley_commands_total', 'command="publish"', ...matchers)}[5m]))`
  return [
    alert('ParleyNoGatewayReady', 'critical', {
      expr: `sum by (namespace) (${series('parley_gateway_ready')}) == 0 or absent(${series('parley_gateway_ready')})`,
      for: '1m',
      summary: 'No gateway takes new connections.',
      description: 'Of the gateways in {{ $labels.namespace }} none is ready, or none is scraped.',
    }),
    alert('ParleyGatewayUnready', 'warning', {
      expr: `${series('parley_gateway_ready')} == 0 and ${series('parley_gateway_draining')} == 0`,
      for: '5m',
      summary: 'A gateway takes no new connections, and does not drain.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} is not ready for five minutes; its /readyz says why.',
    }),
    alert('ParleyGatewayNearlyFull', 'warning', {
      expr: `${series('parley_gateway_connections')} / ${series('parley_gateway_connections_limit')} > 0.9`,
      for: '5m',
      summary: 'A gateway is nearly full.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} has {{ $value | humanizePercentage }} of the connections that it takes; more are answered 503.',
    }),
    alert('ParleyGatewayEventLoopSlow', 'warning', {
      expr: `(${series('nodejs_eventloop_lag_p99_seconds')} > 0.25) and on (job, instance) ${series('parley_gateway_ready')}`,
      for: '10m',
      summary: 'A gateway is slow to turn to anything.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} comes {{ $value | humanizeDuration }} late to what it has to do (p99).',
    }),
    alert('ParleyRedisAway', 'critical', {
      expr: `max by (namespace, pod) (${series('parley_redis_away_seconds')}) > 15`,
      for: '30s',
      summary: 'A gateway cannot reach Redis.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} misses a connection to Redis for {{ $value | humanizeDuration }}: it is not ready, and publishes through it fail.',
    }),
    alert('ParleyPublishErrors', 'critical', {
      expr: `${publishes(`result=~"${ourFaults}"`)} / ${publishes()} > 0.05`,
      for: '5m',
      summary: 'Publishes fail, and not by the clients’ fault.',
      description:
        'In {{ $labels.namespace }} {{ $value | humanizePercentage }} of the publishes are refused.',
    }),
    alert('ParleyCatalogStale', 'warning', {
      expr: `max by (namespace, pod) (${series('parley_catalog_age_seconds')}) > 60`,
      for: '2m',
      summary: 'A gateway goes on with tenants that nobody has confirmed lately.',
      description:
        'What {{ $labels.namespace }}/{{ $labels.pod }} enforces was confirmed by a controller {{ $value | humanizeDuration }} ago.',
    }),
    alert('ParleyCatalogProblems', 'warning', {
      expr: `max by (namespace) (${series('parley_catalog_problems')}) > 0`,
      for: '10m',
      summary: 'Gateways cannot use the newest revision of some tenants.',
      description:
        'In {{ $labels.namespace }} it is {{ $value }} tenants; each goes on with its last good revision.',
    }),
    alert('ParleyCertificateExpiring', 'warning', {
      expr: `min by (namespace, pod) (${series('parley_tls_certificate_expiry_timestamp_seconds')}) - time() < 604800`,
      for: '15m',
      summary: 'The certificate that clients are shown expires soon.',
      description:
        'That of {{ $labels.namespace }}/{{ $labels.pod }} has {{ $value | humanizeDuration }} left; then nobody connects.',
    }),
    alert('ParleyBugs', 'warning', {
      expr: `sum by (namespace) (increase(${series('parley_bugs_total')}[15m])) > 0`,
      for: '0s',
      summary: 'A gateway or the controller met a fault of its own.',
      description: 'In {{ $labels.namespace }}, within 15 minutes; the log has the stack.',
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
      summary: 'A tenant has nearly as many connections as its quota allows.',
      description:
        '{{ $labels.tenant }} uses {{ $value | humanizePercentage }}; at 100 % new connections are refused.',
    }),
    alert('ParleyTenantPublishRateHigh', 'info', {
      expr: `sum ${by} (rate(${series('parley_tenant_publications_total')}[5m])) / max ${by} (${series('parley_tenant_publish_rate_limit')}) > 0.9`,
      for: '10m',
      summary: 'A tenant publishes nearly as much as its quota allows.',
      description:
        '{{ $labels.tenant }} uses {{ $value | humanizePercentage }}; at 100 % publishes are refused.',
    }),
    alert('ParleyTenantRefused', 'info', {
      expr: `sum by (namespace, tenant, code) (rate(${series('parley_tenant_refusals_total', `code=~"${quotaCodes}"`)}[5m])) > 0.1`,
      for: '10m',
      summary: 'A tenant is at its quota.',
      description:
        '{{ $labels.tenant }} is refused {{ $value | humanize }} times a second: {{ $labels.code }}.',
    }),
  ]
}

/** @param {import('./slos.mjs').Series} series */
function controllerAlerts(series) {
  const watch = series('parley_controller_watch_silent_seconds')
  // Other programs have series of these names as well; ours are those of whoever tells of our watches.
  const ours = (/** @type {string} */ vector) => `(${vector} and on (job, instance) ${watch})`
  const leading = `(${series('leader_election_master_status')} == 1)`
  const reconciles = (/** @type {string} */ name) =>
    `sum by (namespace, controller) ${ours(`rate(${series(name)}[10m])`)}`
  return [
    alert('ParleyControllerNoLeader', 'critical', {
      expr: `max by (namespace) ${ours(series('leader_election_master_status'))} == 0 or absent(${watch})`,
      for: '2m',
      summary: 'No controller leads.',
      description: 'In {{ $labels.namespace }} nobody turns edits of tenants into what gateways enforce.',
    }),
    alert('ParleyControllerWatchSilent', 'warning', {
      expr: `max by (namespace, pod, kind) (${watch}) > 180`,
      for: '2m',
      summary: 'The API server tells a controller nothing.',
      description:
        '{{ $labels.namespace }}/{{ $labels.pod }} has heard nothing of {{ $labels.kind }} for {{ $value | humanizeDuration }}; bookmarks come every minute.',
    }),
    alert('ParleyControllerReconcileErrors', 'warning', {
      expr: `${reconciles('controller_runtime_reconcile_errors_total')} / ${reconciles('controller_runtime_reconcile_total')} > 0.1`,
      for: '15m',
      summary: 'The controller fails at what it has to do.',
      description:
        'Of {{ $labels.controller }} in {{ $labels.namespace }} {{ $value | humanizePercentage }} of the passes fail.',
    }),
    alert('ParleyControllerBacklog', 'warning', {
      // Where another leads, keys wait for nobody.
      expr: `(${ours(series('workqueue_depth'))} > 100) and on (job, instance) ${leading}`,
      for: '15m',
      summary: 'The controller does not keep up.',
      description: '{{ $value }} keys of {{ $labels.name }} wait in {{ $labels.namespace }}.',
    }),
    alert('ParleyTenantNotReady', 'info', {
      expr: `max by (namespace, tenant) (${series('parley_tenant_condition', 'type="Ready"')}) == 0`,
      for: '15m',
      summary: 'A tenant is not as its author wants it.',
      description:
        '{{ $labels.tenant }} is not Ready for 15 minutes; `kubectl describe chattenant` says why. What was served before goes on.',
    }),
    alert('ParleyTenantsUnprogrammed', 'warning', {
      expr: `max by (namespace) (${series('parley_controller_unprogrammed_seconds')}) > 120`,
      for: '1m',
      summary: 'An edit of a tenant does not reach all gateways.',
      description: 'In {{ $labels.namespace }} one waits for {{ $value | humanizeDuration }}.',
    }),
  ]
}
