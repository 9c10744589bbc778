// Dashboards and rules in the chart. They are disabled by default, and cover only this release.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { checkRules, checkScrapes } from '../monitoring/promtool.js'
import { find, kinds, pods, render, root, type Tree } from './rendering.js'

const on = { monitoring: { prometheusRule: { enabled: true }, dashboards: { enabled: true } } }
const alone = { controller: { enabled: false }, tenants: { existingSecret: 'tenants' } }

const groupsOf = async (values: Tree): Promise<Tree[]> =>
  find(await render(values), 'PrometheusRule').spec.groups

test('dashboards and rules are disabled by default', async () => {
  expect(kinds(await render({})).filter((kind) => /PrometheusRule|dashboards/.test(kind))).toEqual([])
})

test('promtool accepts the rules, and they select only this namespace', async () => {
  const groups = await groupsOf(on)
  expect(await checkRules(groups)).toBe('')
  const rules = groups.flatMap((group) => group.rules)
  const series =
    /\b(?:namespace:parley_|parley_|workqueue_|controller_runtime_|leader_|nodejs_)\w+(?::\w+)?(.{0,18})/g
  for (const { expr } of rules)
    for (const [found, after] of expr.matchAll(series))
      expect(`${found} ${after}`).toContain('{namespace="chat"')
})

test('the runbook URLs begin with the value runbookUrl', async () => {
  const published = { ...on.monitoring.prometheusRule, runbookUrl: 'https://example.com/books/' }
  const rules = (await groupsOf({ monitoring: { prometheusRule: published } })).flatMap(
    (group) => group.rules,
  )
  const urls = rules.flatMap(({ annotations }) => annotations?.runbook_url ?? [])
  expect(urls.length).toBeGreaterThan(10)
  for (const url of urls) expect(url).toMatch(/^https:\/\/example\.com\/books\/Parley\w+\.md$/)
})

test('without a controller there are no rules and no dashboard for it', async () => {
  const values = { ...on, ...alone }
  const names = (await groupsOf(values)).map(({ name }) => name)
  expect(names).toContain('parley-gateways')
  expect(names.filter((name) => name.startsWith('parley-controller'))).toEqual([])
  const { data } = find(await render(values), 'ConfigMap', '-dashboards')
  expect(Object.keys(data)).not.toContain('parley-controller.json')
})

test('dashboards are JSON with fixed names, and have the label of the sidecar', async () => {
  const { data, metadata } = find(await render(on), 'ConfigMap', '-dashboards')
  expect(metadata.labels).toMatchObject({ grafana_dashboard: '1' })
  const boards = Object.values<string>(data).map((text) => JSON.parse(text))
  expect(boards.map(({ uid }) => String(uid)).toSorted((a, b) => a.localeCompare(b))).toEqual([
    'parley-controller',
    'parley-gateways',
    'parley-redis-rollouts',
    'parley-tenant',
  ])
})

test('two paths of one port are two scrape targets', async () => {
  const values = { monitoring: { podMonitor: { enabled: true }, serviceMonitor: { enabled: true } } }
  const objects = await render(values)
  for (const part of ['-gateway', '-controller']) {
    const endpoints = [
      ...find(objects, 'PodMonitor', part).spec.podMetricsEndpoints,
      ...find(objects, 'ServiceMonitor', part).spec.endpoints,
    ]
    const paths = ['/metrics', '/metrics/tenants']
    expect(endpoints.map(({ path }) => path)).toEqual([...paths, ...paths])
    for (const { relabelings } of endpoints)
      expect(relabelings).toEqual([{ sourceLabels: ['__metrics_path__'], targetLabel: 'metrics_path' }])
  }
})

test('the example scrape job for tenant metrics finds only the gateways', async () => {
  const text = await readFile(join(root, 'examples/prometheus/scrape-tenants.yaml'), 'utf8')
  const jobs: Tree[] = parse(text)
  expect(jobs).toHaveLength(1)
  // Not every build of promtool includes Kubernetes service discovery.
  const { kubernetes_sd_configs: discovery, ...rest } = jobs[0] ?? {}
  expect(discovery).toEqual([{ role: 'pod' }])
  expect(await checkScrapes([rest])).toBe('')
  const [{ regex, source_labels: labels }] = rest['relabel_configs']
  const found = pods(await render({})).flatMap(({ metadata, spec }) =>
    spec.containers.flatMap(({ ports }: Tree) =>
      ports.flatMap((port: Tree) => {
        const meta: Tree = { __meta_kubernetes_pod_container_port_name: port['name'] }
        for (const [name, value] of Object.entries(metadata.labels))
          meta[`__meta_kubernetes_pod_label_${name.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`] = value
        const joined = labels.map((label: string) => meta[label] ?? '').join(';')
        return joined === regex ? [port['containerPort']] : []
      }),
    ),
  )
  expect(found).toEqual([9090])
})

test('dashboards/ and its copies in the chart are up to date with `npm run dashboards`', async () => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/dashboards.mjs', '--check'], {
    cwd: root,
  })
  expect(stderr).toBe('')
})
