// Starts real Redis and Sentinel processes for tests, on free ports and in a temporary folder. They end with
// the test run, even when it crashes.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { RedisProxy } from './redis-proxy.js'

/**
 * Polls until `check` returns something other than undefined, null or false; an error counts as a failed
 * check. Rejects after `deadlineMs`. `what` names the condition.
 */
export async function until<Value>(
  what: string,
  check: () => Value | Promise<Value>,
  { deadlineMs = 30_000, everyMs = 20 } = {},
): Promise<Exclude<Value, undefined | null | false>> {
  const endMs = performance.now() + deadlineMs
  let last: unknown
  while (performance.now() < endMs) {
    try {
      const value = await check()
      if (value !== undefined && value !== null && value !== false) {
        return value as Exclude<Value, undefined | null | false>
      }
    } catch (error) {
      last = error
    }
    await sleep(everyMs)
  }
  throw new Error(`${what} did not happen within ${deadlineMs} ms`, { cause: last })
}

export interface RedisOptions {
  /** Additional lines of redis.conf. */
  readonly config?: readonly string[]
  /**
   * Starts a RedisProxy in front of the process; the address of the proxy is then announced to clients and
   * replicas.
   */
  readonly proxied?: boolean
  /** Arguments that redis-cli needs to connect: `--pass`, `--tls`. */
  readonly cliArgs?: readonly string[]
  /** Environment variables in addition to those of this process. */
  readonly env?: Record<string, string> | undefined
}

export interface TrioOptions extends RedisOptions {
  readonly masterName?: string
  readonly downAfterMs?: number
  readonly failoverTimeoutMs?: number
  /** `min-replicas-to-write` of the nodes. Default 0. */
  readonly minReplicas?: number
  /** Environment variables of the replicas only. */
  readonly replicaEnv?: Record<string, string> | undefined
  /** The number of data nodes; there are always three Sentinels. Default 3. */
  readonly nodes?: number
  /** Additional lines of each sentinel.conf, such as `sentinel auth-pass mymaster …`. */
  readonly sentinelConfig?: readonly string[]
  /** Arguments that redis-cli needs to connect to the Sentinels. */
  readonly sentinelCliArgs?: readonly string[]
}

const running = new Set<RedisProcess>()
const proxies = new Set<RedisProxy>()
let folder: Promise<string> | undefined

/**
 * One Redis or Sentinel process that can be killed, frozen and restarted on the same port with the same
 * files.
 */
export class RedisProcess {
  readonly name: string
  /** The port of the process itself, which bypasses the proxy. */
  readonly ownPort: number
  readonly proxy: RedisProxy | undefined
  readonly #args: readonly string[]
  readonly #cliArgs: readonly string[]
  readonly #env: Record<string, string>
  #shell: ChildProcess | undefined
  #pid = 0
  #output = ''

  constructor(
    name: string,
    options: {
      port: number
      proxy?: RedisProxy | undefined
      args: readonly string[]
      cliArgs: readonly string[]
      env?: Record<string, string> | undefined
    },
  ) {
    this.name = name
    this.ownPort = options.port
    this.proxy = options.proxy
    this.#args = options.args
    this.#cliArgs = options.cliArgs
    this.#env = options.env ?? {}
  }

  /** The port for clients: the port of the proxy, if there is one. */
  get port(): number {
    return this.proxy?.port ?? this.ownPort
  }

  get pid(): number {
    return this.#pid
  }

  get alive(): boolean {
    return this.#shell !== undefined
  }

  /** The log output since the last start. */
  get output(): string {
    return this.#output
  }

