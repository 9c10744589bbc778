// A test environment with an API server, a Redis, gateways and controllers, and helpers that observe a tenant
// in the API server and at the gateways.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT, importPKCS8 } from 'jose'
import { ChatClient, plainGet, type ChatOptions } from './chat-client.js'
import { endPrograms } from './child-process.js'
import { endControllers, startController, type ControllerTarget, type TestController } from './controller.js'
import type { ControllerOptions } from '../../src/controller/options.js'
import { catalogKeys } from '../../src/redis/keys.js'
import type { LiveRedis } from '../../src/redis/link.js'
import { decodeRecord } from '../../src/catalog/redis/record.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { startGateways, type GatewayProcess } from './gateway-process.js'
import { KubeServer } from './kube-apiserver.js'
import type { KubeClient, KubeObject } from './kube-client.js'
import { apiVersion, chatPlan, chatTenant, installCrds, namespace } from './kube-parley.js'
import { keyLineA, sealingKeys } from './redis-catalog.js'
import { endLinks, startLink, type TestLink } from './redis-links.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from './redis-processes.js'

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly observedGeneration: number
}

/** Channel rules that let every authenticated user read and write the channel `lobby`. */
export const openRules = [
  {
    name: 'lobby',
    match: { type: 'Literal', value: 'lobby' },
    grants: [{ operations: ['Subscribe', 'Publish'], subjects: [{ authenticated: true }] }],
  },
]

/** The spec of a tenant with a generated key. */
export const generated = {
  auth: [{ name: 'backend', type: 'SharedKey', generate: { algorithm: 'HS256' } }],
  channels: openRules,
}

/** Returns a ChatTenant in `demo`, the namespace that `TestEnvironment.start` creates. */
export function demoTenant(name: string, spec: object = generated) {
  return chatTenant(spec, { name, ns: 'demo' })
}

/** The condition Ready of a tenant without failures. */
export const ready = { status: 'True', reason: 'Available' }

/** The HTTP status that `TestEnvironment.chatStatus` returns for a valid token: 426 Upgrade Required. */
export const admitted = 426

const environments = new Set<TestEnvironment>()

export class TestEnvironment {
  readonly kube: KubeServer
  readonly gateways: readonly GatewayProcess[]
  readonly target: ControllerTarget
  readonly sealingKeyFile: string
  readonly redisProcess: RedisProcess
  readonly #folder: string
  readonly #controllers: TestController[] = []
  #link: TestLink | undefined

  private constructor(parts: {
    kube: KubeServer
    gateways: readonly GatewayProcess[]
    target: ControllerTarget
    sealingKeyFile: string
    redisProcess: RedisProcess
    folder: string
  }) {
    this.kube = parts.kube
    this.gateways = parts.gateways
    this.target = parts.target
    this.sealingKeyFile = parts.sealingKeyFile
    this.redisProcess = parts.redisProcess
    this.#folder = parts.folder
  }

  /** Starts an environment with the plan `free` and the namespace `demo`. */
  static async start({ gateways = 1, installation = 'test/parley' } = {}): Promise<TestEnvironment> {
    const folder = await mkdtemp(join(tmpdir(), 'parley-controller-'))
    const sealingKeyFile = join(folder, 'sealing')
    await writeFile(sealingKeyFile, `${keyLineA}\n`)
    const [kube, redisProcess] = await Promise.all([KubeServer.start(), startRedis()])
    const redis = `redis://127.0.0.1:${redisProcess.port}`
    const args = ['--sealing-key-file', sealingKeyFile, '--installation', installation]
    const [started] = await Promise.all([startGateways(gateways, { redis, args }), installCrds(kube.client)])
    await kube.client.apply(chatPlan())
    await kube.client.apply(namespace('demo'))
    const target = { kubeconfig: kube.kubeconfig, redis, installation }
    const environment = new TestEnvironment({
      kube,
      gateways: started,
      target,
      sealingKeyFile,
      redisProcess,
      folder,
    })
    environments.add(environment)
    return environment
  }

  get client(): KubeClient {
    return this.kube.client
  }

