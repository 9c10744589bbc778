// One customer: a page that the customer may see as well.
import { chosen, places, rate } from './grafana.mjs'

const ofTenant = 'tenant=~"$tenant"'

/** @param {string} used @param {string} limit */
function shareOf(used, limit) {
  return `sum by (tenant) (${used}) / max by (tenant) (${chosen(limit, ofTenant)})`
}

/** Of the controller, whose job is another than the gateways'. @param {string} types */
function conditions(types) {
  const series = `parley_tenant_condition{namespace=~"$namespace",${ofTenant},type${types}}`
  return { expr: `max by (tenant, type) (${series})`, legend: '{{tenant}} {{type}}' }
}

const wrong = '"QuotaPressure|Conflict"'

/** @type {import('./grafana.mjs').Dashboard} */
export const tenant = {
  uid: 'parley-tenant',
  title: 'Parley / Tenant',
  description:
    'One customer: what is used of the quota, what is refused and why. Needs /metrics/tenants to be scraped.',
  variables: [
    ...places('parley_tenant_connections'),
    {
      name: 'tenant',
      label: 'Tenant',
      query: 'label_values(parley_tenant_connections{namespace=~"$namespace",job=~"$job"}, tenant)',
    },
  ],
  rows: [
    {
      title: 'Standing',
      panels: [
        {
          title: 'What should hold',
          description:
            '1: it does. Ready is the others together; `kubectl describe chattenant` has the reason where one is 0. Only with a controller.',
          unit: 'short',
          max: 1,
          queries: [conditions(`!~${wrong}`)],
        },
        {
          title: 'What should not',
          description: '1: more than 90 % of a limit is used, or somebody else claims what is this tenant’s.',
          unit: 'short',
          max: 1,
          queries: [conditions(`=~${wrong}`)],
        },
      ],
    },
    {
      title: 'Quota',
      panels: [
        {
          title: 'Connections used',
          description: 'Of the quota, on all gateways together. At 100 % new ones are refused.',
          unit: 'percentunit',
          thresholds: [0.8, 0.95],
          queries: [
            {
              expr: shareOf(chosen('parley_tenant_connections', ofTenant), 'parley_tenant_connections_limit'),
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Publish rate used',
          description: 'Of the quota. Short bursts may go above it.',
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
          title: 'Connections in four hours',
          description:
            'Where the last hour leads to, as a share of the quota: above 100 % it is time to talk about the plan.',
          unit: 'percentunit',
          thresholds: [0.8, 1],
          queries: [
            {
              expr: `clamp_min(sum by (tenant) (predict_linear(${chosen('parley_tenant_connections', ofTenant)}[1h], 14400)), 0) / max by (tenant) (${chosen('parley_tenant_connections_limit', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Connections',
          description: 'And what the quota allows.',
          unit: 'short',
          queries: [
            {
              expr: `sum by (tenant) (${chosen('parley_tenant_connections', ofTenant)})`,
              legend: '{{tenant}}',
            },
            {
              expr: `max by (tenant) (${chosen('parley_tenant_connections_limit', ofTenant)})`,
              legend: '{{tenant}} limit',
            },
          ],
        },
        {
          title: 'Publications',
          description: 'Accepted per second, and what the quota allows.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (tenant) (${rate('parley_tenant_publications_total', ofTenant)})`,
              legend: '{{tenant}}',
            },
            {
              expr: `max by (tenant) (${chosen('parley_tenant_publish_rate_limit', ofTenant)})`,
              legend: '{{tenant}} limit',
            },
          ],
        },
        {
          title: 'Refusals by reason',
          description:
            'Commands and connections, by error code: docs/reference/codes.md says what each means.',
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
          description: 'To the tenant’s subscribers, per second.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (tenant) (${rate('parley_tenant_deliveries_total', ofTenant)})`,
              legend: '{{tenant}}',
            },
          ],
        },
        {
          title: 'Propagation lag',
          description:
            'From the broker taking a publication to its subscribers’ outboxes, on average. What is promised is within 0.25 s: see beside it.',
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
          description: 'Of all publications, at each gateway that has subscribers of them.',
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
          description: 'Deliveries for each publication: what a busy room costs.',
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
            'The ten whose channels are published to most, by the name that the rule has in the tenant’s spec.',
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
          description: 'In use. A channel counts on each gateway that uses it.',
          unit: 'short',
          queries: [
            {
              expr: `sum by (tenant) (${chosen('parley_tenant_channels', ofTenant)})`,
              legend: '{{tenant}} channels',
            },
            {
              expr: `sum by (tenant) (${chosen('parley_tenant_subscriptions', ofTenant)})`,
              legend: '{{tenant}} subscriptions',
            },
          ],
        },
      ],
    },
    {
      title: 'Edits',
      panels: [
        {
          title: 'Time until an edit is in force (p99)',
          description:
            'Of all tenants of the namespace: from the controller writing it to every gateway enforcing it.',
          unit: 's',
          queries: [
            {
              expr: 'histogram_quantile(0.99, sum by (le) (rate(parley_controller_programmed_seconds_bucket{namespace=~"$namespace"}[1h])))',
              legend: 'p99',
            },
          ],
        },
        {
          title: 'Last confirmed',
          description: 'How long ago a controller confirmed what gateways enforce.',
          unit: 's',
          thresholds: [30, 60],
          queries: [{ expr: 'max(parley_catalog_age_seconds{namespace=~"$namespace"})', legend: 'oldest' }],
        },
        {
          title: 'Tenants with problems',
          description: 'Whose newest revision a gateway cannot use: they go on with the one before.',
          unit: 'short',
          thresholds: [1, 10],
          queries: [{ expr: 'max(parley_catalog_problems{namespace=~"$namespace"})', legend: 'tenants' }],
        },
      ],
    },
  ],
}
