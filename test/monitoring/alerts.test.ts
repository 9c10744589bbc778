// Every alert fires when it should, does not fire just below its threshold, and resolves; and every alert has
// a runbook.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { ruleGroups, type Alert } from '../../scripts/monitoring/rules.mjs'
import { errorCodes } from '../../src/errors.js'
import { checkRules, failures, samples, type Levels, type Phase } from './promtool.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const groups = ruleGroups({ runbooks: 'docs/runbooks' })
const alerts = groups.flatMap(({ rules }) => rules.filter((rule): rule is Alert => 'alert' in rule))

interface Case {
  readonly alert: string
  readonly severity: string
  /** Minutes of normal operation, of the problem, and of normal operation again. */
  readonly minutes: readonly [number, number, number]
  readonly series: Record<string, Levels>
}

const gauge = (normal: number, nearly: number, firing: number): Levels => ({
  kind: 'gauge',
  normal,
  nearly,
  firing,
})
const counter = (normal: number, nearly: number, firing: number): Levels => ({
  kind: 'counter',
  normal,
  nearly,
  firing,
})

const pod = (name: string) => `namespace="chat",pod="${name}",job="chat/gateway",instance="${name}:9090"`
const controllerPod = 'namespace="chat",pod="c1",job="chat/controller",instance="c1:9091"'
const others = 'namespace="chat",pod="x",job="others",instance="x:8080"'
const acme = `tenant="demo/acme"`

/** Marks the target as a controller of Parley, which the rules look for. */
const watchSeries = {
  [`parley_controller_watch_silent_seconds{${controllerPod},kind="ChatTenant"}`]: gauge(10, 10, 10),
}

/** Builds the series of good and bad events, of which there are 1,000 per minute together. */
type Outcomes = (good: Levels, bad: Levels) => Case['series']

/** The critical and the warning alert of one objective. */
function burns(alert: string, outcomes: Outcomes, objective: 0.99 | 0.999): Case[] {
  const budget = 1000 * (1 - objective)
  const withBad = (nearly: number, firing: number) =>
    outcomes(counter(1000, 1000 - nearly, 1000 - firing), counter(0, nearly, firing))
  return [
    { alert, severity: 'critical', minutes: [70, 30, 45], series: withBad(2 * budget, 500) },
    { alert, severity: 'warning', minutes: [10, 240, 420], series: withBad(0.5 * budget, 5 * budget) },
  ]
}

/** Builds the count of a histogram and the bucket of the objective. */
function histogram(name: string, { labels, le }: { labels: string; le: string }): Outcomes {
  return (good) => ({
    [`${name}_bucket{${labels},le="${le}"}`]: good,
    [`${name}_count{${labels}}`]: counter(1000, 1000, 1000),
  })
}

const dayS = 86_400

