// The scripts that start the embedded Redis and its Sentinels, as the chart renders them, with real processes: three pods are three addresses of
// the loopback. (Linux has all of 127.0.0.0/8 there.)
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
/** Long enough for a pod to be back before it is missed. */
const downAfterMs = 5_000
/** Silence, votes, and on a busy machine a second vote. */
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

  /** The files of the ConfigMap, with the few lines of theirs that say where a pod is. */
  async install(files: Readonly<Record<string, string>>): Promise<void> {
    const { redis, sentinel } = this.#ports
    const here: Record<string, string> = {
      'dir /data': `dir ${this.#data}`,
      'bind * -::*': `bind ${this.host}\nport ${redis}`,
    }
    const ofSentinel = { ...here, 'bind * -::*': `bind ${this.host}`, 'port 26379': `port ${sentinel}` }
    await mkdir(join(this.#folder, 'scripts'), { recursive: true })
    await mkdir(join(this.#folder, 'run'))
    await mkdir(this.#data)
    for (const [name, text] of Object.entries(files)) {
      const changes = { 'redis.conf': here, 'sentinel.conf': ofSentinel }[name] ?? {}
      let placed = text
      for (const [line, other] of Object.entries(changes)) {
        expect(placed.split('\n')).toContain(line)
        placed = placed.replace(line, other)
      }
      await writeFile(join(this.#folder, 'scripts', name), placed)
    }
  }

  get #data(): string {
    return join(this.#folder, 'data')
  }

  /** Both containers; resolves at once. */
  start(): void {
    this.redis = this.#run('redis.sh')
    this.sentinel = this.#run('sentinel.sh')
  }

  /** SIGKILL for both. */
  async kill(): Promise<void> {
    await Promise.all([this.redis?.kill(), this.sentinel?.kill()])
  }

  /** As an emptyDir when its pod goes. */
  async wipe(): Promise<void> {
    await rm(this.#data, { recursive: true })
    await mkdir(this.#data)
  }

  /** What redis.sh decided: the master, and who said so. */
  async decision(): Promise<string> {
    if (!this.redis) throw new Error('it was not started')
    return this.redis.saying('a decision', (said) => /^the master is (.*)$/m.exec(said)?.[1])
  }

  async cli(...args: string[]): Promise<string> {
    return this.#cli(this.#ports.redis, args)
  }

  /** Whom its Sentinel names. */
  async named(): Promise<string | undefined> {
    const reply = await this.#cli(this.#ports.sentinel, ['sentinel', 'get-master-addr-by-name', 'parley'])
    return reply.split('\n')[0]
  }

  /** Its Sentinel knows of both others, and of both replicas. */
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
    const place = ['-h', this.host, '-p', String(port), '--raw']
    const env = { ...process.env, REDISCLI_AUTH: password }
    const { stdout } = await promisify(execFile)('redis-cli', [...place, ...args], { timeout: 5_000, env })
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

/** Each begins where the one before ends: after a failure there is nothing to be learnt from the others. */
let failed: string | undefined
beforeEach(({ onTestFailed, task }) => {
  if (failed !== undefined) throw new Error(`a consequence of "${failed}"`)
  onTestFailed(() => void (failed = task.name))
})

/** The master on which all agree, with both replicas following and all Sentinels in the picture. */
async function settled(besides?: Pod): Promise<Pod> {
  return until(
    'a settled trio',
    async () => {
      const names = await Promise.all(pods.map((pod) => pod.named()))
      const master = pods.find(({ host }) => names.every((name) => name === host))
      if (!master || master === besides) return undefined
      const info = await master.cli('info', 'replication')
      const known = await Promise.all(pods.map((pod) => pod.knowsAll()))
      return (info.match(/state=online/g) ?? []).length === 2 && known.every(Boolean) && master
    },
    { deadlineMs: failoverMsMax, everyMs: 200 },
  )
}

/** On the master and both replicas when it resolves. */
async function keep(master: Pod, key: string): Promise<void> {
  await until('a write that is taken', async () => (await master.cli('set', key, 'kept')) === 'OK')
  await until('both copies', async () => (await master.cli('wait', '2', '2000')) === '2')
}

async function expectKept(key: string): Promise<void> {
  for (const pod of pods)
    await until(`"${key}" on ${pod.host}`, async () => (await pod.cli('get', key)) === 'kept')
}

test('at the very first start the first pod is master', async () => {
  for (const pod of pods) pod.start()
  // Who is late hears it from the Sentinels that were faster, or reads what the one beside it has written.
  for (const pod of pods) expect(await pod.decision()).toMatch(`${first.host} (`)
  expect(await settled()).toBe(first)
})

test('a master that comes back empty before it is missed waits until another is chosen, and follows it', async () => {
  await keep(first, 'one')
  await first.kill()
  await first.wipe()
  first.start()
  await first.redis?.saying('that it waits', (said) =>
    said.includes('named master by sentinels, and empty: waiting for the others') ? true : undefined,
  )
  const master = await settled(first)
  expect(await first.decision()).toBe(`${master.host} (sentinels)`)
  await expectKept('one')
})

test('when all come back with their data, the last master is master again', async () => {
  const master = await settled()
  expect(master).not.toBe(first)
  await keep(master, 'two')
  await Promise.all(pods.map((pod) => pod.kill()))
  for (const pod of pods) pod.start()
  expect(await settled()).toBe(master)
  await expectKept('two')
})

test('a master of the past, with data, is outvoted by two Sentinels', async () => {
  const past = await settled()
  await past.kill()
  const others = pods.filter((pod) => pod !== past)
  const master = await until(
    'a failover',
    async () => {
      const names = await Promise.all(others.map((pod) => pod.named()))
      const chosen = others.find(({ host }) => names.every((name) => name === host))
      return chosen && (await chosen.cli('role')).startsWith('master') && chosen
    },
    { deadlineMs: failoverMsMax },
  )
  await until('a write that is taken', async () => (await master.cli('set', 'three', 'kept')) === 'OK')
  past.start()
  expect(await past.decision()).toBe(`${master.host} (sentinels)`)
  expect(await settled()).toBe(master)
  await expectKept('three')
})

test('an empty first pod, alone, waits for those who may have something', async () => {
  await settled()
  await Promise.all(pods.map((pod) => pod.kill()))
  await first.wipe()
  first.start()
  await first.redis?.saying('that it waits', (said) =>
    said.includes('named master by first, and empty: waiting for the others') ? true : undefined,
  )
  for (const pod of pods) if (pod !== first) pod.start()
  expect(await settled()).not.toBe(first)
  await expectKept('three')
})
