// Dashboards and alerts against a Prometheus that scrapes a living installation: each query is taken, and shows what there is to show.
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
import { demoTenant, endWorlds, generated, World } from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'
import { PrometheusProcess } from './prometheus-process.js'

const folder = fileURLToPath(new URL('../../dashboards', import.meta.url))
const groups = ruleGroups({ runbooks: 'docs/runbooks' })
/** What a first value takes on a busy machine: some scrapes, and a rule after them. */
const seenMsMax = 60_000

interface Shown {
  readonly dashboard: string
  readonly panel: string
  readonly legend: string
  readonly expr: string
}

/** Nothing of the kind happens here: the query is taken, and answers nothing. */
const quiet = new Set([
  // No gateway drains.
  'Parley / Redis and rollouts: Sent away and come back: sent away',
])
/** What fails when nothing does, and what these gateways have none of: clients speak no TLS. */
const quietAlerts = new Set(['ParleyPublishErrors critical', 'ParleyCertificateExpiring warning'])

let world: World
let prometheus: PrometheusProcess

beforeAll(async () => {
  world = await World.start({ gateways: 2 })
  const { place, sealingKeyFile } = world
  const args = ['--namespace', 'default', '--public-url', 'wss://chat.example.com']
  const controller = await ControllerProcess.start(place, { args, sealingKeyFile })
  const { opsPort } = await controller.logged('answering probes')
  const of = (pod: string, job: string) => ({ namespace: 'chat', pod, job, instance: pod })
  const targets = [
    ...world.gateways.flatMap(({ opsPort: port }, index) =>
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
  await endWorlds()
})

/** A tenant with little to spend, and a room that remembers. */
async function makeTenant(): Promise<string> {
  const limits = { messages: { publishPerSecond: 2, publishBurst: 5 } }
  await world.client.apply(chatPlan({ limits }, 'small'))
  const general = {
    name: 'general',
    match: { type: 'Literal', value: 'general' },
    grants: [{ operations: ['Subscribe', 'Publish', 'History'], subjects: [{ authenticated: true }] }],
    history: { size: 100, ttl: '1h' },
  }
  const spec = { ...generated, planRef: { name: 'small' }, channels: [...generated.channels, general] }
  await world.client.apply(demoTenant('acme', spec))
  await world.condition('Ready', { status: 'True' }, { deadlineMs: 100_000 })
  return world.token()
}

/** One of each thing that dashboards tell of. */
async function live(token: string): Promise<ChatClient> {
  const client = await world.chat(token)
  const { epoch } = await client.done({ type: 'chat', room: 'general', content: 'first' })
  await joined(client, 'general', { since: { epoch, offset: 0 } })
  let refused = false
  for (let count = 0; count < 50 && !refused; count += 1)
    refused = (await client.ask({ type: 'chat', room: 'general', content: count })).event === 'error'
  expect(refused).toBe(true)
  const gone = await world.chat(token)
  gone.socket.close(1000)
  await gone.closed()
  const url = `${world.gateways[0]?.ws}/demo/acme/ws?token=none`
  expect((await refusedUpgrade(url)).status).toBe(401)
  return client
}

async function panels(): Promise<Shown[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).toSorted()
  const boards = await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8')) as Board),
  )
  return boards.flatMap(({ panels: shown, title: dashboard }) =>
    shown.flatMap(({ targets = [], title: panel }) =>
      targets.map(({ expr, legendFormat: legend }) => ({ dashboard, panel, legend, expr: asked(expr) })),
    ),
  )
}

interface Board {
  readonly title: string
  readonly panels: { title: string; targets?: { expr: string; legendFormat: string }[] }[]
}

/** As Grafana asks when all is chosen; the interval is short, since the life of this installation is. */
function asked(expr: string): string {
  const text = expr
    .replaceAll('$namespace', 'chat')
    .replaceAll('$job', '.*')
    .replaceAll('$tenant', 'demo/acme')
    .replaceAll('$__rate_interval', '5m')
  expect(text).not.toContain('$')
  return text
}

const nameOf = ({ dashboard, legend, panel }: Shown) => `${dashboard}: ${panel}: ${legend}`

async function silentOf<Item>(items: readonly Item[], exprOf: (item: Item) => string): Promise<Item[]> {
  const silent: Item[] = []
  for (const item of items) if ((await prometheus.query(exprOf(item))).length === 0) silent.push(item)
  return silent
}

test('each panel and each alert asks what there is an answer to', async () => {
  const client = await live(await makeTenant())
  const shown = await panels()
  const wanted = shown.filter((item) => !quiet.has(nameOf(item)))
  let silent: Shown[] = wanted
  try {
    await until(
      'an answer to every query',
      async () => {
        await client.ask({ type: 'chat', room: 'general', content: 'still here', echo: true })
        silent = await silentOf(silent, ({ expr }) => expr)
        return silent.length === 0
      },
      { deadlineMs: seenMsMax, everyMs: 500 },
    )
  } catch (error) {
    throw new Error(`These show nothing:\n${silent.map(nameOf).join('\n')}`, { cause: error })
  }

  // All in one pass: a late scrape makes a gauge silent for a moment.
  const quietNow = await until(
    'all answers at once',
    async () => {
      const names = new Set((await silentOf(shown, ({ expr }) => expr)).map(nameOf))
      return wanted.every((item) => !names.has(nameOf(item))) && names
    },
    { deadlineMs: seenMsMax, everyMs: 500 },
  )
  const rows = shown.map((item) => [
    item.dashboard.replace('Parley / ', ''),
    item.panel,
    item.legend,
    quietNow.has(nameOf(item)) ? 'no' : 'yes',
  ])
  const head = ['dashboard', 'panel', 'series', 'shows something']
  await expect(`<!-- Written by \`npx vitest run test/monitoring/live.test.ts -u\`. Do not edit: the test compares. -->

# What the panels show

Two gateways, one controller and one Redis, some seconds after a tenant was made, a client talked, came back, went, and was refused.

${table(head, rows)}`).toMatchFileSnapshot(join(folder, 'panels.md'))

  const alerts = groups.flatMap(({ rules }) => rules.filter((rule): rule is Alert => 'alert' in rule))
  // Their rules come a second or two after what the panels ask for.
  let silentAlerts: string[] = []
  await until(
    'an answer to every alert',
    async () => {
      const found = await silentOf(alerts, ({ expr }) => expr.replaceAll(/ [>=]=? [\d.]+/g, ''))
      silentAlerts = found.map(({ alert, labels }) => `${alert} ${labels['severity'] ?? ''}`)
      return silentAlerts.every((name) => quietAlerts.has(name))
    },
    { deadlineMs: seenMsMax, everyMs: 500 },
  ).catch((error: unknown) => {
    throw new Error(`These ask for nothing: ${silentAlerts.join(', ')}`, { cause: error })
  })

  const rules = await prometheus.rules()
  expect(rules.length).toBe(groups.flatMap((group) => group.rules).length)
  expect(rules.filter(({ health }) => health !== 'ok')).toEqual([])
}, 180_000)
