// Runs the queries of all dashboards and alerts against a Prometheus that scrapes a running installation.
// Every query must be valid and return data.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { table } from '../../scripts/docs/table.mjs'
import { ruleGroups, type Alert } from '../../scripts/monitoring/rules.mjs'
import { joined, refusedUpgrade, type ChatClient } from '../support/chat-client.js'
import { ControllerProcess } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import { chatPlan } from '../support/kube-parley.js'
import { demoTenant, endEnvironments, generated, TestEnvironment } from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'
import { PrometheusProcess } from './prometheus-process.js'

const folder = fileURLToPath(new URL('../../dashboards', import.meta.url))
const groups = ruleGroups({ runbooks: 'docs/runbooks' })
/** Time until the first value appears on a busy machine: some scrapes, and a rule evaluation after them. */
const firstValueMsMax = 60_000

interface PanelQuery {
  readonly dashboard: string
  readonly panel: string
  readonly legend: string
  readonly expr: string
}

/** Panels without data in this test: their query is valid and returns nothing. */
const emptyPanels = new Set([
  // No gateway drains in this test.
  'Parley / Redis and rollouts: Drained and connected sessions: closed with 3001',
])
/** Alerts without data: nothing fails in this test, and clients do not use TLS. */
const emptyAlerts = new Set(['ParleyPublishErrors critical', 'ParleyCertificateExpiring warning'])

let environment: TestEnvironment
let prometheus: PrometheusProcess

beforeAll(async () => {
  environment = await TestEnvironment.start({ gateways: 2 })
  const { target: place, sealingKeyFile } = environment
  const args = ['--namespace', 'default', '--public-url', 'wss://chat.example.com']
  const controller = await ControllerProcess.start(place, { args, sealingKeyFile })
  const { opsPort } = await controller.logged('answering probes')
  const of = (pod: string, job: string) => ({ namespace: 'chat', pod, job, instance: pod })
  const targets = [
    ...environment.gateways.flatMap(({ opsPort: port }, index) =>
      ['/metrics', '/metrics/tenants'].map((path) => ({
        port,
        path,
        labels: of(`gateway-${index}`, 'chat/gateway'),
      })),
    ),
    ...['/metrics', '/metrics/tenants'].map((path) => ({
      port: Number(opsPort),
      path,
      labels: of('controller-0', 'chat/controller'),
    })),
  ]
  prometheus = await PrometheusProcess.start(targets, groups)
}, kubeStartMsMax)

afterAll(async () => {
  await prometheus.stop()
  await endEnvironments()
})

/** Creates a tenant with a low publish rate and a room with history. */
async function makeTenant(): Promise<string> {
  const limits = { messages: { publishPerSecond: 2, publishBurst: 5 } }
  await environment.client.apply(chatPlan({ limits }, 'small'))
  const general = {
    name: 'general',
    match: { type: 'Literal', value: 'general' },
    grants: [{ operations: ['Subscribe', 'Publish', 'History'], subjects: [{ authenticated: true }] }],
    history: { size: 100, ttl: '1h' },
  }
  const spec = { ...generated, planRef: { name: 'small' }, channels: [...generated.channels, general] }
  await environment.client.apply(demoTenant('acme', spec))
  await environment.condition('Ready', { status: 'True' }, { deadlineMs: 100_000 })
  return environment.token()
}

/** Causes at least one event of each kind that the dashboards show. */
async function generateTraffic(token: string): Promise<ChatClient> {
  const client = await environment.chat(token)
  const { epoch } = await client.done({ type: 'chat', room: 'general', content: 'first' })
  await joined(client, 'general', { since: { epoch, offset: 0 } })
  let refused = false
  for (let count = 0; count < 50 && !refused; count += 1)
    refused = (await client.ask({ type: 'chat', room: 'general', content: count })).event === 'error'
  expect(refused).toBe(true)
  const leaving = await environment.chat(token)
  leaving.socket.close(1000)
  await leaving.closed()
  const url = `${environment.gateways[0]?.ws}/demo/acme/ws?token=none`
  expect((await refusedUpgrade(url)).status).toBe(401)
  return client
}

