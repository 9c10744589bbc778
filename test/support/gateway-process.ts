// `parley gateway` as operators run it: a process of its own, free ports, a folder of manifests or a catalog in Redis.
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mintToken } from '../../src/auth/mint.js'
import { chatAs, type ChatClient, type ChatDoor, type ChatUser } from './chat-client.js'
import { Program, type Ended } from './child-process.js'
import { parsedLines } from './log-lines.js'
import { tenantPolicy } from './policies.js'
import { until } from './redis-processes.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface GatewayProcessOptions {
  readonly redis: string
  /** Further options of the command line. A drain takes no time unless they say otherwise. */
  readonly args?: readonly string[]
  /** Beside what this process has. */
  readonly env?: Record<string, string>
}

export interface OpsAnswer {
  readonly status: number
  readonly body: Record<string, unknown>
}

export class GatewayProcess {
  readonly program: Program
  /** For clients; 0 until it serves. */
  port = 0
  opsPort = 0
  readonly #scheme: 'ws' | 'wss'

  private constructor(program: Program, scheme: 'ws' | 'wss') {
    this.program = program
    this.#scheme = scheme
  }

  /** Resolves when it serves. */
  static async start(options: GatewayProcessOptions): Promise<GatewayProcess> {
    const gateway = await GatewayProcess.launch(options)
    await gateway.serving()
    return gateway
  }

  /** Resolves when it answers probes: it may still wait for Redis. */
  static async launch(options: GatewayProcessOptions): Promise<GatewayProcess> {
    const gateway = GatewayProcess.try(options)
    gateway.opsPort = Number((await gateway.logged('answering probes'))['opsPort'])
    return gateway
  }

  /** Resolves to nothing: it may end at once. */
  static try({ args = [], env = {}, redis }: GatewayProcessOptions): GatewayProcess {
    const command = ['dist/cli/main.js', 'gateway', '--redis', redis, '--host', '127.0.0.1', '--port', '0']
    const program = new Program(
      'a gateway',
      [process.execPath, ...command, '--ops-port', '0', '--drain-window', '0', ...args],
      { cwd: root, env: { ...process.env, ...env } },
    )
    return new GatewayProcess(program, args.includes('--tls-cert-file') ? 'wss' : 'ws')
  }

  async serving(): Promise<void> {
    this.port = Number((await this.logged('serving'))['port'])
  }

  get ws(): string {
    return `${this.#scheme}://127.0.0.1:${this.port}`
  }

  /** For the tenants of `tenantManifest` and `tenantPolicy`, which share a key. */
  token = tokenFor

  /** The first line of its log with that message. */
  logged(msg: string): Promise<Record<string, unknown>> {
    return this.program.saying(`the log line "${msg}"`, (said) =>
      parsedLines(said).find((line) => line['msg'] === msg),
    )
  }

  async ops(path: string): Promise<OpsAnswer> {
    const response = await fetch(`http://127.0.0.1:${this.opsPort}${path}`)
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

  /** SIGTERM. Resolves when it has ended. */
  stop(): Promise<Ended> {
    this.program.signal('SIGTERM')
    return this.program.ended
  }

  /** SIGKILL: nobody is told. */
  kill(): Promise<void> {
    return this.program.kill()
  }
}

/** Several at once, on one Redis. */
export function startGateways(count: number, options: GatewayProcessOptions): Promise<GatewayProcess[]> {
  return Promise.all(Array.from({ length: count }, () => GatewayProcess.start(options)))
}

export async function tokenFor(
  user: string,
  { claims = {}, expiresInS = 3600 }: { claims?: Record<string, unknown>; expiresInS?: number } = {},
): Promise<string> {
  const [issuer] = tenantPolicy().issuers
  if (!issuer) throw new Error('the tenant has no issuer')
  return mintToken(issuer, { user, claims, expiresInS, nowMs: Date.now() })
}

/** What the gateways know of each other, as one of them tells it. */
export async function clusterOf(gateway: GatewayProcess): Promise<ClusterStats> {
  const { body } = await gateway.ops('/stats')
  return body['cluster'] as ClusterStats
}

export interface ClusterStats {
  readonly connections: number
  readonly gateways: readonly { id: string; connections: number; catalog_version?: object }[]
  readonly tenants: Record<string, { connections: number; publications_per_second: number }>
}

/** All of them tell of exactly `count` gateways. */
export async function untilTheyKnow(gateways: readonly GatewayProcess[], count: number): Promise<void> {
  await until(`${count} gateways in /stats`, async () => {
    const views = await Promise.all(gateways.map(clusterOf))
    return views.every((view) => view.gateways.length === count)
  })
}

export interface Rule {
  readonly name: string
  readonly match: { readonly type: 'Literal' | 'Prefix' | 'Pattern'; readonly value: string }
  readonly [field: string]: unknown
}

const everybody = [{ authenticated: true }]
const all = ['Subscribe', 'Publish', 'Presence', 'History']
const remembered = { history: { size: 1000, ttl: '1h' } }
const peopled = { presence: true, joinLeave: true }

/** Everybody signed in may do everything there. */
export function openRule(name: string, fields: object = {}): Rule {
  return {
    name,
    match: { type: 'Literal', value: name },
    grants: [{ operations: all, subjects: everybody }],
    ...remembered,
    ...peopled,
    ...fields,
  }
}

/** The chat door's own channels. */
const chatRules: readonly Rule[] = [
  openRule('lobby'),
  {
    name: 'inbox',
    match: { type: 'Pattern', value: 'dm:{user}' },
    grants: [{ operations: ['Subscribe', 'History'], subjects: everybody }],
    ...remembered,
  },
  {
    name: 'send',
    match: { type: 'Pattern', value: 'dm:*' },
    grants: [{ operations: ['Publish'], subjects: everybody }],
    ...remembered,
  },
]

/** A folder with the tenant demo/acme, to be edited under the gateways' eyes. */
export class ManifestFolder {
  readonly path: string
  readonly #connectionsMax: number

