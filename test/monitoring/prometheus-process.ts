// Runs Prometheus for tests, with its own folder and a free port. endPrograms() stops it with the other
// programs.
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

interface ApiResponse {
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

  /** Starts Prometheus with a scrape and evaluation interval of one second. Resolves when it is ready. */
  static async start(targets: readonly Target[], groups: readonly Group[]): Promise<PrometheusProcess> {
    const file = await locatePrometheus('prometheus')
    if (file === undefined)
      throw new Error('prometheus is missing: run scripts/test-setup.mjs to install it.')
    const folder = await mkdtemp(join(tmpdir(), 'parley-prometheus-'))
    // Without the interval of the groups, because a test cannot wait five minutes.
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
    await until('Prometheus to be ready', async () => (await prometheus.#get('/-/ready')).ok)
    return prometheus
  }

  /** Evaluates an instant query. Rejects with the error of Prometheus. */
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

  async #json(path: string): Promise<ApiResponse> {
    return (await (await this.#get(path)).json()) as ApiResponse
  }

  #get(path: string): Promise<Response> {
    return fetch(this.#url + path)
  }
}
