// Writes dashboards/ from scripts/monitoring: Grafana's JSON, the rules, a list of all. With --check it writes nothing and fails when a
// file is not current.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { stringify } from 'yaml'
import { controller } from './monitoring/controller.mjs'
import { gateways } from './monitoring/gateways.mjs'
import { grafanaJson } from './monitoring/grafana.mjs'
import { monitoringReadme } from './monitoring/readme.mjs'
import { ruleGroups } from './monitoring/rules.mjs'
import { rollouts } from './monitoring/rollouts.mjs'
import { tenant } from './monitoring/tenant.mjs'
import { root } from './run.mjs'

/** By file name. */
const dashboards = { gateways, tenant, controller, 'redis-and-rollouts': rollouts }

const note = '# Written by `npm run dashboards`. Do not edit: a test compares.\n'

/** @param {Parameters<typeof ruleGroups>[0]} options */
const rulesText = (options) => note + stringify({ groups: ruleGroups(options) }, { lineWidth: 0 })

const plain = { runbooks: 'docs/runbooks' }
// Of the chart's file the template puts both words right: each release has rules for its own namespace.
const ofRelease = { matcher: 'namespace="RELEASE_NAMESPACE"', runbooks: 'RUNBOOKS' }

const json = Object.entries(dashboards).map(([name, dashboard]) => [
  `${name}.json`,
  `${JSON.stringify(grafanaJson(dashboard), undefined, 2)}\n`,
])

/** @type {Record<string, string>} */
const files = {
  ...Object.fromEntries(json.map(([name, text]) => [`dashboards/${name}`, text])),
  ...Object.fromEntries(json.map(([name, text]) => [`charts/parley/files/dashboards/${name}`, text])),
  'dashboards/rules.yaml': rulesText(plain),
  'charts/parley/files/rules.yaml': rulesText(ofRelease),
  'dashboards/README.md': monitoringReadme(dashboards, ruleGroups(plain)),
}

const check = process.argv.includes('--check')
for (const [path, text] of Object.entries(files)) {
  const file = join(root, path)
  const written = await readFile(file, 'utf8').catch(() => '')
  if (written === text) continue
  if (check) {
    console.error(`${path} is not current: run "npm run dashboards" and commit it`)
    process.exitCode = 1
  } else {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text)
    console.log(`wrote ${path}`)
  }
}