async function panels(): Promise<PanelQuery[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).toSorted()
  const boards = await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8')) as Board),
  )
  return boards.flatMap(({ panels: shown, title: dashboard }) =>
    shown.flatMap(({ targets = [], title: panel }) =>
      targets.map(({ expr, legendFormat: legend }) => ({ dashboard, panel, legend, expr: expanded(expr) })),
    ),
  )
}

interface Board {
  readonly title: string
  readonly panels: { title: string; targets?: { expr: string; legendFormat: string }[] }[]
}

/** Replaces the variables as Grafana does when everything is selected. */
function expanded(expr: string): string {
  const text = expr
    .replaceAll('$namespace', 'chat')
    .replaceAll('$job', '.*')
    .replaceAll('$tenant', 'demo/acme')
    .replaceAll('$__rate_interval', '5m')
  expect(text).not.toContain('$')
  return text
}

const nameOf = ({ dashboard, legend, panel }: PanelQuery) => `${dashboard}: ${panel}: ${legend}`

async function withoutData<Item>(items: readonly Item[], exprOf: (item: Item) => string): Promise<Item[]> {
  const empty: Item[] = []
  for (const item of items) if ((await prometheus.query(exprOf(item))).length === 0) empty.push(item)
  return empty
}

test('every panel and every alert has data', async () => {
  const client = await generateTraffic(await makeTenant())
  const shown = await panels()
  const wanted = shown.filter((item) => !emptyPanels.has(nameOf(item)))
  let missing: PanelQuery[] = wanted
  try {
    await until(
      'data for every panel',
      async () => {
        await client.ask({ type: 'chat', room: 'general', content: 'more traffic', echo: true })
        missing = await withoutData(missing, ({ expr }) => expr)
        return missing.length === 0
      },
      { deadlineMs: firstValueMsMax, everyMs: 500 },
    )
  } catch (error) {
    throw new Error(`Panels without data:\n${missing.map(nameOf).join('\n')}`, { cause: error })
  }

  // In one pass over all panels, because a late scrape can hide a gauge for a moment.
  const emptyNow = await until(
    'data for all panels in the same pass',
    async () => {
      const names = new Set((await withoutData(shown, ({ expr }) => expr)).map(nameOf))
      return wanted.every((item) => !names.has(nameOf(item))) && names
    },
    { deadlineMs: firstValueMsMax, everyMs: 500 },
  )
  const rows = shown.map((item) => [
    item.dashboard.replace('Parley / ', ''),
    item.panel,
    item.legend,
    emptyNow.has(nameOf(item)) ? 'no' : 'yes',
  ])
  const head = ['dashboard', 'panel', 'series', 'has data']
  await expect(`<!-- Written by \`npx vitest run test/monitoring/live.test.ts -u\`. Do not edit: the test compares. -->

# Panels with data

This list is the result of a test with two gateways, one controller and one Redis, some seconds after a tenant was created
and clients published, recovered, disconnected and were refused.

${table(head, rows)}`).toMatchFileSnapshot(join(folder, 'panels.md'))

  const alerts = groups.flatMap(({ rules }) => rules.filter((rule): rule is Alert => 'alert' in rule))
  // Rules are evaluated a second or two after the scrapes.
  let alertsWithoutData: string[] = []
  await until(
    'data for every alert',
    async () => {
      const found = await withoutData(alerts, ({ expr }) => expr.replaceAll(/ [>=]=? [\d.]+/g, ''))
      alertsWithoutData = found.map(({ alert, labels }) => `${alert} ${labels['severity'] ?? ''}`)
      return alertsWithoutData.every((name) => emptyAlerts.has(name))
    },
    { deadlineMs: firstValueMsMax, everyMs: 500 },
  ).catch((error: unknown) => {
    throw new Error(`Alerts without data: ${alertsWithoutData.join(', ')}`, { cause: error })
  })

  const rules = await prometheus.rules()
  expect(rules.length).toBe(groups.flatMap((group) => group.rules).length)
  expect(rules.filter(({ health }) => health !== 'ok')).toEqual([])
}, 180_000)
