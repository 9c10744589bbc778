// dashboards/README.md: what is there, in two tables.
import { table } from '../docs/table.mjs'

/**
 * @param {Record<string, import('./grafana.mjs').Dashboard>} dashboards by file name
 * @param {import('./rules.mjs').Group[]} groups
 */
export function monitoringReadme(dashboards, groups) {
  const alerts = new Map(
    groups.flatMap(({ rules }) =>
      rules.flatMap((rule) => ('alert' in rule ? [/** @type {const} */ ([rule.alert, rule])] : [])),
    ),
  )
  const boards = Object.entries(dashboards).map(([file, { description, rows, title }]) => [
    `[${title}](${file}.json)`,
    description,
    String(rows.flatMap(({ panels }) => panels).length),
  ])
  return (
    `<!-- Written by \`npm run dashboards\` from scripts/monitoring. Do not edit: a test compares. -->

# Dashboards and alerts

For Grafana 10 or newer and Prometheus 2.42 or newer. In the chart: \`monitoring.dashboards.enabled\` (ConfigMaps for Grafana's sidecar) and
\`monitoring.prometheusRule.enabled\` (Prometheus Operator). Without them: import the JSON files, and name [rules.yaml](rules.yaml) under \`rule_files\`.
Gateways without a controller: leave out the groups that begin with \`parley-controller\`.

${table(['dashboard', 'shows', 'panels'], boards)}
The dashboards choose by the labels \`namespace\` and \`job\` of the scraped series, and name pods by \`pod\`: what the chart's PodMonitor and
ServiceMonitor give them. The tenant's needs \`/metrics/tenants\` to be scraped: with
annotations alone, by the job in [examples/prometheus](../examples/prometheus/scrape-tenants.yaml). Which panels show something after a minute's life of a test
installation is in [panels.md](panels.md).

## Alerts

${table(
  ['alert', 'severity', 'says'],
  [...alerts.values()].map(({ alert, annotations, labels }) => [
    `[${alert}](../docs/runbooks/${alert}.md)`,
    'slo' in labels ? 'critical, warning' : (labels['severity'] ?? ''),
    annotations['summary']?.replace(/ (fast|slowly)\.$/, '.') ?? '',
  ]),
)}
`.trimEnd() + '\n'
  )
}
