// The start scripts of the embedded Redis and its Sentinels, as the chart renders them, with real processes.
// Each of the three pods has its own loopback address. (On Linux, all of 127.0.0.0/8 is local.)
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { endPrograms, Program } from '../support/child-process.js'
import { freePort, until } from '../support/redis-processes.js'
import { find, render } from './rendering.js'

const password = 'correct-horse-battery'
/** Long enough for a pod to restart before the Sentinels consider it down. */
const downAfterMs = 5_000
/** Time for the detection, an election, and a second election on a busy machine. */
const failoverMsMax = 60_000

const hosts = ['127.77.0.1', '127.77.0.2', '127.77.0.3']

class Pod {
  readonly host: string
  readonly #folder: string
  readonly #ports: { readonly redis: number; readonly sentinel: number }
  redis: Program | undefined
  sentinel: Program | undefined

  constructor(host: string, where: { folder: string; ports: { redis: number; sentinel: number } }) {
    this.host = host
    this.#folder = join(where.folder, host)
    this.#ports = where.ports
  }

  /** Writes the files of the ConfigMap. Replaces only the lines with folders, addresses and ports. */
  async install(files: Readonly<Record<string, string>>): Promise<void> {
    const { redis, sentinel } = this.#ports
    const replacements: Record<string, string> = {
      'dir /data': `dir ${this.#data}`,
      'bind * -::*': `bind ${this.host}\nport ${redis}`,
    }
    const sentinelReplacements = {
      ...replacements,
      'bind * -::*': `bind ${this.host}`,
      'port 26379': `port ${sentinel}`,
    }
    await mkdir(join(this.#folder, 'scripts'), { recursive: true })
    await mkdir(join(this.#folder, 'run'))
    await mkdir(this.#data)
    for (const [name, text] of Object.entries(files)) {
      const changes = { 'redis.conf': replacements, 'sentinel.conf': sentinelReplacements }[name] ?? {}
      let adapted = text
      for (const [line, replacement] of Object.entries(changes)) {
        expect(adapted.split('\n')).toContain(line)
        adapted = adapted.replace(line, replacement)
      }
      await writeFile(join(this.#folder, 'scripts', name), adapted)
    }
  }

  get #data(): string {
    return join(this.#folder, 'data')
  }

  /** Starts both containers; does not wait for them. */
  start(): void {
    this.redis = this.#run('redis.sh')
    this.sentinel = this.#run('sentinel.sh')
  }

  /** Kills both containers with SIGKILL. */
  async kill(): Promise<void> {
    await Promise.all([this.redis?.kill(), this.sentinel?.kill()])
  }

  /** Deletes the data, as when a pod with an emptyDir is deleted. */
  async wipe(): Promise<void> {
    await rm(this.#data, { recursive: true })
    await mkdir(this.#data)
  }

  /** The decision of redis.sh: the master and its source. */
  async decision(): Promise<string> {
    if (!this.redis) throw new Error('the pod was not started')
    return this.redis.waitForOutput('a decision', (output) => /^the master is (.*)$/m.exec(output)?.[1])
  }

  async cli(...args: string[]): Promise<string> {
    return this.#cli(this.#ports.redis, args)
  }

  /** The master that this pod's Sentinel names. */
  async masterOfSentinel(): Promise<string | undefined> {
    const reply = await this.#cli(this.#ports.sentinel, ['sentinel', 'get-master-addr-by-name', 'parley'])
    return reply.split('\n')[0]
  }

  /** True when the Sentinel knows the two other Sentinels and both replicas. */
  async knowsAll(): Promise<boolean> {
    const lines = (await this.#cli(this.#ports.sentinel, ['sentinel', 'master', 'parley'])).split('\n')
    const valueOf = (name: string) => lines[lines.indexOf(name) + 1]
    return valueOf('num-other-sentinels') === '2' && valueOf('num-slaves') === '2'
  }

  #run(script: string): Program {
    const { redis, sentinel } = this.#ports
    const env = {
      ...process.env,
      ME: this.host,
      NODES: hosts.join(' '),
      DOMAIN: '127.77.0',
      REDISCLI_AUTH: password,
      DATA: this.#data,
      RUN: join(this.#folder, 'run'),
      REDIS_PORT: String(redis),
      SENTINEL_PORT: String(sentinel),
    }
    return new Program(`${script} of ${this.host}`, ['sh', join(this.#folder, 'scripts', script)], { env })
  }

  async #cli(port: number, args: readonly string[]): Promise<string> {
    const target = ['-h', this.host, '-p', String(port), '--raw']
    const env = { ...process.env, REDISCLI_AUTH: password }
    const { stdout } = await promisify(execFile)('redis-cli', [...target, ...args], { timeout: 5_000, env })
    return stdout.trimEnd()
  }
}

let folder: string
let pods: readonly Pod[]
let first: Pod
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-guard-'))
  const { data } = find(await render({ redis: { embedded: { downAfterMs } } }), 'ConfigMap', '-redis')
  const ports = { redis: await freePort(), sentinel: await freePort() }
  pods = hosts.map((host) => new Pod(host, { folder, ports }))
  for (const pod of pods) await pod.install(data)
  first = pods[0]!
})
afterAll(async () => {
  await endPrograms()
  await rm(folder, { recursive: true })
})

/** Each test continues from the state of the previous one, so all tests after a failure fail at once. */
let failed: string | undefined
beforeEach(({ onTestFailed, task }) => {
  if (failed !== undefined) throw new Error(`skipped because "${failed}" failed`)
  onTestFailed(() => void (failed = task.name))
})

/** The master on which all Sentinels agree, with both replicas online. Waits while the master is `except`. */
async function settled(except?: Pod): Promise<Pod> {
  return until(
    'a settled trio',
    async () => {
      const names = await Promise.all(pods.map((pod) => pod.masterOfSentinel()))
      const master = pods.find(({ host }) => names.every((name) => name === host))
      if (!master || master === except) return undefined
      const info = await master.cli('info', 'replication')
      const known = await Promise.all(pods.map((pod) => pod.knowsAll()))
      return (info.match(/state=online/g) ?? []).length === 2 && known.every(Boolean) && master
    },
    { deadlineMs: failoverMsMax, everyMs: 200 },
  )
}

/** Writes `key`. Resolves when the master and both replicas have it. */
async function writeReplicated(master: Pod, key: string): Promise<void> {
  await until('an accepted write', async () => (await master.cli('set', key, 'kept')) === 'OK')
  await until('both copies', async () => (await master.cli('wait', '2', '2000')) === '2')
}

async function expectKept(key: string): Promise<void> {
  for (const pod of pods)
    await until(`"${key}" on ${pod.host}`, async () => (await pod.cli('get', key)) === 'kept')
}

test('at the very first start the first pod is master', async () => {
  for (const pod of pods) pod.start()
  // A slower pod gets the answer from the Sentinels of faster pods, or from the file of its own Sentinel.
  for (const pod of pods) expect(await pod.decision()).toMatch(`${first.host} (`)
  expect(await settled()).toBe(first)
})

test('a master that restarts empty before it is considered down waits for an election, and follows the new master', async () => {
  await writeReplicated(first, 'one')
  await first.kill()
  await first.wipe()
  first.start()
  await first.redis?.waitForOutput('a message that it waits', (output) =>
    output.includes('this server is empty and was named master (sentinels): waiting for the other servers')
      ? true
      : undefined,
  )
  const master = await settled(first)
  expect(await first.decision()).toBe(`${master.host} (sentinels)`)
  await expectKept('one')
})

test('when all pods restart with their data, the last master becomes master again', async () => {
  const master = await settled()
  expect(master).not.toBe(first)
  await writeReplicated(master, 'two')
  await Promise.all(pods.map((pod) => pod.kill()))
  for (const pod of pods) pod.start()
  expect(await settled()).toBe(master)
  await expectKept('two')
})

test('a former master with data is outvoted by two Sentinels', async () => {
  const former = await settled()
  await former.kill()
  const others = pods.filter((pod) => pod !== former)
  const master = await until(
    'a failover',
    async () => {
      const names = await Promise.all(others.map((pod) => pod.masterOfSentinel()))
      const chosen = others.find(({ host }) => names.every((name) => name === host))
      return chosen && (await chosen.cli('role')).startsWith('master') && chosen
    },
    { deadlineMs: failoverMsMax },
  )
  await until('an accepted write', async () => (await master.cli('set', 'three', 'kept')) === 'OK')
  former.start()
  expect(await former.decision()).toBe(`${master.host} (sentinels)`)
  expect(await settled()).toBe(master)
  await expectKept('three')
})

test('an empty first pod waits for the other pods, which may have data', async () => {
  await settled()
  await Promise.all(pods.map((pod) => pod.kill()))
  await first.wipe()
  first.start()
  await first.redis?.waitForOutput('a message that it waits', (output) =>
    output.includes('this server is empty and was named master (first): waiting for the other servers')
      ? true
      : undefined,
  )
  for (const pod of pods) if (pod !== first) pod.start()
  expect(await settled()).not.toBe(first)
  await expectKept('three')
})
