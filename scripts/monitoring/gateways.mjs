// The dashboard of all gateways, with the most important questions first.
import { selected, medianAndP99, targetVariables, quantile, rate } from './grafana.mjs'
import { processPanels } from './processes.mjs'

/** @type {import('./grafana.mjs').Dashboard} */
export const gateways = {
  uid: 'parley-gateways',
  title: 'Parley / Gateways',
  description: 'Connections, latency and refusals of all gateways.',
  variables: targetVariables('parley_gateway_ready'),
  rows: [
    {
      title: 'Overview',
      panels: [
        {
          kind: 'stat',
          title: 'Connections',
          description: 'Open sessions on all gateways.',
          unit: 'short',
          queries: [{ expr: `sum(${selected('parley_gateway_connections')})`, legend: 'connections' }],
        },
        {
          kind: 'stat',
          title: 'Gateways ready',
          description: 'Gateways that accept new sessions.',
          unit: 'short',
          queries: [{ expr: `sum(${selected('parley_gateway_ready')})`, legend: 'ready' }],
        },
        {
          kind: 'stat',
          title: 'Fullest gateway',
          description:
            'Largest share of the connection limit that a gateway uses. At 100% it refuses clients with status 503.',
          unit: 'percentunit',
          max: 1,
          thresholds: [0.8, 0.9],
          queries: [
            {
              expr: `max(${selected('parley_gateway_connections')} / ${selected('parley_gateway_connections_limit')})`,
              legend: 'used',
            },
          ],
        },
        {
          kind: 'stat',
          title: 'Publications',
          description: 'Accepted publications per second.',
          unit: 'cps',
          queries: [{ expr: `sum(${rate('parley_publications_total')})`, legend: 'publications' }],
        },
        {
          kind: 'stat',
          title: 'Deliveries',
          description: 'Deliveries to subscribers per second.',
          unit: 'cps',
          queries: [{ expr: `sum(${rate('parley_deliveries_total')})`, legend: 'deliveries' }],
        },
        {
          kind: 'stat',
          title: 'Internal errors in the last hour',
          description: 'Errors caused by bugs. The log has the stack of each.',
          unit: 'short',
          thresholds: [1, 10],
          queries: [
            { expr: `sum(increase(${selected('parley_bugs_total')}[1h]))`, legend: 'internal errors' },
          ],
        },
      ],
    },
    {
      title: 'Connections',
      panels: [
        {
          title: 'Connections by gateway',
          description: 'Open sessions of each gateway and their mean, which autoscaling uses.',
          unit: 'short',
          queries: [
            { expr: selected('parley_gateway_connections'), legend: '{{pod}}' },
            { expr: `avg(${selected('parley_gateway_connections')})`, legend: 'mean' },
          ],
        },
        {
          title: 'Connection imbalance',
          description:
            'Connections of the fullest gateway divided by the mean. Above 1.2 that gateway moves some sessions to the others, three times a minute, until the value is near 1.',
          unit: 'short',
          thresholds: [1.25, 1.5],
          queries: [
            {
              expr: `max(${selected('parley_gateway_connections')}) / avg(${selected('parley_gateway_connections')})`,
              legend: 'fullest / mean',
            },
          ],
        },
        {
          title: 'Rebalanced sessions',
          description:
            'Sessions closed with 3001 to move them to gateways with fewer connections. Their clients reconnect immediately.',
          unit: 'cps',
          queries: [{ expr: rate('parley_rebalanced_sessions_total'), legend: '{{pod}}' }],
        },
        {
          title: 'Connect attempts by result',
          description: 'Connect attempts per second: `ok`, or the error code of the refusal.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (result) (${rate('parley_connects_total')})`, legend: '{{result}}' }],
        },
        {
          title: 'Refused handshakes',
          description: 'WebSocket handshakes refused with an HTTP status, by error code.',
          unit: 'cps',
          stack: true,
          queries: [
            { expr: `sum by (code) (${rate('parley_handshake_refusals_total')})`, legend: '{{code}}' },
          ],
        },
        {
          title: 'Connect duration',
          description:
            'Time from the connect command, or the handshake on the chat endpoint, to the open session.',
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
          title: 'Closed sessions by code',
          description:
            '3001: drained or rebalanced; 3008: client too slow; 3012: no pong; 1000 and 1001: closed by the client; 1006: connection lost.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (code) (${rate('parley_closes_total')})`, legend: '{{code}}' }],
        },
        {
          title: 'Subscriptions and channels',
          description: 'A channel is counted on every gateway where it has a subscriber.',
          unit: 'short',
          queries: [
            { expr: `sum(${selected('parley_gateway_subscriptions')})`, legend: 'subscriptions' },
            { expr: `sum(${selected('parley_gateway_channels')})`, legend: 'channels' },
          ],
        },
      ],
    },
    {
      title: 'Messages',
      panels: [
        {
          title: 'Commands',
          description: 'Handled commands per second, by command.',
          unit: 'cps',
          stack: true,
          queries: [{ expr: `sum by (command) (${rate('parley_commands_total')})`, legend: '{{command}}' }],
        },
        {
          title: 'Refused commands',
          description: 'Refused commands per second, by error code.',
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
          title: 'Publish latency',
          description:
            'Time from a publish command to its acknowledgement. With Sentinels or a Cluster this includes the confirmation by a majority of the data nodes.',
          unit: 's',
          queries: medianAndP99('parley_publish_duration_seconds'),
        },
        {
          title: 'Delivery delay',
          description:
            'Time from the broker accepting a publication to writing it to the outboxes of its subscribers.',
          unit: 's',
          queries: medianAndP99('parley_delivery_delay_seconds'),
        },
        {
          title: 'Bytes sent',
          description: 'Bytes written to sockets per second.',
          unit: 'Bps',
          queries: [{ expr: rate('parley_sent_bytes_total'), legend: '{{pod}}' }],
        },
        {
          title: 'Sessions closed as too slow',
          description: 'Sessions closed because their outbox was full. Their clients reconnect and recover.',
          unit: 'cps',
          queries: [{ expr: rate('parley_slow_closes_total'), legend: '{{pod}}' }],
        },
      ],
    },
    { title: 'Processes', panels: processPanels('parley_gateway_ready') },
  ],
}
