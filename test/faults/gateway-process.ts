// `parley gateway` as child processes, and what their ops endpoints report.
import { spawn, type ChildProcess } from 'node:child_process'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { until } from '../support/redis-processes.js'

const Ready = z.object({ ready: z.boolean(), reasons: z.array(z.string()) })

const Stats = z.object({
  connections: z.int(),
  subscriptions: z.int(),
  channels: z.int(),
  /** `tenants` is absent when Redis did not answer. */
  cluster: z.object({
    tenants: z.record(z.string(), z.object({ connections: z.int() })).optional(),
  }),
})

/** The resources that a gateway holds, measured after a garbage collection. */
export interface ResourceUsage {
  readonly sessions: number
  readonly subscriptions: number
  readonly channels: number
  readonly timers: number
  readonly sockets: number
  readonly heapBytes: number
  readonly residentBytes: number
}

/** One `parley gateway` process, on free ports. */
export class GatewayProcess {
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  #output = ''
  port = 0
  opsPort = 0
  alive = true

  private constructor(url: string, folder: string, args: readonly string[]) {
    this.#child = spawn(
      process.execPath,
      [
        // The inspector uses a free port when it is activated by SIGUSR1.
        '--inspect-port=0',
        'dist/cli/main.js',
        'gateway',
        '--redis',
        url,
        '--tenants',
        folder,
        '--host',
        '127.0.0.1',
        '--port',
        '0',
        '--ops-port',
        '0',
        ...args,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    const read = (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-200_000))
    this.#child.stdout?.on('data', read)
    this.#child.stderr?.on('data', read)
    this.#exited = new Promise((resolve) => {
      this.#child.on('exit', (code) => {
        this.alive = false
        resolve(code)
      })
    })
  }

  static async start(url: string, folder: string, args: readonly string[] = []): Promise<GatewayProcess> {
    const gateway = new GatewayProcess(url, folder, args)
    await until(
      'a serving gateway',
      () => {
        if (!gateway.alive) throw new Error(`the gateway ended:\n${gateway.#output}`)
        const line = gateway.#output.split('\n').find((text) => text.includes('"serving"'))
        if (line === undefined) return false
        const entry = JSON.parse(line) as { port: number; opsPort: number }
        gateway.port = entry.port
        gateway.opsPort = entry.opsPort
        return true
      },
      { deadlineMs: 30_000 },
    )
    return gateway
  }

  get output(): string {
    return this.#output
  }

  /** The reasons why the gateway is unready; undefined when it is ready. */
  async unready(): Promise<readonly string[] | undefined> {
    const response = await this.#get('/readyz')
    const { reasons } = Ready.parse(await response.json())
    return response.status === 200 ? undefined : reasons
  }

  async stats(): Promise<z.infer<typeof Stats>> {
    return Stats.parse(await (await this.#get('/stats')).json())
  }

  /** Resident memory in bytes, from the gateway's metrics. */
  async memory(): Promise<number> {
    return (await this.#metric())('process_resident_memory_bytes')
  }

  /** The number of bugs that the gateway has reported. */
  async bugs(): Promise<number> {
    return (await this.#metric())('parley_bugs_total')
  }

  async resourceUsage(): Promise<ResourceUsage> {
    await this.#collectGarbage()
    const metric = await this.#metric()
    const { channels, connections, subscriptions } = await this.stats()
    return {
      sessions: connections,
      subscriptions,
      channels,
      timers: metric('nodejs_active_resources{type="Timeout"}'),
      sockets: metric('nodejs_active_resources{type="TCPSocketWrap"}'),
      heapBytes: metric('nodejs_heap_size_used_bytes'),
      residentBytes: metric('process_resident_memory_bytes'),
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.alive) this.#child.kill(signal)
  }

  /** Resolves with the exit code when the process ends; null when a signal ended it. */
  async exited(): Promise<number | null> {
    return this.#exited
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.#exited
  }

  #get(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.opsPort}${path}`)
  }

  /** Returns a function that looks up a series by its name and labels; NaN when it is absent. */
  async #metric(): Promise<(series: string) => number> {
    const lines = (await (await this.#get('/metrics')).text()).split('\n')
    return (series) => Number(lines.find((line) => line.startsWith(`${series} `))?.split(' ')[1])
  }

  /** Collects garbage through Node's inspector, because garbage would count as held memory. */
  async #collectGarbage(): Promise<void> {
    this.signal('SIGUSR1')
    const url = await until('an inspector', () => /Debugger listening on (ws:\S+)/.exec(this.#output)?.[1])
    const inspector = new WebSocket(url)
    try {
      await new Promise((resolve, reject) => {
        inspector.on('error', reject)
        inspector.on('open', () => inspector.send('{"id":1,"method":"HeapProfiler.collectGarbage"}'))
        inspector.on('message', resolve)
      })
    } finally {
      inspector.terminate()
    }
  }
}
