// The dashboard of Redis and rollouts: tells problems of Redis from problems of the gateways, and shows the
// effect of a drain.
import { selected, medianAndP99, targetVariables, rate } from './grafana.mjs'
import { errorRatio, serverErrorCodes } from './slos.mjs'

/** @param {string} name */
const errorRatioQuery = (name) => ({ expr: errorRatio(name, '5m'), legend: '{{namespace}}' })

/** @type {import('./grafana.mjs').Dashboard} */
export const rollouts = {
  uid: 'parley-redis-rollouts',
  title: 'Parley / Redis and rollouts',
  description:
    'Service levels, the health of Redis and of the gateways, and the effect of rollouts on clients.',
  variables: targetVariables('parley_gateway_ready'),
  rows: [
    {
      title: 'Service level objectives (error ratio over 5 min; needs the recording rules)',
      panels: [
        {
          title: 'Connect errors',
          description: 'Share of connect attempts that fail with a server error. Objective: at most 0.1%.',
          unit: 'percentunit',
          thresholds: [0.001, 0.0144],
          queries: [errorRatioQuery('connect')],
        },
        {
          title: 'Late deliveries',
          description: 'Share of publications delivered later than 0.25 s. Objective: at most 1%.',
          unit: 'percentunit',
          thresholds: [0.01, 0.144],
          queries: [errorRatioQuery('delivery')],
        },
        {
          title: 'Failed recoveries',
          description:
            'Share of recoveries that do not return everything the subscription missed. Objective: at most 1%.',
          unit: 'percentunit',
          thresholds: [0.01, 0.144],
          queries: [errorRatioQuery('recovery')],
        },
      ],
    },
    {
      title: 'Redis and gateway health',
      panels: [
        {
          title: 'Redis disconnected',
          description:
            'Time for which a gateway has been without one of its Redis connections. A failover takes seconds; after 15 s the gateway is not ready. High values point to Redis or to the network.',
          unit: 's',
          thresholds: [5, 15],
          queries: [{ expr: selected('parley_redis_away_seconds'), legend: '{{pod}}' }],
        },
        {
          title: 'Publishes failed in Redis',
          description:
            'BROKER_UNAVAILABLE: Redis accepts no writes. NOT_REPLICATED: too few replicas confirm. High values while Redis is connected point to a master that is reachable but cannot write.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (result) (${rate('parley_commands_total', 'result=~"BROKER_UNAVAILABLE|NOT_REPLICATED"')}) or on () 0 * sum(${rate('parley_publications_total')})`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Publish latency',
          description:
            'Includes Redis and its replicas. High values with a low event loop lag point to Redis; with a high event loop lag they point to the gateway.',
          unit: 's',
          queries: medianAndP99('parley_publish_duration_seconds'),
        },
        {
          title: 'Event loop lag (p99)',
          description:
            'Event loop lag of the gateways. High values mean that a gateway is overloaded: add gateways, or reduce the connections per gateway.',
          unit: 's',
          thresholds: [0.1, 0.25],
          queries: [
            {
              expr: `${selected('nodejs_eventloop_lag_p99_seconds')} and on (job, instance) ${selected('parley_gateway_ready')}`,
              legend: '{{pod}}',
            },
          ],
        },
        {
          title: 'Server errors',
          description: `Commands and connect attempts refused with ${serverErrorCodes.replaceAll('|', ', ')}.`,
          unit: 'cps',
          queries: [
            {
              expr: `sum by (result) (${rate('parley_commands_total', `result=~"${serverErrorCodes}"`)} or ${rate('parley_connects_total', `result=~"${serverErrorCodes}"`)}) or on () 0 * sum(${rate('parley_publications_total')})`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Catalog age',
          description:
            'Time since a controller confirmed the tenant catalog. High values point to the controller, or to Redis when it is disconnected too.',
          unit: 's',
          thresholds: [30, 60],
          queries: [{ expr: selected('parley_catalog_age_seconds'), legend: '{{pod}}' }],
        },
      ],
    },
    {
      title: 'Rollouts and drains',
      panels: [
        {
          title: 'Gateways',
          description: 'Gateways that are ready, that drain, and all that are scraped.',
          unit: 'short',
          queries: [
            { expr: `sum(${selected('parley_gateway_ready')})`, legend: 'ready' },
            { expr: `sum(${selected('parley_gateway_draining')})`, legend: 'draining' },
            { expr: `count(${selected('parley_gateway_ready')})`, legend: 'all' },
          ],
        },
        {
          title: 'Connections by gateway',
          description:
            'During a rollout, connections move gradually from old to new pods. A sudden drop means that a pod was killed.',
          unit: 'short',
          queries: [{ expr: selected('parley_gateway_connections'), legend: '{{pod}}' }],
        },
        {
          title: 'Drained and connected sessions',
          description: 'Sessions closed with 3001 by a drain or rebalancing, and accepted sessions.',
          unit: 'cps',
          queries: [
            { expr: `sum(${rate('parley_closes_total', 'code="3001"')})`, legend: 'closed with 3001' },
            { expr: `sum(${rate('parley_connects_total', 'result="ok"')})`, legend: 'accepted' },
          ],
        },
        {
          title: 'Recoveries by result',
          description:
            '`recovered`: the client received everything it missed. The other results are the reason of the failure; those clients know that publications are missing.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (result) (${rate('parley_recoveries_total')})`, legend: '{{result}}' }],
        },
        {
          title: 'Recovered within 5 s',
          description:
            'Share of recovered subscriptions whose oldest missed publication was at most 5 s old. Near 100% during a drain. Clients that were offline for other reasons are included.',
          unit: 'percentunit',
          max: 1,
          queries: [
            {
              expr: `sum(${rate('parley_recovery_delay_seconds_bucket', String.raw`le=~"5(\\.0)?"`)}) / sum(${rate('parley_recovery_delay_seconds_count')})`,
              legend: 'within 5 s',
            },
          ],
        },
        {
          title: 'Closed sessions by code',
          description:
            '3001: drained or rebalanced; 3008: client too slow; 3012: no pong; 1006: connection lost, as when a pod is killed.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (code) (${rate('parley_closes_total')})`, legend: '{{code}}' }],
        },
        {
          title: 'Handshakes refused while draining or full',
          description: 'Handshakes refused with DRAINING or OVERLOADED. The clients try another gateway.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (code) (${rate('parley_handshake_refusals_total', 'code=~"DRAINING|OVERLOADED"')}) or on () 0 * sum(${rate('parley_publications_total')})`,
              legend: '{{code}}',
            },
          ],
        },
      ],
    },
  ],
}
