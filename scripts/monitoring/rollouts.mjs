// Is it us, Redis, or the gateway? And what a drain does to people.
import { chosen, halfAndWorst, places, rate } from './grafana.mjs'
import { errorRatio, ourFaults } from './slos.mjs'

/** @param {string} name */
const burnt = (name) => ({ expr: errorRatio(name, '5m'), legend: '{{namespace}}' })

/** @type {import('./grafana.mjs').Dashboard} */
export const rollouts = {
  uid: 'parley-redis-rollouts',
  title: 'Parley / Redis and rollouts',
  description: 'Is it us, Redis, or the gateway? And what a drain does to people.',
  variables: places('parley_gateway_ready'),
  rows: [
    {
      title: 'What is promised (share that fails, 5 min; needs the recording rules)',
      panels: [
        {
          title: 'Connects',
          description: 'Let in, but for the client’s or its quota’s fault. Promised: 99.9 %.',
          unit: 'percentunit',
          thresholds: [0.001, 0.0144],
          queries: [burnt('connect')],
        },
        {
          title: 'Deliveries',
          description: 'Within 0.25 s. Promised: 99 %.',
          unit: 'percentunit',
          thresholds: [0.01, 0.144],
          queries: [burnt('delivery')],
        },
        {
          title: 'Recoveries',
          description: 'Who came back and got all that was missed. Promised: 99 %.',
          unit: 'percentunit',
          thresholds: [0.01, 0.144],
          queries: [burnt('recovery')],
        },
      ],
    },
    {
      title: 'Redis, or the gateway',
      panels: [
        {
          title: 'Redis away',
          description:
            'For how long a gateway misses a connection. A failover takes seconds; after 15 s it is not ready. Up here: Redis, or the way there.',
          unit: 's',
          thresholds: [5, 15],
          queries: [{ expr: chosen('parley_redis_away_seconds'), legend: '{{pod}}' }],
        },
        {
          title: 'Publishes that Redis refuses',
          description:
            'BROKER_UNAVAILABLE: it takes no writes. NOT_REPLICATED: too few replicas confirm. Up here and not at the left: a master that lives, and cannot.',
          unit: 'cps',
          queries: [
            {
              expr: `sum by (result) (${rate('parley_commands_total', 'result=~"BROKER_UNAVAILABLE|NOT_REPLICATED"')}) or on () 0 * sum(${rate('parley_publications_total')})`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Time to acknowledge a publish',
          description:
            'Redis and its replicas are in it. Slow here, with little event loop lag: Redis. Slow in both: the gateway.',
          unit: 's',
          queries: halfAndWorst('parley_publish_duration_seconds'),
        },
        {
          title: 'Event loop lag (p99)',
          description:
            'Of gateways. High: the gateway has too much to do; more of them, or fewer connections each.',
          unit: 's',
          thresholds: [0.1, 0.25],
          queries: [
            {
              expr: `${chosen('nodejs_eventloop_lag_p99_seconds')} and on (job, instance) ${chosen('parley_gateway_ready')}`,
              legend: '{{pod}}',
            },
          ],
        },
        {
          title: 'Our faults',
          description: `Commands and connects refused with ${ourFaults.replaceAll('|', ', ')}.`,
          unit: 'cps',
          queries: [
            {
              expr: `sum by (result) (${rate('parley_commands_total', `result=~"${ourFaults}"`)} or ${rate('parley_connects_total', `result=~"${ourFaults}"`)}) or on () 0 * sum(${rate('parley_publications_total')})`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Age of the catalog',
          description:
            'Since a controller confirmed what is in force. Up here alone: the controller. With Redis away: Redis.',
          unit: 's',
          thresholds: [30, 60],
          queries: [{ expr: chosen('parley_catalog_age_seconds'), legend: '{{pod}}' }],
        },
      ],
    },
    {
      title: 'Rollouts and drains',
      panels: [
        {
          title: 'Gateways',
          description: 'Ready, draining, and all that are scraped.',
          unit: 'short',
          queries: [
            { expr: `sum(${chosen('parley_gateway_ready')})`, legend: 'ready' },
            { expr: `sum(${chosen('parley_gateway_draining')})`, legend: 'draining' },
            { expr: `count(${chosen('parley_gateway_ready')})`, legend: 'all' },
          ],
        },
        {
          title: 'Connections by gateway',
          description: 'The old go down as the new come up; a cliff is a pod that was cut.',
          unit: 'short',
          queries: [{ expr: chosen('parley_gateway_connections'), legend: '{{pod}}' }],
        },
        {
          title: 'Sent away and come back',
          description:
            'Sessions closed with 3001, by a drain or for gateways with more room, and sessions let in.',
          unit: 'cps',
          queries: [
            { expr: `sum(${rate('parley_closes_total', 'code="3001"')})`, legend: 'sent away' },
            { expr: `sum(${rate('parley_connects_total', 'result="ok"')})`, legend: 'let in' },
          ],
        },
        {
          title: 'Recoveries',
          description:
            '`recovered` got all that was missed; the rest says why not, and those clients know that something is missing.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (result) (${rate('parley_recoveries_total')})`, legend: '{{result}}' }],
        },
        {
          title: 'Missed for up to 5 s',
          description:
            'Of subscriptions that came back and had missed something, those whose oldest missed publication was at most 5 s old: near 100 % when a drain sends clients on. People who were offline by themselves are in it too.',
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
          title: 'Sessions ended by code',
          description:
            '3001: a drain, or sent to gateways with more room; 3008: too slow; 3012: no answer; 1006: the line was cut, as when a pod is killed.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (code) (${rate('parley_closes_total')})`, legend: '{{code}}' }],
        },
        {
          title: 'Upgrades refused while draining or full',
          description: 'DRAINING and OVERLOADED: the client is sent to another gateway.',
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