  /** Starts the process and resolves when it accepts connections. */
  async start({ deadlineMs = 10_000 } = {}): Promise<this> {
    // The shell kills its child at the end of its input, which is also reached when this process is killed.
    const guard = 'redis-server "$@" & echo "guarded $!"; exec >&- 2>&-; read -r _; kill -9 $!; wait'
    const shell = spawn('sh', ['-c', guard, 'sh', ...this.#args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#env },
    })
    this.#shell = shell
    this.#output = ''
    running.add(this)
    const ready = new Promise<void>((resolve, reject) => {
      const read = (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-100_000)
        this.#pid = Number(/guarded (\d+)/.exec(this.#output)?.[1] ?? 0)
        if (this.#pid !== 0 && /Ready to accept connections|\+monitor master/.test(this.#output)) resolve()
      }
      shell.stdout.on('data', read)
      shell.stderr.on('data', read)
      shell.on('error', reject)
      shell.stdout.on('close', () => {
        reject(new Error(`${this.name} ended:\n${this.#output.slice(-1_500)}`))
        // The process ended by itself, so its guard ends too.
        shell.stdin.end()
      })
    })
    shell.on('exit', () => {
      if (this.#shell === shell) this.#shell = undefined
      running.delete(this)
    })
    await Promise.race([
      ready,
      sleep(deadlineMs).then(() =>
        Promise.reject(new Error(`${this.name} did not start:\n${this.#output.slice(-1_500)}`)),
      ),
    ])
    return this
  }

  /** Sends SIGKILL and resolves when the process has ended. */
  async kill(): Promise<void> {
    const shell = this.#shell
    if (!shell) return
    const gone = new Promise<void>((resolve) => shell.on('exit', () => resolve()))
    // The guard would also kill the process at the end of its input, but more slowly.
    if (this.#pid !== 0) process.kill(this.#pid, 'SIGKILL')
    shell.stdin?.end()
    await gone
  }

  /** Sends SIGSTOP: the process keeps its connections open and answers nothing. */
  stop(): void {
    process.kill(this.#pid, 'SIGSTOP')
  }

  cont(): void {
    process.kill(this.#pid, 'SIGCONT')
  }

  /** Restarts with the same files, including the configuration that Sentinel has rewritten. */
  async restart(): Promise<this> {
    await this.kill()
    return this.start()
  }

  /** Runs redis-cli on the port of the process itself. Rejects when the server does not answer within 5 s. */
  async cli(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(
      'redis-cli',
      ['-p', String(this.ownPort), ...this.#cliArgs, ...args],
      {
        timeout: 5_000,
      },
    )
    return stdout.trimEnd()
  }

  async role(): Promise<string> {
    return (await this.cli('ROLE')).split('\n')[0] ?? ''
  }
}

export class SentinelTrio {
  readonly masterName: string
  readonly nodes: readonly RedisProcess[]
  readonly sentinels: readonly RedisProcess[]

  constructor(parts: {
    masterName: string
    nodes: readonly RedisProcess[]
    sentinels: readonly RedisProcess[]
  }) {
    this.masterName = parts.masterName
    this.nodes = parts.nodes
    this.sentinels = parts.sentinels
  }

  get url(): string {
    return `redis+sentinel://${this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${this.masterName}`
  }

  /** Resolves with the master that a majority of the Sentinels reports. */
  async master(): Promise<RedisProcess> {
    return until('the Sentinels’ agreement', async () => {
      const ports = await Promise.all(this.sentinels.map((sentinel) => this.#masterPortBy(sentinel)))
      return this.nodes.find(
        ({ port }) => ports.filter((named) => named === port).length > this.sentinels.length / 2,
      )
    })
  }

  async replicas(): Promise<RedisProcess[]> {
    const master = await this.master()
    return this.nodes.filter((node) => node !== master)
  }

  /**
   * Resolves with the new master when the Sentinels agree on another master than `old` and that node reports
   * the role itself. After a split vote the Sentinels wait for twice the failover timeout before the next
   * attempt.
   */
  async failedOver(old: RedisProcess, deadlineMs = 60_000): Promise<RedisProcess> {
    return until(
      'a failover',
      async () => {
        const master = await this.master()
        return master !== old && (await master.role()) === 'master' && master
      },
      { deadlineMs },
    )
  }

  /**
   * Resolves with the master when every running replica follows it and all Sentinels see that, so that a
   * failover can succeed.
   */
  async settled(deadlineMs = 60_000): Promise<RedisProcess> {
    return until(
      'a settled trio',
      async () => {
        const master = await this.master()
        const replicas = this.nodes.filter((node) => node !== master && node.alive)
        const info = await Promise.all(replicas.map((node) => node.cli('INFO', 'replication')))
        const placed = info.every(
          (text) => text.includes(`master_port:${master.port}\r`) && text.includes('master_link_status:up'),
        )
        const views = await Promise.all(this.sentinels.map((sentinel) => this.#goodReplicas(sentinel)))
        return placed && views.every((good) => good === replicas.length) && master
      },
      { deadlineMs, everyMs: 50 },
    )
  }

  /**
   * Starts a killed node directly as a replica, because the Sentinels would need ten seconds to reconfigure
   * it.
   */
  async rejoin(node: RedisProcess): Promise<void> {
    const master = await this.master()
    await node.restart()
    await node.cli('REPLICAOF', '127.0.0.1', String(master.port))
    await this.settled()
  }

  async #masterPortBy(sentinel: RedisProcess): Promise<number> {
    if (!sentinel.alive) return 0
    const [, port] = (await sentinel.cli('SENTINEL', 'get-master-addr-by-name', this.masterName)).split('\n')
    return Number(port)
  }

  async #goodReplicas(sentinel: RedisProcess): Promise<number> {
    const lines = (await sentinel.cli('SENTINEL', 'replicas', this.masterName)).split('\n')
    let good = 0
    lines.forEach((line, index) => {
      if (line === 'flags' && lines[index + 1] === 'slave') good += 1
    })
    return good
  }
}

/** Starts a standalone Redis without persistence, unless `config` enables it. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisProcess> {
  return startNode('redis', options)
}

/** Starts a replica of `master`. */
export async function startReplica(master: RedisProcess, options: RedisOptions = {}): Promise<RedisProcess> {
  return startNode('replica', {
    ...options,
    config: [...(options.config ?? []), `replicaof 127.0.0.1 ${master.port}`],
  })
}

/**
 * Starts one master (the first node), its replicas and three Sentinels that already know each other, with a
 * quorum of 2.
 */
export async function startSentinelTrio(options: TrioOptions = {}): Promise<SentinelTrio> {
  const { masterName = 'mymaster', minReplicas = 0, nodes: count = 3 } = options
  const config = [...(options.config ?? []), `min-replicas-to-write ${minReplicas}`, 'min-replicas-max-lag 5']
  const master = await startNode('node0', { ...options, config })
  const replicas = await Promise.all(
    Array.from({ length: count - 1 }, (_, index) =>
      startNode(`node${index + 1}`, {
        ...options,
        config: [...config, `replicaof 127.0.0.1 ${master.port}`],
        env: options.replicaEnv,
      }),
    ),
  )
  const sentinels = await startSentinels([{ ...options, masterName, master, replicas }])
  const trio = new SentinelTrio({ masterName, nodes: [master, ...replicas], sentinels })
  await trio.settled()
  return trio
}

interface MonitoredSet extends TrioOptions {
  readonly masterName: string
  readonly master: RedisProcess
  readonly replicas: readonly RedisProcess[]
}

/** Starts three Sentinels that monitor any number of masters. */
export async function startSentinels(monitored: readonly MonitoredSet[]): Promise<RedisProcess[]> {
  const members = await Promise.all(
    [0, 1, 2].map(async () => ({ port: await freePort(), id: randomBytes(20).toString('hex') })),
  )
  return Promise.all(
    members.map(({ id, port }, index) => {
      const others = members.filter((member) => member.id !== id)
      const config = [
        `sentinel myid ${id}`,
        ...monitored.flatMap((set) => {
          const {
            downAfterMs = 1_000,
            failoverTimeoutMs = 10_000,
            master,
            masterName,
            replicas,
            sentinelConfig = [],
          } = set
          return [
            `sentinel monitor ${masterName} 127.0.0.1 ${master.port} 2`,
            `sentinel down-after-milliseconds ${masterName} ${downAfterMs}`,
            `sentinel failover-timeout ${masterName} ${failoverTimeoutMs}`,
            `sentinel parallel-syncs ${masterName} 1`,
            ...sentinelConfig,
            ...replicas.map((replica) => `sentinel known-replica ${masterName} 127.0.0.1 ${replica.port}`),
            ...others.map(
              (other) => `sentinel known-sentinel ${masterName} 127.0.0.1 ${other.port} ${other.id}`,
            ),
          ]
        }),
      ]
      const cliArgs = monitored.flatMap(({ sentinelCliArgs = [] }) => sentinelCliArgs)
      return startProcess(`sentinel${index}`, { port, config, args: ['--sentinel'], cliArgs })
    }),
  )
}

/**
 * Ends all processes that this file started, by their process ids. Call it in `afterAll`; remaining processes
 * end with the test process.
 */
export async function endRedisProcesses(): Promise<void> {
  await Promise.all([...running].map((process) => process.kill()))
  await Promise.all([...proxies].map((proxy) => proxy.close()))
  proxies.clear()
  if (folder) await rm(await folder, { recursive: true, force: true })
  folder = undefined
}

async function startNode(
  name: string,
  { cliArgs = [], config = [], env, proxied = false }: RedisOptions,
): Promise<RedisProcess> {
  const port = await freePort()
  const proxy = proxied ? await startProxy(port) : undefined
  const announced = proxy ? ['replica-announce-ip 127.0.0.1', `replica-announce-port ${proxy.port}`] : []
  return startProcess(name, { port, proxy, config: [...nodeDefaults, ...announced, ...config], cliArgs, env })
}

/** Configuration lines of every node: no persistence, and replication without delay. */
export const nodeDefaults: readonly string[] = [
  'save ""',
  'appendonly no',
  'repl-diskless-sync-delay 0',
  'repl-ping-replica-period 1',
]

/** Starts a proxy that `endRedisProcesses` closes. */
export async function startProxy(port: number): Promise<RedisProxy> {
  const proxy = await new RedisProxy(port).start(await freePort())
  proxies.add(proxy)
  return proxy
}

/**
 * Starts any Redis process with the given `config`, and with `files` in its folder. `{port}` in a line of
 * `config` stands for its port.
 */
export async function startProcess(
  name: string,
  options: {
    port: number
    proxy?: RedisProxy | undefined
    config: readonly string[]
    args?: readonly string[]
    cliArgs?: readonly string[]
    files?: Readonly<Record<string, string>>
    env?: Record<string, string> | undefined
  },
): Promise<RedisProcess> {
  const { args = [], cliArgs = [], config, env, files = {}, port, proxy } = options
  folder ??= mkdtemp(join(tmpdir(), 'parley-redis-'))
  const home = join(await folder, `${name}-${port}`)
  await mkdir(home)
  for (const [file, text] of Object.entries(files)) await writeFile(join(home, file), text)
  const file = join(home, 'redis.conf')
  const port0 = config.some((line) => line.startsWith('tls-port ')) ? 0 : port
  const lines = [`port ${port0}`, 'bind 127.0.0.1', `dir ${home}`, 'daemonize no', ...config]
  await writeFile(file, lines.map((line) => line.replaceAll('{port}', String(port)) + '\n').join(''))
  return new RedisProcess(`${name}:${port}`, { port, proxy, args: [file, ...args], cliArgs, env }).start()
}

const taken = new Set<number>()
/**
 * Each test process has its own range of ports: between the check and the start another process could
 * otherwise take the port.
 */
const portsPerProcess = 1_500
const firstPort = 15_000 + (Number(process.env['VITEST_POOL_ID'] ?? 0) % 8) * portsPerProcess

/**
 * Returns a free port below the range of outgoing connections, so that a restarted Redis finds its port free.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = firstPort + Math.floor(Math.random() * portsPerProcess)
    if (taken.has(port)) continue
    taken.add(port)
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer()
      server.on('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}
