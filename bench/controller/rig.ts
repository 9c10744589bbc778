// The environment of the controller: a real API server with the CRDs, a Redis and gateways. One clock
// measures both ends.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { parseAllDocuments } from 'yaml'
import { catalogKeys } from '../../src/redis/keys.js'
import { endPrograms, Program } from '../../test/support/child-process.js'
import { GatewayProcess } from '../../test/support/gateway-process.js'
import { KubeServer } from '../../test/support/kube-apiserver.js'
import { KubeClient, type KubeObject } from '../../test/support/kube-client.js'
import { endRedisProcesses, freePort, startRedis, until } from '../../test/support/redis-processes.js'
import { bearerOf } from './kubeconfig.mjs'

export const namespace = 'bench'
const installation = 'bench'

export class Rig {
  readonly kube: KubeServer
  readonly redis: Redis
  readonly redisPort: number
  /** The tenants by name, as the watch last reported them. */
  readonly tenants = new Map<string, KubeObject>()
  readonly #folder: string
  readonly #listener: Redis
  readonly #watchers = new Set<() => void>()
  readonly #catalogWatchers = new Set<() => void>()
  readonly #baselineSeen = new Map<string, () => void>()
  #watch: ClientRequest | undefined
  #stopped = false

  private constructor(parts: { kube: KubeServer; folder: string; redisPort: number }) {
    this.kube = parts.kube
    this.#folder = parts.folder
    this.redisPort = parts.redisPort
    this.redis = new Redis(parts.redisPort, '127.0.0.1')
    this.#listener = new Redis(parts.redisPort, '127.0.0.1')
  }

  static async start(): Promise<Rig> {
    const folder = await mkdtemp(join(tmpdir(), 'parley-bench-'))
    const [kube, redis] = await Promise.all([KubeServer.start(), startRedis()])
    const rig = new Rig({ kube, folder, redisPort: redis.port })
    await writeFile(rig.sealingKeyFile, `one:${randomBytes(32).toString('base64')}\n`)
    for (const file of await readdir('manifests/crds')) {
      if (!file.endsWith('.yaml')) continue
      for (const document of parseAllDocuments(readFileSync(join('manifests/crds', file), 'utf8')))
        await kube.client.create(document.toJS() as KubeObject)
    }
    for (const name of [namespace, 'parley-system'])
      await kube.client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    const plan = {
      apiVersion: 'parley.chat/v1alpha1',
      kind: 'ChatPlan',
      metadata: { name: 'bench' },
      spec: {},
    }
    await until('a served ChatPlan', () => kube.client.create(plan), { deadlineMs: 30_000, everyMs: 100 })
    // Otherwise the watch would receive a 404.
    const tenants = { apiVersion: plan.apiVersion, kind: 'ChatTenant', namespace }
    await until('served ChatTenants', () => kube.client.list(tenants), { deadlineMs: 30_000, everyMs: 100 })
    await rig.#listen()
    return rig
  }

