// promtool on rules and time lines that tests make: what an alert does when minutes pass.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Group } from '../../scripts/monitoring/rules.mjs'
import { locatePrometheus } from '../../scripts/prometheus.mjs'

/** What a series is while all is well, while it is nearly too much, and in trouble. A counter: by minute. */
export interface Levels {
  readonly kind: 'gauge' | 'counter'
  readonly calm: number
  readonly nearly: number
  readonly trouble: number
}

export type Level = 'calm' | 'nearly' | 'trouble'
export type Phase = readonly [minutes: number, level: Level]

/** One sample a minute, in promtool's short words. */
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

export interface Look {
  readonly minute: number
  /** How many fire, of this name and severity. */
  readonly firing: number
}

export interface TimeLine {
  readonly series: Record<string, string>
  readonly alert: string
  readonly severity: string
  readonly looks: readonly Look[]
}

/** What promtool has against it; empty when all is as expected. */
export async function complaints(groups: readonly Group[], timeLine: TimeLine): Promise<string> {
  const { alert, looks, series, severity } = timeLine
  const test = {
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: looks.map(({ firing, minute }) => ({
      expr: `count(ALERTS{alertname="${alert}",severity="${severity}",alertstate="firing"})`,
      eval_time: `${minute}m`,
      exp_samples: firing === 0 ? [] : [{ labels: '{}', value: firing }],
    })),
  }
  return promtool(['test', 'rules', 'test.yaml'], {
    'rules.yaml': stringify({ groups: neededFor(alert, groups) }),
    'test.yaml': stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests: [test] }),
  })
}

/** A time line is long, and days of records are needed by those alone that look at them. */
function neededFor(alert: string, groups: readonly Group[]): readonly Group[] {
  return groups.filter(
    ({ name, rules }) =>
      rules.some((rule) => 'alert' in rule && rule.alert === alert) ||
      (alert.endsWith('BudgetBurn') && /slo(-days)?$/.test(name)),
  )
}

/** What `promtool check rules` has against them; empty when nothing. */
export function checkRules(groups: readonly Group[]): Promise<string> {
  return promtool(['check', 'rules', 'rules.yaml'], { 'rules.yaml': stringify({ groups }) })
}

/** What `promtool check config` has against a configuration with these jobs; empty when nothing. */
export function checkScrapes(jobs: unknown): Promise<string> {
  return promtool(['check', 'config', '--syntax-only', 'prometheus.yaml'], {
    'prometheus.yaml': stringify({ scrape_configs: jobs }),
  })
}

async function promtool(args: string[], files: Record<string, string>): Promise<string> {
  const program = await locatePrometheus('promtool')
  if (program === undefined) throw new Error('There is no promtool: scripts/test-setup.mjs gets one.')
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