  private constructor(path: string, connectionsMax: number) {
    this.path = path
    this.#connectionsMax = connectionsMax
  }

  /** `connectionsMax` is of the tenant. */
  static async make(rules = defaultRules, { connectionsMax = 1_000 } = {}): Promise<ManifestFolder> {
    const path = await mkdtemp(join(tmpdir(), 'parley-manifests-'))
    const folder = new ManifestFolder(path, connectionsMax)
    await folder.write(rules)
    return folder
  }

  /** In one step, as careful tools do. */
  async write(rules: readonly Rule[]): Promise<void> {
    const file = join(this.path, 'acme.yaml')
    await writeFile(`${file}.new`, tenantManifest(rules, this.#connectionsMax))
    await rename(`${file}.new`, file)
  }

  remove(): Promise<void> {
    return rm(this.path, { recursive: true, force: true })
  }
}

export const defaultRules: readonly Rule[] = [...chatRules, openRule('general')]

function tenantManifest(rules: readonly Rule[], max: number): string {
  const [issuer] = tenantPolicy().issuers
  if (issuer?.key.type !== 'SharedKey') throw new Error('the tenant has no shared key')
  const hmac = Buffer.from(issuer.key.secret, 'base64').toString()
  const metadata = { namespace: 'demo' }
  const documents = [
    {
      apiVersion: 'parley.chat/v1alpha1',
      kind: 'ChatPlan',
      metadata: { name: 'wide' },
      spec: {
        limits: {
          connections: { max, perUser: Math.min(max, 100), connectsPerSecond: 1000, commandsPerSecond: 1000 },
          messages: { publishPerSecond: 5000, publishBurst: 10_000 },
        },
      },
    },
    {
      apiVersion: 'parley.chat/v1alpha1',
      kind: 'ChatTenant',
      metadata: { ...metadata, name: 'acme' },
      spec: {
        planRef: { name: 'wide' },
        auth: [{ name: 'main', type: 'SharedKey', keyRef: { name: 'acme-key', key: 'hmac' } }],
        channels: rules,
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { ...metadata, name: 'acme-key' },
      stringData: { hmac },
    },
  ]
  // JSON is YAML.
  return documents.map((document) => JSON.stringify(document, undefined, 2)).join('\n---\n')
}

/** As `chatAs`, and in the lobby and its inbox for sure: over Redis that is a moment after `welcome`. */
export async function chatIn(gateway: ChatDoor, user: string, options: ChatUser = {}): Promise<ChatClient> {
  const client = await chatAs(gateway, user, options)
  let sent = 0
  let heard = 0
  await until('a message to itself', async () => {
    sent += 1
    await client.done({ type: 'direct_message', target_user: user, content: sent })
    for (const { content, event } of await client.settle())
      if (event === 'direct_message') heard = Number(content)
    return heard > 0
  })
  // What was sent behind the one that came must not come later.
  if (heard < sent) await client.next('direct_message', ({ content }) => content === sent)
  return client
}
