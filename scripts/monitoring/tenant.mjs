// The dashboard of one tenant. It contains nothing that the tenant may not see.
import { selected, targetVariables, rate } from './grafana.mjs'

const ofTenant = 'tenant=~"$tenant"'

/** @param {string} used @param {string} limit */
function shareOf(used, limit) {
  return `sum by (tenant) (${used}) / max by (tenant) (${selected(limit, ofTenant)})`
}

/** Conditions come from the controller, whose job differs from that of the gateways. @param {string} types */
function conditions(types) {
  const series = `parley_tenant_condition{namespace=~"$namespace",${ofTenant},type${types}}`
  return { expr: `max by (tenant, type) (${series})`, legend: '{{tenant}} {{type}}' }
}

const problemTypes = '"QuotaPressure|Conflict"'

/** @type {import('./grafana.mjs').Dashboard} */
export const tenant = {
  uid: 'parley-tenant',
  title: 'Parley / Tenant',
  description: 'Quota usage, refusals and traffic of one tenant. Prometheus must scrape /metrics/tenants.',
  variables: [
    ...targetVariables('parley_tenant_connections'),
    {
      name: 'tenant',
      label: 'Tenant',
      query: 'label_values(parley_tenant_connections{namespace=~"$namespace",job=~"$job"}, tenant)',
    },
  ],
  rows: [
    {
      title: 'Conditions',
      panels: [
        {
          title: 'Healthy conditions',
          description:
            '1 while the condition is True. Ready summarizes the others. When one is 0, `kubectl describe chattenant` shows the reason. Needs a controller.',
          unit: 'short',
          max: 1,
          queries: [conditions(`!~${problemTypes}`)],
        },
        {
          title: 'Problem conditions',
          description:
            '1 while more than 90% of a limit is used (QuotaPressure), or another object claims the same hostname (Conflict).',
          unit: 'short',
          max: 1,
          queries: [conditions(`=~${problemTypes}`)],
        },
      ],
    },
    {
      title: 'Quota',
      panels: [
        {
          title: 'Connection quota used',
          description:
            'Share of the connection quota in use on all gateways. At 100% new connections are refused.',
          unit: 'percentunit',
          thresholds: [0.8, 0.95],
          queries: [
            {
              expr: shareOf(
                selected('parley_tenant_connections', ofTenant),
                'parley_tenant_connections_limit',
              ),
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Stored bytes quota used',
          description:
            'Share of the quota that the histories of all channels occupy in Redis. At 100% publications with history are refused.',
          unit: 'percentunit',
          thresholds: [0.8, 0.95],
          queries: [
            {
              expr: `max by (tenant) (${selected('parley_tenant_stored_bytes', ofTenant)}) / max by (tenant) (${selected('parley_tenant_stored_bytes_limit', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Publish rate quota used',
          description: 'Share of the publish rate quota in use. Short bursts may exceed it.',
          unit: 'percentunit',
          thresholds: [0.8, 0.95],
          queries: [
            {
              expr: shareOf(
                rate('parley_tenant_publications_total', ofTenant),
                'parley_tenant_publish_rate_limit',
              ),
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Connection quota used in 4 hours (prediction)',
          description: 'Linear prediction from the last hour. Above 100% the tenant needs a larger plan.',
          unit: 'percentunit',
          thresholds: [0.8, 1],
          queries: [
            {
              expr: `clamp_min(sum by (tenant) (predict_linear(${selected('parley_tenant_connections', ofTenant)}[1h], 14400)), 0) / max by (tenant) (${selected('parley_tenant_connections_limit', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Connections',
          description: 'Open connections on all gateways, and the quota.',
          unit: 'short',
          queries: [
            {
              expr: `sum by (tenant) (${selected('parley_tenant_connections', ofTenant)})`,
              legend: '{{tenant}}',
            },
            {
              expr: `max by (tenant) (${selected('parley_tenant_connections_limit', ofTenant)})`,
              legend: '{{tenant}} limit',
            },
          ],
        },
        {
          title: 'Publications',
          description: 'Accepted publications per second, and the quota.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (tenant) (${rate('parley_tenant_publications_total', ofTenant)})`,
              legend: '{{tenant}}',
            },
            {
              expr: `max by (tenant) (${selected('parley_tenant_publish_rate_limit', ofTenant)})`,
              legend: '{{tenant}} limit',
            },
          ],
        },
        {
          title: 'Refusals by code',
          description:
            'Refused commands and connections per second, by error code. docs/reference/codes.md explains the codes.',
          unit: 'cps',
          stack: true,
          queries: [
            {
              expr: `sum by (tenant, code) (${rate('parley_tenant_refusals_total', ofTenant)})`,
              legend: '{{tenant}} {{code}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Traffic',
      panels: [
        {
          title: 'Deliveries',
          description: 'Deliveries to subscribers of the tenant per second.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (tenant) (${rate('parley_tenant_deliveries_total', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Mean delivery delay',
          description:
            'Mean time from the broker accepting a publication to writing it to the outboxes of its subscribers. The objective is 0.25 s.',
          unit: 's',
          queries: [
            {
              expr: `sum by (tenant) (${rate('parley_tenant_delivery_delay_seconds_sum', ofTenant)}) / sum by (tenant) (${rate('parley_tenant_delivery_delay_seconds_count', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Delivered within 0.25 s',
          description:
            'Share of publications delivered within 0.25 s, counted at each gateway with subscribers.',
          unit: 'percentunit',
          max: 1,
          queries: [
            {
              expr: `sum by (tenant) (${rate('parley_tenant_delivery_delay_seconds_bucket', ofTenant, 'le="0.25"')}) / sum by (tenant) (${rate('parley_tenant_delivery_delay_seconds_count', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Fan-out',
          description: 'Deliveries per publication.',
          unit: 'short',
          queries: [
            {
              expr: `sum by (tenant) (${rate('parley_tenant_deliveries_total', ofTenant)}) / sum by (tenant) (${rate('parley_tenant_publications_total', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Busiest channel rules',
          description:
            'The ten channel rules with the most publications per second, by the name of the rule in the tenant’s spec.',
          unit: 'cps',
          queries: [
            {
              expr: `topk(10, sum by (tenant, rule) (${rate('parley_tenant_rule_publications_total', ofTenant)}))`,
              legend: '{{tenant}} {{rule}}',
            },
          ],
        },
        {
          title: 'Channels and subscriptions',
          description:
            'Channels and subscriptions in use. A channel is counted on every gateway that uses it.',
          unit: 'short',
          queries: [
            {
              expr: `sum by (tenant) (${selected('parley_tenant_channels', ofTenant)})`,
              legend: '{{tenant}} channels',
            },
            {
              expr: `sum by (tenant) (${selected('parley_tenant_subscriptions', ofTenant)})`,
              legend: '{{tenant}} subscriptions',
            },
          ],
        },
      ],
    },
    {
      title: 'Tenant revisions',
      panels: [
        {
          title: 'Propagation time (p99)',
          description:
            'Time from the controller writing a revision to every gateway enforcing it, for all tenants of the namespace.',
          unit: 's',
          queries: [
            {
              expr: 'histogram_quantile(0.99, sum by (le) (rate(parley_controller_programmed_seconds_bucket{namespace=~"$namespace"}[1h])))',
              legend: 'p99',
            },
          ],
        },
        {
          title: 'Catalog age',
          description: 'Time since a controller confirmed the tenant catalog of the gateways.',
          unit: 's',
          thresholds: [30, 60],
          queries: [{ expr: 'max(parley_catalog_age_seconds{namespace=~"$namespace"})', legend: 'oldest' }],
        },
        {
          title: 'Tenants with an unusable revision',
          description:
            'Tenants whose latest revision a gateway cannot load. They keep their last good revision.',
          unit: 'short',
          thresholds: [1, 10],
          queries: [{ expr: 'max(parley_catalog_problems{namespace=~"$namespace"})', legend: 'tenants' }],
        },
      ],
    },
  ],
}