const cases: Case[] = [
  ...burns(
    'ParleyConnectBudgetBurn',
    (good, bad) => ({
      [`parley_connects_total{${pod('a')},endpoint="chat",result="ok"}`]: good,
      [`parley_connects_total{${pod('a')},endpoint="chat",result="BROKER_UNAVAILABLE"}`]: bad,
      // Errors of the client do not burn the budget.
      [`parley_connects_total{${pod('a')},endpoint="chat",result="TOKEN_EXPIRED"}`]: counter(1, 1, 1),
    }),
    0.999,
  ),
  ...burns(
    'ParleyDeliveryBudgetBurn',
    histogram('parley_delivery_delay_seconds', { labels: pod('a'), le: '0.25' }),
    0.99,
  ),
  ...burns(
    'ParleyRecoveryBudgetBurn',
    (good, bad) => ({
      [`parley_recoveries_total{${pod('a')},result="recovered"}`]: good,
      [`parley_recoveries_total{${pod('a')},result="gap"}`]: bad,
    }),
    0.99,
  ),
  ...burns(
    'ParleyProgrammedBudgetBurn',
    histogram('parley_controller_programmed_seconds', { labels: controllerPod, le: '5' }),
    0.99,
  ),
  {
    alert: 'ParleyNoGatewayReady',
    severity: 'critical',
    minutes: [5, 5, 5],
    series: {
      [`parley_gateway_ready{${pod('a')}}`]: gauge(1, 0, 0),
      [`parley_gateway_ready{${pod('b')}}`]: gauge(1, 1, 0),
    },
  },
  {
    alert: 'ParleyGatewayUnready',
    severity: 'warning',
    minutes: [5, 10, 5],
    series: {
      [`parley_gateway_ready{${pod('a')}}`]: gauge(1, 0, 0),
      [`parley_gateway_draining{${pod('a')}}`]: gauge(0, 1, 0),
    },
  },
  {
    alert: 'ParleyGatewayNearlyFull',
    severity: 'warning',
    minutes: [5, 10, 5],
    series: {
      [`parley_gateway_connections{${pod('a')}}`]: gauge(10, 890, 910),
      [`parley_gateway_connections_limit{${pod('a')}}`]: gauge(1000, 1000, 1000),
    },
  },
  {
    alert: 'ParleyGatewayEventLoopSlow',
    severity: 'warning',
    minutes: [5, 15, 5],
    series: {
      [`parley_gateway_ready{${pod('a')}}`]: gauge(1, 1, 1),
      [`nodejs_eventloop_lag_p99_seconds{${pod('a')}}`]: gauge(0.01, 0.2, 0.3),
      [`nodejs_eventloop_lag_p99_seconds{${others}}`]: gauge(9, 9, 9),
    },
  },
  {
    alert: 'ParleyRedisAway',
    severity: 'critical',
    minutes: [5, 5, 5],
    series: { [`parley_redis_away_seconds{${pod('a')}}`]: gauge(0, 14, 70) },
  },
  {
    alert: 'ParleyRedisMemoryHigh',
    severity: 'warning',
    minutes: [5, 10, 10],
    series: {
      [`parley_redis_memory_used_bytes{${pod('a')}}`]: gauge(500, 790, 810),
      [`parley_redis_memory_limit_bytes{${pod('a')}}`]: gauge(1000, 1000, 1000),
      // A Redis without a limit.
      [`parley_redis_memory_used_bytes{${pod('b')}}`]: gauge(9000, 9000, 9000),
      [`parley_redis_memory_limit_bytes{${pod('b')}}`]: gauge(0, 0, 0),
    },
  },
  {
    alert: 'ParleyRedisMemoryReserved',
    severity: 'critical',
    minutes: [5, 5, 5],
    series: { [`parley_redis_memory_reserved{${pod('a')}}`]: gauge(0, 0, 1) },
  },
  {
    alert: 'ParleyPublishErrors',
    severity: 'critical',
    minutes: [10, 15, 15],
    series: {
      [`parley_commands_total{${pod('a')},endpoint="chat",command="publish",result="ok"}`]: counter(
        100,
        96,
        80,
      ),
      [`parley_commands_total{${pod('a')},endpoint="chat",command="publish",result="NOT_REPLICATED"}`]:
        counter(0, 4, 20),
      // A refusal because of the quota is not a server error.
      [`parley_commands_total{${pod('a')},endpoint="chat",command="publish",result="QUOTA_EXCEEDED"}`]:
        counter(10, 10, 10),
    },
  },
  {
    alert: 'ParleyCatalogStale',
    severity: 'warning',
    minutes: [5, 10, 5],
    series: { [`parley_catalog_age_seconds{${pod('a')}}`]: gauge(2, 50, 600) },
  },
  {
    alert: 'ParleyCatalogProblems',
    severity: 'warning',
    minutes: [5, 15, 5],
    series: { [`parley_catalog_problems{${pod('a')}}`]: gauge(0, 0, 2) },
  },
  {
    alert: 'ParleyCertificateExpiring',
    severity: 'warning',
    minutes: [5, 20, 5],
    // The clock of promtool starts at 0.
    series: {
      [`parley_tls_certificate_expiry_timestamp_seconds{${pod('a')}}`]: gauge(60 * dayS, 8 * dayS, 6 * dayS),
      [`parley_tls_certificate_expiry_timestamp_seconds{${pod('b')}}`]: gauge(
        60 * dayS,
        60 * dayS,
        60 * dayS,
      ),
    },
  },
  {
    alert: 'ParleyBugs',
    severity: 'warning',
    minutes: [5, 5, 30],
    series: { [`parley_bugs_total{${pod('a')}}`]: counter(0, 0, 1) },
  },
  {
    alert: 'ParleyTenantConnectionsHigh',
    severity: 'info',
    minutes: [5, 15, 5],
    series: {
      [`parley_tenant_connections{${pod('a')},${acme}}`]: gauge(10, 40, 50),
      [`parley_tenant_connections{${pod('b')},${acme}}`]: gauge(10, 49, 45),
      [`parley_tenant_connections_limit{${pod('a')},${acme}}`]: gauge(100, 100, 100),
      [`parley_tenant_connections_limit{${pod('b')},${acme}}`]: gauge(100, 100, 100),
    },
  },
  {
    alert: 'ParleyTenantPublishRateHigh',
    severity: 'info',
    minutes: [10, 20, 15],
    series: {
      [`parley_tenant_publications_total{${pod('a')},${acme}}`]: counter(60, 500, 570),
      [`parley_tenant_publish_rate_limit{${pod('a')},${acme}}`]: gauge(10, 10, 10),
    },
  },
  {
    alert: 'ParleyTenantStoredBytesHigh',
    severity: 'info',
    minutes: [10, 15, 15],
    series: {
      [`parley_tenant_stored_bytes{${pod('a')},${acme}}`]: gauge(100, 890, 910),
      [`parley_tenant_stored_bytes_limit{${pod('a')},${acme}}`]: gauge(1000, 1000, 1000),
    },
  },
  {
    alert: 'ParleyTenantRefused',
    severity: 'info',
    minutes: [10, 20, 15],
    series: {
      [`parley_tenant_refusals_total{${pod('a')},${acme},code="QUOTA_EXCEEDED"}`]: counter(0, 5, 60),
      [`parley_tenant_refusals_total{${pod('a')},${acme},code="PERMISSION_DENIED"}`]: counter(99, 99, 99),
    },
  },
  {
    alert: 'ParleyControllerNoLeader',
    severity: 'critical',
    minutes: [5, 5, 5],
    series: {
      ...watchSeries,
      [`leader_election_master_status{${controllerPod},name="parley"}`]: gauge(1, 1, 0),
      [`leader_election_master_status{${others},name="others"}`]: gauge(1, 0, 1),
    },
  },
  {
    alert: 'ParleyControllerWatchSilent',
    severity: 'warning',
    minutes: [5, 5, 5],
    series: {
      [`parley_controller_watch_silent_seconds{${controllerPod},kind="ChatTenant"}`]: gauge(10, 90, 400),
    },
  },
  {
    alert: 'ParleyControllerReconcileErrors',
    severity: 'warning',
    minutes: [15, 30, 30],
    series: {
      ...watchSeries,
      [`controller_runtime_reconcile_errors_total{${controllerPod},controller="chattenant"}`]: counter(
        0,
        1,
        30,
      ),
      [`controller_runtime_reconcile_total{${controllerPod},controller="chattenant",result="success"}`]:
        counter(60, 59, 30),
      [`controller_runtime_reconcile_total{${controllerPod},controller="chattenant",result="error"}`]:
        counter(0, 1, 30),
      [`controller_runtime_reconcile_errors_total{${others},controller="theirs"}`]: counter(60, 60, 60),
      [`controller_runtime_reconcile_total{${others},controller="theirs",result="error"}`]: counter(
        60,
        60,
        60,
      ),
    },
  },
  {
    alert: 'ParleyControllerBacklog',
    severity: 'warning',
    minutes: [5, 20, 5],
    series: {
      ...watchSeries,
      [`leader_election_master_status{${controllerPod},name="parley"}`]: gauge(1, 0, 1),
      [`workqueue_depth{${controllerPod},name="chattenant",controller="chattenant"}`]: gauge(1, 500, 500),
      [`workqueue_depth{${others},name="theirs",controller="theirs"}`]: gauge(500, 500, 500),
    },
  },
  {
    alert: 'ParleyControllerUrgentWait',
    severity: 'warning',
    minutes: [5, 5, 5],
    series: {
      [`parley_controller_queue_oldest_seconds{${controllerPod},controller="chattenant",priority="urgent"}`]:
        gauge(0, 2, 10),
      // Other changes may wait longer.
      [`parley_controller_queue_oldest_seconds{${controllerPod},controller="chattenant",priority="normal"}`]:
        gauge(60, 60, 60),
    },
  },
  {
    alert: 'ParleyTenantNotReady',
    severity: 'info',
    minutes: [5, 20, 5],
    series: {
      // Other conditions that are not True do not matter.
      [`parley_tenant_condition{${controllerPod},${acme},type="Ready"}`]: gauge(1, 1, 0),
      [`parley_tenant_condition{${controllerPod},${acme},type="QuotaPressure"}`]: gauge(0, 0, 0),
      [`parley_tenant_condition{${controllerPod},tenant="demo/globex",type="Ready"}`]: gauge(1, 1, 1),
    },
  },
  {
    alert: 'ParleyTenantsUnprogrammed',
    severity: 'warning',
    minutes: [5, 5, 5],
    series: { [`parley_controller_unprogrammed_seconds{${controllerPod}}`]: gauge(0, 100, 130) },
  },
]

