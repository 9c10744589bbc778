// The fleet, in the order in which somebody asks.
import { chosen, halfAndWorst, places, quantile, rate } from './grafana.mjs'
import { processPanels } from './processes.mjs'

/** @type {import('./grafana.mjs').Dashboard} */
export const gateways = {
  uid: 'parley-gateways',
  title: 'Parley / Gateways',
  description: 'The fleet: how full, how fast, who is kept out and why.',
  variables: places('parley_gateway_ready'),
  rows: [
    {
      title: 'Now',
      panels: [
        {
          kind: 'stat',
          title: 'Connections',
          description: 'Open sessions of all gateways.',
          unit: 'short',
          queries: [{ expr: `sum(${chosen('parley_gateway_connections')})`, legend: 'connections' }],
        },
        {
          kind: 'stat',
          title: 'Gateways ready',
          description: 'Gateways that take new sessions.',
          unit: 'short',
          queries: [{ expr: `sum(${chosen('parley_gateway_ready')})`, legend: 'ready' }],
        },
        {
          kind: 'stat',
          title: 'Fullest gateway',
          description: 'Of its own limit; from there on it answers 503.',
          unit: 'percentunit',
          max: 1,
          thresholds: [0.8, 0.9],
          queries: [
            {
              expr: `max(${chosen('parley_gateway_connections')} / ${chosen('parley_gateway_connections_limit')})`,
              legend: 'full',
            },
          ],
        },
        {
          kind: 'stat',
          title: 'Publications',
          description: 'Accepted per second.',
          unit: 'cps',
          queries: [{ expr: `sum(${rate('parley_publications_total')})`, legend: 'publications' }],
        },
        {
          kind: 'stat',
          title: 'Deliveries',
          description: 'Handed to subscribers per second.',
          unit: 'cps',
          queries: [{ expr: `sum(${rate('parley_deliveries_total')})`, legend: 'deliveries' }],
        },
        {
          kind: 'stat',
          title: 'Bugs in the last hour',
          description: 'Faults of our own: each has a stack in the log.',
          unit: 'short',
          thresholds: [1, 10],
          queries: [{ expr: `sum(increase(${chosen('parley_bugs_total')}[1h]))`, legend: 'bugs' }],
        },
      ],
    },
    {
      title: 'Connections',
      panels: [
        {
          title: 'Connections by gateway',
          description: 'And their mean, which autoscaling looks at.',
          unit: 'short',
          queries: [
            { expr: chosen('parley_gateway_connections'), legend: '{{pod}}' },
            { expr: `avg(${chosen('parley_gateway_connections')})`, legend: 'mean' },
          ],
        },
        {
          title: 'Fullest gateway to the mean',
          description:
            'Above 1.2 it sends some sessions to the others, three times a minute, until it is near 1.',
          unit: 'short',
          thresholds: [1.25, 1.5],
          queries: [
            {
              expr: `max(${chosen('parley_gateway_connections')}) / avg(${chosen('parley_gateway_connections')})`,
              legend: 'fullest to mean',
            },
          ],
        },
        {
          title: 'Sent to gateways with more room',
          description: 'Sessions closed with 3001 without a drain. They come back at once.',
          unit: 'cps',
          queries: [{ expr: rate('parley_rebalanced_sessions_total'), legend: '{{pod}}' }],
        },
        {
          title: 'Connects by result',
          description: 'Sessions that asked to connect: `ok`, or the code of the refusal.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (result) (${rate('parley_connects_total')})`, legend: '{{result}}' }],
        },
        {
          title: 'Upgrades refused',
          description: 'Before the WebSocket is open, by error code.',
          unit: 'cps',
          stack: true,
          queries: [
            { expr: `sum by (code) (${rate('parley_handshake_refusals_total')})`, legend: '{{code}}' },
          ],
        },
        {
          title: 'Time to connect',
          description: 'From the connect command, or the upgrade, to the session being open.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.5, 'parley_connect_duration_seconds', 'endpoint'),
              legend: 'p50 {{endpoint}}',
            },
            {
              expr: quantile(0.99, 'parley_connect_duration_seconds', 'endpoint'),
              legend: 'p99 {{endpoint}}',
            },
          ],
        },
        {
          title: 'Sessions ended by code',
          description:
            '3001: a drain, or sent to gateways with more room; 3008: too slow; 3012: no answer; 1000 and 1001: the client went; 1006: the line was cut.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (code) (${rate('parley_closes_total')})`, legend: '{{code}}' }],
        },
        {
          title: 'Subscriptions and channels',
          description: 'A channel counts on each gateway that has a subscriber of it.',
          unit: 'short',
          queries: [
            { expr: `sum(${chosen('parley_gateway_subscriptions')})`, legend: 'subscriptions' },
            { expr: `sum(${chosen('parley_gateway_channels')})`, legend: 'channels' },
          ],
        },
      ],
    },
    {
      title: 'Messages',
      panels: [
        {
          title: 'Commands',
          description: 'Answered per second, by kind.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (command) (${rate('parley_commands_total')})`, legend: '{{command}}' }],
        },
        {
          title: 'Commands refused',
          description: 'By error code.',
          unit: 'cps',
          stack: true,
          queries: [
            {
              expr: `sum by (result) (${rate('parley_commands_total', 'result!="ok"')})`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Time to acknowledge a publish',
          description: 'With Redis behind Sentinels or a Cluster: until a majority has it.',
          unit: 's',
          queries: halfAndWorst('parley_publish_duration_seconds'),
        },
        {
          title: 'Time to deliver',
          description: 'From the broker taking a publication to its subscribers’ outboxes.',
          unit: 's',
          queries: halfAndWorst('parley_delivery_delay_seconds'),
        },
        {
          title: 'Bytes sent',
          description: 'Handed to sockets.',
          unit: 'Bps',
          queries: [{ expr: rate('parley_sent_bytes_total'), legend: '{{pod}}' }],
        },
        {
          title: 'Sessions cut as too slow',
          description: 'Their outbox was full; they come back and catch up.',
          unit: 'cps',
          queries: [{ expr: rate('parley_slow_closes_total'), legend: '{{pod}}' }],
        },
      ],
    },
    { title: 'Processes', panels: processPanels('parley_gateway_ready') },
  ],
}
