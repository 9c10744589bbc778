// A real Prometheus for tests: a folder of its own, a free port, ended with the others by endPrograms.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Group } from '../../scripts/monitoring/rules.mjs'
import { locatePrometheus } from '../../scripts/prometheus.mjs'
import { Program } from '../support/child-process.js'
import { freePort, until } from '../support/redis-processes.js'

export interface Target {
  readonly port: number
  readonly path: string
  readonly labels: Record<string, string>
}

export interface Sample {
  readonly metric: Record<string, string>
  readonly value: readonly [seconds: number, text: string]
}

interface Answer {
  readonly status: string
  readonly error?: string
  readonly data: { readonly result: Sample[]; readonly groups: { rules: RuleHealth[] }[] }
}

export interface RuleHealth {
  readonly name: string
  readonly health: string
  readonly lastError?: string
}

export class PrometheusProcess {
  readonly #program: Program
  readonly #url: string
  readonly #folder: string

  private constructor(program: Program, { folder, port }: { folder: string; port: number }) {
    this.#program = program
    this.#url = `http://127.0.0.1:${port}`
    this.#folder = folder
  }

  /** Scrapes and evaluates each second. Resolves when it answers. */
  static async start(targets: readonly Target[], groups: readonly Group[]): Promise<PrometheusProcess> {
    const file = await locatePrometheus('prometheus')
    if (file === undefined) throw new Error('There is no prometheus: scripts/test-setup.mjs gets one.')
    const folder = await mkdtemp(join(tmpdir(), 'parley-prometheus-'))
    // A test has no five minutes for days.
    const everySecond = groups.map(({ name, rules }) => ({ name, rules }))
    await writeFile(join(folder, 'rules.yaml'), stringify({ groups: everySecond }))
    const scraped = targets.map(({ labels, path, port }, index) => ({
      job_name: `target-${index}`,
      metrics_path: path,
      static_configs: [{ targets: [`127.0.0.1:${port}`], labels: { ...labels, metrics_path: path } }],
    }))
    const global = { scrape_interval: '1s', evaluation_interval: '1s' }
    await writeFile(
      join(folder, 'prometheus.yaml'),
      stringify({ global, rule_files: ['rules.yaml'], scrape_configs: scraped }),
    )
    const port = await freePort()
    const args = ['--config.file=prometheus.yaml', '--storage.tsdb.path=data']
    const program = new Program('prometheus', [file, ...args, `--web.listen-address=127.0.0.1:${port}`], {
      cwd: folder,
    })
    const prometheus = new PrometheusProcess(program, { folder, port })
    await until('an answer of Prometheus', async () => (await prometheus.#get('/-/ready')).ok)
    return prometheus
  }

  /** Rejects with what Prometheus has against it. */
  async query(expr: string): Promise<Sample[]> {
    const { data, error, status } = await this.#json(`/api/v1/query?query=${encodeURIComponent(expr)}`)
    if (status !== 'success') throw new Error(`${error ?? status}: ${expr}`)
    return data.result
  }

  async rules(): Promise<RuleHealth[]> {
    const { data } = await this.#json('/api/v1/rules')
    return data.groups.flatMap(({ rules }) => rules)
  }

  async stop(): Promise<void> {
    await this.#program.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #json(path: string): Promise<Answer> {
    return (await (await this.#get(path)).json()) as Answer
  }

  #get(path: string): Promise<Response> {
    return fetch(this.#url + path)
  }
}