function lines(series: Record<string, Levels>, phases: readonly Phase[]): Record<string, string> {
  return Object.fromEntries(Object.entries(series).map(([name, levels]) => [name, samples(levels, phases)]))
}

describe.each(cases)(
  '$alert ($severity)',
  ({ alert, minutes: [before, during, after], series, severity }) => {
    test('fires during the problem and resolves after it', async () => {
      const phases: Phase[] = [
        [before, 'normal'],
        [during, 'firing'],
        [after, 'normal'],
      ]
      const checks = [
        { minute: before - 1, firing: 0 },
        { minute: before + during - 1, firing: 1 },
        { minute: before + during + after - 1, firing: 0 },
      ]
      const scenario = { series: lines(series, phases), alert, severity, checks }
      expect(await failures(groups, scenario)).toBe('')
    })

    test('does not fire just below its threshold', async () => {
      const phases: Phase[] = [
        [before, 'normal'],
        [during, 'nearly'],
      ]
      const checks = [{ minute: before + during - 1, firing: 0 }]
      const scenario = { series: lines(series, phases), alert, severity, checks }
      expect(await failures(groups, scenario)).toBe('')
    })
  },
)

test.each([
  ['ParleyNoGatewayReady', 'critical'],
  ['ParleyControllerNoLeader', 'critical'],
])('%s fires when nothing is scraped', async (alert, severity) => {
  const checks = [{ minute: 10, firing: 1 }]
  const scenario = { series: { [`up{${others}}`]: '1+0x10' }, alert, severity, checks }
  expect(await failures(groups, scenario)).toBe('')
})

