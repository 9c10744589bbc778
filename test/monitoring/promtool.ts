// Runs promtool on rules and on generated series, to test when an alert fires.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Group } from '../../scripts/monitoring/rules.mjs'
import { locatePrometheus } from '../../scripts/prometheus.mjs'

/**
 * Values of a series during normal operation, just below the threshold, and while the alert fires. For a
 * counter: the increase per minute.
 */
export interface Levels {
  readonly kind: 'gauge' | 'counter'
  readonly normal: number
  readonly nearly: number
  readonly firing: number
}

export type Level = 'normal' | 'nearly' | 'firing'
export type Phase = readonly [minutes: number, level: Level]

/** Returns one sample per minute in promtool's notation. */
export function samples({ kind, ...levels }: Levels, phases: readonly Phase[]): string {
  let value = 0
  return phases
    .map(([minutes, level]) => {
      const now = levels[level]
      if (kind === 'gauge') return `${now}+0x${minutes - 1}`
      const text = `${value}+${now}x${minutes - 1}`
      value += now * minutes
      return text
    })
    .join(' ')
}

export interface Check {
  readonly minute: number
  /** Number of firing alerts with the name and severity. */
  readonly firing: number
}

export interface Scenario {
  readonly series: Record<string, string>
  readonly alert: string
  readonly severity: string
  readonly checks: readonly Check[]
}

/** Returns promtool's output when an expectation fails, else an empty string. */
export async function failures(groups: readonly Group[], scenario: Scenario): Promise<string> {
  const { alert, checks, series, severity } = scenario
  const test = {
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: checks.map(({ firing, minute }) => ({
      expr: `count(ALERTS{alertname="${alert}",severity="${severity}",alertstate="firing"})`,
      eval_time: `${minute}m`,
      exp_samples: firing === 0 ? [] : [{ labels: '{}', value: firing }],
    })),
  }
  return promtool(['test', 'rules', 'test.yaml'], {
    'rules.yaml': stringify({ groups: groupsFor(alert, groups) }),
    'test.yaml': stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests: [test] }),
  })
}

/** Returns the groups that the alert needs: evaluating recording rules over days takes long. */
function groupsFor(alert: string, groups: readonly Group[]): readonly Group[] {
  return groups.filter(
    ({ name, rules }) =>
      rules.some((rule) => 'alert' in rule && rule.alert === alert) ||
      (alert.endsWith('BudgetBurn') && /slo(-days)?$/.test(name)),
  )
}

/** Returns the errors of `promtool check rules`, or an empty string. */
export function checkRules(groups: readonly Group[]): Promise<string> {
  return promtool(['check', 'rules', 'rules.yaml'], { 'rules.yaml': stringify({ groups }) })
}

/**
 * Returns the errors of `promtool check config` for a configuration with these scrape jobs, or an empty
 * string.
 */
export function checkScrapes(jobs: unknown): Promise<string> {
  return promtool(['check', 'config', '--syntax-only', 'prometheus.yaml'], {
    'prometheus.yaml': stringify({ scrape_configs: jobs }),
  })
}

async function promtool(args: string[], files: Record<string, string>): Promise<string> {
  const program = await locatePrometheus('promtool')
  if (program === undefined) throw new Error('promtool is missing: run scripts/test-setup.mjs to install it.')
  const folder = await mkdtemp(join(tmpdir(), 'parley-promtool-'))
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    return await new Promise((resolve) => {
      execFile(program, args, { cwd: folder }, (error, stdout, stderr) =>
        resolve(error ? `${error.message}\n${stdout}${stderr}` : ''),
      )
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
