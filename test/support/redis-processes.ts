// Real Redis and Sentinel processes for tests, on free ports, in a temporary folder, ended with the test run however it ends.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { RedisProxy } from './redis-proxy.js'

/** Polls until `check` gives something else than undefined, null or false. An error counts as not yet. */
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
  /** Lines of redis.conf, for what the default is not good for. */
  readonly config?: readonly string[]
  /** Behind a RedisProxy, which is then its address for everybody. */
  readonly proxied?: boolean
  /** What redis-cli needs to get in: `--pass`, `--tls`. */
  readonly cliArgs?: readonly string[]
  /** Beside what this process has. */
  readonly env?: Record<string, string> | undefined
}

export interface TrioOptions extends RedisOptions {
  readonly masterName?: string
  readonly downAfterMs?: number
  readonly failoverTimeoutMs?: number
  /** A master refuses writes with fewer good replicas. Default 0. */
  readonly minReplicas?: number
  /** Of the replicas alone. */
  readonly replicaEnv?: Record<string, string> | undefined
  /** Data nodes; three Sentinels in any case. */
  readonly nodes?: number
  /** Lines of each sentinel.conf, such as `sentinel auth-pass mymaster …`. */
  readonly sentinelConfig?: readonly string[]
  /** What redis-cli needs to get in at the Sentinels. */
  readonly sentinelCliArgs?: readonly string[]
}

const running = new Set<RedisProcess>()
const proxies = new Set<RedisProxy>()
let folder: Promise<string> | undefined

/** One Redis, or one Sentinel: a process that can die, freeze and come back on the same port with the same files. */
export class RedisProcess {
  readonly name: string
  /** Of the process itself. */
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

  /** Where it is met: its proxy's, when it has one. */
  get port(): number {
    return this.proxy?.port ?? this.ownPort
  }

  get pid(): number {
    return this.#pid
  }

  get alive(): boolean {
    return this.#shell !== undefined
  }

  /** What it has logged since its start. */
  get output(): string {
    return this.#output
  }

  /** Resolves when it serves. */
  async start({ deadlineMs = 10_000 } = {}): Promise<this> {
    // The shell outlives nobody: at the end of its input, which comes also when this process is killed, it ends its child.
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
        // It ended by itself; so does its guard.
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

  /** SIGKILL. Resolves when it is gone. */
  async kill(): Promise<void> {
    const shell = this.#shell
    if (!shell) return
    const gone = new Promise<void>((resolve) => shell.on('exit', () => resolve()))
    // At the end of its input the guard would kill it as well; this is at once.
    if (this.#pid !== 0) process.kill(this.#pid, 'SIGKILL')
    shell.stdin?.end()
    await gone
  }

  /** SIGSTOP: alive, holding its connections, answering nobody. */
  stop(): void {
    process.kill(this.#pid, 'SIGSTOP')
  }

  cont(): void {
    process.kill(this.#pid, 'SIGCONT')
  }

  /** With the files it had: what Sentinel wrote into its configuration holds. */
  async restart(): Promise<this> {
    await this.kill()
    return this.start()
  }

  /** redis-cli, past the proxy. Rejects when it does not answer within 5 s. */
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

  /** Whom more than half of the Sentinels name. */
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
   * Resolves with the new master when the Sentinels agree on another than `old` and it says so itself. They may split their vote, and wait
   * for twice the failover timeout before the next.
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

  /** Resolves when every living node is in its place and the Sentinels see it: the next failover may come. */
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

  /** Starts a dead node as a replica at once; the Sentinels would take ten seconds to tell it. */
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

/** A standalone Redis that keeps nothing on disk, unless `config` says otherwise. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisProcess> {
  return startNode('redis', options)
}

/** A Redis that follows `master`. */
export async function startReplica(master: RedisProcess, options: RedisOptions = {}): Promise<RedisProcess> {
  return startNode('replica', {
    ...options,
    config: [...(options.config ?? []), `replicaof 127.0.0.1 ${master.port}`],
  })
}

/** One master (the first node), its replicas and three Sentinels that know each other already, with a quorum of 2. */
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

interface Watched extends TrioOptions {
  readonly masterName: string
  readonly master: RedisProcess
  readonly replicas: readonly RedisProcess[]
}

/** Three Sentinels for any number of masters. */
export async function startSentinels(watched: readonly Watched[]): Promise<RedisProcess[]> {
  const places = await Promise.all(
    [0, 1, 2].map(async () => ({ port: await freePort(), id: randomBytes(20).toString('hex') })),
  )
  return Promise.all(
    places.map(({ id, port }, index) => {
      const others = places.filter((place) => place.id !== id)
      const config = [
        `sentinel myid ${id}`,
        ...watched.flatMap((set) => {
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
      const cliArgs = watched.flatMap(({ sentinelCliArgs = [] }) => sentinelCliArgs)
      return startProcess(`sentinel${index}`, { port, config, args: ['--sentinel'], cliArgs })
    }),
  )
}

/** Ends everything that this file started, by its own process id. For `afterAll`; what is forgotten ends with the test process. */
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

/** Keeps nothing, and replicates at once. */
export const nodeDefaults: readonly string[] = [
  'save ""',
  'appendonly no',
  'repl-diskless-sync-delay 0',
  'repl-ping-replica-period 1',
]

/** Closed by `endRedisProcesses`. */
export async function startProxy(port: number): Promise<RedisProxy> {
  const proxy = await new RedisProxy(port).start(await freePort())
  proxies.add(proxy)
  return proxy
}

/** Any Redis: what it needs is in `config`, and in `files` that lie in its folder before it starts. */
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
  // `{port}` for what is known only now.
  await writeFile(file, lines.map((line) => line.replaceAll('{port}', String(port)) + '\n').join(''))
  return new RedisProcess(`${name}:${port}`, { port, proxy, args: [file, ...args], cliArgs, env }).start()
}

const taken = new Set<number>()
/** Each of the processes that run tests side by side has its own: between the look and the start another could take the port. */
const portsEach = 1_500
const firstPort = 15_000 + (Number(process.env['VITEST_POOL_ID'] ?? 0) % 8) * portsEach

/** Below the range that the system takes for outgoing connections: a restarted Redis must find its port free. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = firstPort + Math.floor(Math.random() * portsEach)
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