  /** Stops the API server. `endEnvironments` stops the rest. */
  async stop(): Promise<void> {
    await this.kube.stop()
    await rm(this.#folder, { recursive: true, force: true })
  }

  controller(options: Partial<ControllerOptions> = {}): TestController {
    const started = startController(this.target, options)
    this.#controllers.push(started)
    return started
  }

  /** The last five warnings and errors in the logs of the controllers. */
  get errorLog(): string {
    const lines = this.#controllers.flatMap(({ logged }) => logged().split('\n'))
    return lines
      .filter((line) => /"level":[456]0/.test(line))
      .slice(-5)
      .join('\n')
  }

  tenant(name = 'acme', ns = 'demo'): Promise<KubeObject | undefined> {
    return this.client.find({ apiVersion, kind: 'ChatTenant', namespace: ns, name })
  }

  secret(name: string, ns = 'demo'): Promise<KubeObject | undefined> {
    return this.client.find({ apiVersion: 'v1', kind: 'Secret', namespace: ns, name })
  }

  async secretText(name: string, key: string, ns = 'demo'): Promise<string> {
    const secret = await this.secret(name, ns)
    return Buffer.from(secret?.['data']?.[key] ?? '', 'base64').toString()
  }

  /**
   * Waits until the condition, for the present generation of the object, matches `expected`, and returns the
   * object. Rejects with the actual status.
   */
  async condition(
    type: string,
    expected: { status: string; reason?: string },
    { name = 'acme', ns = 'demo', kind = 'ChatTenant', deadlineMs = 20_000 } = {},
  ): Promise<KubeObject> {
    let last: KubeObject | undefined
    const what = `${type}=${expected.status} (${expected.reason ?? 'any reason'}) of ${kind} ${name}`
    try {
      const matches = async (): Promise<boolean> => {
        last = await this.client.find({ apiVersion, kind, namespace: ns, name })
        const found = conditionOf(last, type)
        return (
          found?.status === expected.status &&
          found.observedGeneration === last?.metadata['generation'] &&
          (expected.reason === undefined || found.reason === expected.reason)
        )
      }
      await until(what, matches, { deadlineMs })
    } catch (error) {
      const found = JSON.stringify(last?.['status'], undefined, 1)
      throw new Error(`${what}; it is ${found}\n${this.errorLog}`, { cause: error })
    }
    return last as KubeObject
  }

  /** Applies a tenant in `demo`, waits until it is Ready, and returns it with a token. */
  async readyTenant(
    name: string,
    spec: object = generated,
    alg = 'HS256',
  ): Promise<{ object: KubeObject; token: string }> {
    await this.client.apply(demoTenant(name, spec))
    const object = await this.condition('Ready', ready, { name })
    return { object, token: await this.token({ secret: `${name}-credentials`, alg }) }
  }

  /**
   * Returns the HTTP status of a plain GET at the tenant's chat endpoint: `admitted` when a WebSocket would
   * be accepted.
   */
  async chatStatus(
    token: string,
    { tenant = 'demo/acme', gateway = this.gateways[0] } = {},
  ): Promise<number> {
    const { status } = await plainGet(`${gateway?.ws}/${tenant}/ws?token=${token}`)
    return status ?? 0
  }

  async untilChatStatus(token: string, status: number, options: { tenant?: string } = {}): Promise<void> {
    await until(`${status} from the chat endpoint of ${options.tenant ?? 'demo/acme'}`, async () => {
      const answers = await Promise.all(
        this.gateways.map((gateway) => this.chatStatus(token, { ...options, gateway })),
      )
      return answers.every((answer) => answer === status)
    })
  }

  /** Reads the tenant's policy from the catalog. */
  async policy(name: string, ns = 'demo'): Promise<TenantPolicy | undefined> {
    const key = `${ns}/${name}`
    const text = await this.hget(catalogKeys(this.target.installation).tenants, key)
    if (text === null) return undefined
    const decoded = decodeRecord(key, text, sealingKeys())
    return decoded.kind === 'good' ? decoded.policy : undefined
  }

  async hget(hash: string, field: string): Promise<string | null> {
    const { client } = await this.redis()
    return client.hget(hash, field)
  }

  /** A Redis connection for the test itself. */
  async redis(): Promise<LiveRedis> {
    this.#link ??= startLink(this.target.redis)
    return this.#link.link.ready(5_000)
  }

  /** Opens a chat client and waits until it has received its first messages. */
  async chat(token: string, tenant = 'demo/acme', options: ChatOptions = {}): Promise<ChatClient> {
    const client = await ChatClient.open(`${this.gateways[0]?.ws}/${tenant}/ws?token=${token}`, options)
    await client.settle()
    return client
  }

  /** Edits the contact, so that the tenant is reconciled again. */
  async touch(name: string, ns = 'demo'): Promise<void> {
    const ref = { apiVersion, kind: 'ChatTenant', namespace: ns, name }
    await this.client.patch(ref, { spec: { contact: String(performance.now()) } })
  }

  /** Returns a token signed with the key in the Secret, as the tenant's backend would sign it. */
  async token(
    { secret = 'acme-credentials', key = 'backend', alg = 'HS256', ns = 'demo' } = {},
    user = 'ann',
  ): Promise<string> {
    const text = await this.secretText(secret, key, ns)
    const kid = await this.secretText(secret, `${key}.id`, ns)
    return signToken(text, { alg, kid, user })
  }

  /** Returns the Events of the object, oldest first. */
  async events(name = 'acme', ns = 'demo'): Promise<{ reason: string; note: string; type: string }[]> {
    const events = await this.client.list({ apiVersion: 'events.k8s.io/v1', kind: 'Event', namespace: ns })
    return events
      .filter((event) => event['regarding']?.name === name)
      .map(({ note, reason, type }) => ({ note, reason, type }))
  }
}

/** Stops all environments and everything in them, for `afterAll`. */
export async function endEnvironments(): Promise<void> {
  await endControllers()
  await endLinks()
  await endPrograms()
  for (const environment of environments) await environment.stop()
  environments.clear()
  await endRedisProcesses()
}

export function conditionOf(object: KubeObject | undefined, type: string): Condition | undefined {
  const conditions: Condition[] = object?.['status']?.conditions ?? []
  return conditions.find((condition) => condition.type === type)
}

export async function signToken(
  key: string,
  { alg = 'HS256', kid, user = 'ann' }: { alg?: string; kid?: string; user?: string } = {},
): Promise<string> {
  const material = alg === 'HS256' ? new TextEncoder().encode(key) : await importPKCS8(key, alg)
  return new SignJWT({ sub: user })
    .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(material)
}
