// Generates dashboards/README.md: lists of the dashboards and of the alerts.
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

These dashboards need Grafana 10 or newer, and the rules need Prometheus 2.42 or newer. There are two ways
to install them:

- With the Helm chart: set \`monitoring.dashboards.enabled\` (ConfigMaps for Grafana's sidecar) and
  \`monitoring.prometheusRule.enabled\` (for the Prometheus Operator).
- Without it: import the JSON files into Grafana, and add [rules.yaml](rules.yaml) to \`rule_files\` of
  Prometheus. Leave out the groups that begin with \`parley-controller\` when you run gateways without a
  controller.

${table(['dashboard', 'content', 'panels'], boards)}
The dashboards select series by the labels \`namespace\` and \`job\` and name pods by \`pod\`, as set by the
PodMonitor and the ServiceMonitor of the chart. The tenant dashboard needs \`/metrics/tenants\` to be scraped;
with scrape annotations alone, add the job in
[examples/prometheus](../examples/prometheus/scrape-tenants.yaml). [panels.md](panels.md) lists the panels
that show data after one minute in a test installation.

## Alerts

${table(
  ['alert', 'severity', 'summary'],
  [...alerts.values()].map(({ alert, annotations, labels }) => [
    `[${alert}](../docs/runbooks/${alert}.md)`,
    'slo' in labels ? 'critical, warning' : (labels['severity'] ?? ''),
    annotations['summary']?.replace(/ (fast|slowly)\.$/, '.') ?? '',
  ]),
)}
`.trimEnd() + '\n'
  )
}
