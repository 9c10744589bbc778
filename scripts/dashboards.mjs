// Generates dashboards/ from scripts/monitoring: the Grafana dashboards, the rules and a README. With --check
// it writes nothing, and fails when a file is not up to date.
import { stringify } from 'yaml'
import { putGenerated } from './generated.mjs'
import { controller } from './monitoring/controller.mjs'
import { gateways } from './monitoring/gateways.mjs'
import { grafanaJson } from './monitoring/grafana.mjs'
import { monitoringReadme } from './monitoring/readme.mjs'
import { ruleGroups } from './monitoring/rules.mjs'
import { rollouts } from './monitoring/rollouts.mjs'
import { tenant } from './monitoring/tenant.mjs'

/** Dashboards by file name. */
const dashboards = { gateways, tenant, controller, 'redis-and-rollouts': rollouts }

const note = '# Written by `npm run dashboards`. Do not edit: a test compares.\n'

/** @param {Parameters<typeof ruleGroups>[0]} options */
const rulesText = (options) => note + stringify({ groups: ruleGroups(options) }, { lineWidth: 0 })

const plain = { runbooks: 'docs/runbooks' }
// The chart template replaces both placeholders, so that each release has rules for its own namespace.
const chartOptions = { matcher: 'namespace="RELEASE_NAMESPACE"', runbooks: 'RUNBOOKS' }

const json = Object.entries(dashboards).map(([name, dashboard]) => [
  `${name}.json`,
  `${JSON.stringify(grafanaJson(dashboard), undefined, 2)}\n`,
])

/** @type {Record<string, string>} */
const files = {
  ...Object.fromEntries(json.map(([name, text]) => [`dashboards/${name}`, text])),
  ...Object.fromEntries(json.map(([name, text]) => [`charts/parley/files/dashboards/${name}`, text])),
  'dashboards/rules.yaml': rulesText(plain),
  'charts/parley/files/rules.yaml': rulesText(chartOptions),
  'dashboards/README.md': monitoringReadme(dashboards, ruleGroups(plain)),
}

for (const [path, text] of Object.entries(files)) await putGenerated(path, text, 'npm run dashboards')