test('refused handshakes burn the connect budget', async () => {
  const refusals = counter(0, 0, 100)
  const series = lines(
    { [`parley_handshake_refusals_total{${pod('a')},endpoint="chat",code="OVERLOADED"}`]: refusals },
    [
      [70, 'normal'],
      [30, 'firing'],
    ],
  )
  const checks = [{ minute: 99, firing: 1 }]
  const scenario = { series, alert: 'ParleyConnectBudgetBurn', severity: 'critical', checks }
  expect(await failures(groups, scenario)).toBe('')
})

test('every alert has a test case', () => {
  const tested = cases.map(({ alert, severity }) => `${alert} ${severity}`)
  const defined = alerts.map(({ alert, labels }) => `${alert} ${labels['severity']}`)
  expect(tested.toSorted()).toEqual(defined.toSorted())
})

test('promtool accepts the rules', async () => {
  expect(await checkRules(groups)).toBe('')
})

test('error codes in the rules exist', () => {
  const known = Object.keys(errorCodes)
  const named = groups
    .flatMap(({ rules }) => rules.flatMap(({ expr }) => [...expr.matchAll(/"([A-Z_]+(?:\|[A-Z_]+)*)"/g)]))
    .flatMap(([, codes = '']) => codes.split('|'))
  expect(named.length).toBeGreaterThan(0)
  expect(named.filter((code) => !known.includes(code))).toEqual([])
})

describe('runbooks', async () => {
  const folder = 'docs/runbooks'
  const pages = (await readdir(join(root, folder))).filter((name) => name !== 'README.md')

  test('there is one for every alert, and no other', () => {
    const names = [...new Set(alerts.map(({ alert }) => `${alert}.md`))]
    expect(pages.toSorted()).toEqual(names.toSorted())
  })

  test('every alert links its runbook', () => {
    for (const { alert, annotations } of alerts)
      expect(annotations['runbook_url']).toBe(`${folder}/${alert}.md`)
  })

  test.each(pages)('%s has the sections meaning, impact, diagnosis and mitigation', async (page) => {
    const text = await readFile(join(root, folder, page), 'utf8')
    expect(text).toMatch(new RegExp(`^# ${page.replace('.md', '')}\n`))
    expect([...text.matchAll(/^## (.*)$/gm)].map(([, title]) => title)).toEqual([
      'Meaning',
      'Impact',
      'Diagnosis',
      'Mitigation',
    ])
    for (const part of text.split(/^## .*$/m).slice(1)) expect(part.trim().length).toBeGreaterThan(40)
  })

  test('metrics in runbooks exist', async () => {
    const reference = await readFile(join(root, 'docs/reference/metrics.md'), 'utf8')
    const source = await readFile(join(root, 'src/metrics-controller.ts'), 'utf8')
    const texts = await Promise.all(pages.map((page) => readFile(join(root, folder, page), 'utf8')))
    const named = texts.flatMap((text) => text.match(/\bparley_[a-z_]+/g) ?? [])
    const unknown = named.filter(
      (name) =>
        !reference.includes(`\`${name.replace(/_(bucket|count|sum)$/, '')}\``) &&
        !source.includes(`'${name}'`),
    )
    expect(unknown).toEqual([])
  })
})