  get sealingKeyFile(): string {
    return join(this.#folder, 'sealing-keys')
  }

  get client(): KubeClient {
    return this.kube.client
  }

  /** Returns another client, whose calls do not wait for the connections of `client`. */
  ownClient(): KubeClient {
    return new KubeClient(bearerOf(readFileSync(this.kube.kubeconfig, 'utf8')))
  }

  async #listen(): Promise<void> {
    const { changes } = catalogKeys(installation)
    await this.#listener.subscribe(changes, 'baseline')
    this.#listener.on('message', (topic: string, message: string) => {
      if (topic === 'baseline') this.#baselineSeen.get(message)?.()
      else for (const check of this.#catalogWatchers) check()
    })
    this.#watchTenants()
  }

  /**
   * Watches the tenants until `stop`, and watches again when the server closes the watch. It does that to
   * slow clients, as this process is on a loaded machine.
   */
  #watchTenants(): void {
    const { ca, token, url } = bearerOf(readFileSync(this.kube.kubeconfig, 'utf8'))
    const path = '/apis/parley.chat/v1alpha1/chattenants?watch=true'
    this.tenants.clear()
    const watch = request(
      new URL(path, url),
      { ca, headers: { Authorization: `Bearer ${token}` } },
      (response) => {
        let rest = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          const lines = (rest + chunk).split('\n')
          rest = lines.pop() ?? ''
          for (const line of lines) {
            const { object, type } = JSON.parse(line) as { type: string; object: KubeObject }
            if (type === 'DELETED') this.tenants.delete(object.metadata.name)
            else this.tenants.set(object.metadata.name, object)
          }
          for (const check of this.#watchers) check()
        })
        response.on('error', () => {})
      },
    )
    watch.on('error', () => {})
    watch.on('close', () => {
      if (!this.#stopped) setTimeout(() => this.#watchTenants(), 100)
    })
    this.#watch = watch
    watch.end()
  }

  async startGateways(count: number): Promise<void> {
    const redis = `redis://127.0.0.1:${this.redisPort}`
    const args = ['--sealing-key-file', this.sealingKeyFile, '--installation', installation]
    await Promise.all(Array.from({ length: count }, () => GatewayProcess.launch({ redis, args })))
  }

  /** Starts a controller. Resolves when it is ready. */
  async startController(identity: string): Promise<Program> {
    const opsPort = await freePort()
    const program = new Program(
      `controller ${identity}`,
      [
        process.execPath,
        'dist/cli/main.js',
        'controller',
        ...['--redis', `redis://127.0.0.1:${this.redisPort}`, '--installation', installation],
        ...['--sealing-key-file', this.sealingKeyFile, '--public-url', 'ws://chat.example.com'],
        ...['--namespace', 'parley-system', '--identity', identity],
        ...['--host', '127.0.0.1', '--ops-port', String(opsPort), '--log-level', 'warn'],
      ],
      { env: { ...process.env, KUBECONFIG: this.kube.kubeconfig } },
    )
    await until('a ready controller', async () => (await fetch(`http://127.0.0.1:${opsPort}/readyz`)).ok, {
      deadlineMs: 60_000,
    })
    return program
  }

  async startBaseline(): Promise<Program> {
    const baseline = new Program('the baseline', [
      process.execPath,
      'bench/controller/baseline.mjs',
      this.kube.kubeconfig,
      String(this.redisPort),
    ])
    await baseline.waitForOutput('"watching"', (output) => (output.includes('watching') ? true : undefined))
    return baseline
  }

  tenantOf(name: string, displayName: string, ns = namespace): KubeObject {
    return {
      apiVersion: 'parley.chat/v1alpha1',
      kind: 'ChatTenant',
      metadata: { name, namespace: ns },
      spec: {
        planRef: { name: 'bench' },
        displayName,
        auth: [{ name: 'backend', type: 'SharedKey', generate: { algorithm: 'HS256' } }],
        channels: [
          {
            name: 'general',
            match: { type: 'Literal', value: 'general' },
            grants: [{ operations: ['Subscribe', 'Publish'], subjects: [{ authenticated: true }] }],
          },
        ],
      },
    }
  }

  /** Returns the stamp of the tenant's record in the catalog. It changes with each revision. */
  async stampOf(name: string, ns = namespace): Promise<string | null> {
    return this.redis.hget(catalogKeys(installation).stamps, `${ns}/${name}`)
  }

  async catalogSize(): Promise<number> {
    return this.redis.hlen(catalogKeys(installation).tenants)
  }

  /** Returns the time at which the stamp of the tenant’s record is no longer `before`. */
  async recorded(name: string, before: string | null, ns = namespace): Promise<number> {
    return this.#when(this.#catalogWatchers, async () => (await this.stampOf(name, ns)) !== before)
  }

  async catalogHolds(count: number): Promise<number> {
    return this.#when(this.#catalogWatchers, async () => (await this.catalogSize()) === count)
  }

  baselineSaw(name: string, generation: number): Promise<number> {
    const message = `${name} ${generation}`
    return new Promise((resolve) => {
      this.#baselineSeen.set(message, () => {
        this.#baselineSeen.delete(message)
        resolve(performance.now())
      })
    })
  }

  /** Returns the time at which the watch showed that `holds` is true. */
  shown(holds: () => boolean): Promise<number> {
    return this.#when(this.#watchers, async () => holds())
  }

  programmed(name: string, generation: number): boolean {
    const status = this.tenants.get(name)?.['status']
    const conditions = (status?.conditions ?? []) as {
      type: string
      status: string
      observedGeneration: number
    }[]
    return conditions.some(
      (condition) =>
        condition.type === 'Programmed' &&
        condition.status === 'True' &&
        condition.observedGeneration >= generation,
    )
  }

  #when(watchers: Set<() => void>, holds: () => Promise<boolean>): Promise<number> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const nowMs = performance.now()
        holds().then((isTrue) => {
          if (!isTrue || !watchers.delete(check)) return
          resolve(nowMs)
        }, reject)
      }
      watchers.add(check)
      check()
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#watch?.destroy()
    this.redis.disconnect()
    this.#listener.disconnect()
    await endPrograms()
    await this.kube.stop()
    await endRedisProcesses()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Returns the CPU time that a process has used since its start, and its resident memory, from /proc. */
export function usageOf({ pid }: Program): { cpuSeconds: number; rssMiB: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticksPerSecond = 100
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    rssMiB: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024,
  }
}
