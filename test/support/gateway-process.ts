// `parley gateway` as operators run it: a separate process on free ports, with a folder of manifests or a
// catalog in Redis.
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mintToken } from '../../src/auth/mint.js'
import { chatAs, type ChatClient, type ChatEndpoint, type ChatUser } from './chat-client.js'
import { Program, type ProgramExit } from './child-process.js'
import { parsedLines } from './log-lines.js'
import { acmeIssuer, acmeSecret } from './policies.js'
import { until } from './redis-processes.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface GatewayProcessOptions {
  readonly redis: string
  /** Further command line options. The default drain window is 0. */
  readonly args?: readonly string[]
  /** Environment variables in addition to those of this process. */
  readonly env?: Record<string, string>
}

export interface OpsAnswer {
  readonly status: number
  readonly body: Record<string, unknown>
}

export class GatewayProcess {
  readonly program: Program
  /** The port for clients; 0 until the gateway serves. */
  port = 0
  opsPort = 0
  readonly #scheme: 'ws' | 'wss'

  private constructor(program: Program, scheme: 'ws' | 'wss') {
    this.program = program
    this.#scheme = scheme
  }

  /** Starts a gateway and resolves when it serves clients. */
  static async start(options: GatewayProcessOptions): Promise<GatewayProcess> {
    const gateway = await GatewayProcess.launch(options)
    await gateway.serving()
    return gateway
  }

  /** Starts a gateway and resolves when it answers probes; it may still wait for Redis. */
  static async launch(options: GatewayProcessOptions): Promise<GatewayProcess> {
    const gateway = GatewayProcess.spawn(options)
    gateway.opsPort = Number((await gateway.logged('answering probes'))['opsPort'])
    return gateway
  }

  /** Starts a gateway without waiting, for one that may exit at once. */
  static spawn({ args = [], env = {}, redis }: GatewayProcessOptions): GatewayProcess {
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

  /** Mints a token for the tenants of `tenantManifest` and `tenantPolicy`, which share a key. */
  token = tokenFor

  /** Resolves to the first log line with the message. */
  logged(msg: string): Promise<Record<string, unknown>> {
    return this.program.waitForOutput(`the log line "${msg}"`, (output) =>
      parsedLines(output).find((line) => line['msg'] === msg),
    )
  }

  async ops(path: string): Promise<OpsAnswer> {
    const response = await fetch(`http://127.0.0.1:${this.opsPort}${path}`)
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

  /** Sends SIGTERM and resolves when the process has ended. */
  stop(): Promise<ProgramExit> {
    this.program.signal('SIGTERM')
    return this.program.ended
  }

  /** Sends SIGKILL, so that the gateway cannot notify clients. */
  kill(): Promise<void> {
    return this.program.kill()
  }
}

/** Starts several gateways on one Redis at the same time. */
export function startGateways(count: number, options: GatewayProcessOptions): Promise<GatewayProcess[]> {
  return Promise.all(Array.from({ length: count }, () => GatewayProcess.start(options)))
}

export async function tokenFor(
  user: string,
  { claims = {}, expiresInS = 3600 }: { claims?: Record<string, unknown>; expiresInS?: number } = {},
): Promise<string> {
  return mintToken(acmeIssuer, { user, claims, expiresInS, nowMs: Date.now() })
}

/** The state of all gateways, as `gateway` reports it in /stats. */
export async function clusterOf(gateway: GatewayProcess): Promise<ClusterStats> {
  const { body } = await gateway.ops('/stats')
  return body['cluster'] as ClusterStats
}

export interface ClusterStats {
  readonly connections: number
  readonly gateways: readonly { id: string; connections: number; catalog_version?: object }[]
  readonly tenants: Record<string, { connections: number; publications_per_second: number }>
}

/** Resolves when each of the gateways reports exactly `count` gateways. */
export async function untilGatewaysSee(gateways: readonly GatewayProcess[], count: number): Promise<void> {
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

const everyAuthenticatedUser = [{ authenticated: true }]
const all = ['Subscribe', 'Publish', 'Presence', 'History']
const withHistory = { history: { size: 1000, ttl: '1h' } }
const withPresence = { presence: true, joinLeave: true }

/** A rule for the channel `name`, in which every authenticated user has all operations. */
export function openRule(name: string, fields: object = {}): Rule {
  return {
    name,
    match: { type: 'Literal', value: name },
    grants: [{ operations: all, subjects: everyAuthenticatedUser }],
    ...withHistory,
    ...withPresence,
    ...fields,
  }
}

/** The channels that the chat endpoint uses: the lobby and the direct messages. */
const chatRules: readonly Rule[] = [
  openRule('lobby'),
  {
    name: 'inbox',
    match: { type: 'Pattern', value: 'dm:{user}' },
    grants: [{ operations: ['Subscribe', 'History'], subjects: everyAuthenticatedUser }],
    ...withHistory,
  },
  {
    name: 'send',
    match: { type: 'Pattern', value: 'dm:*' },
    grants: [{ operations: ['Publish'], subjects: everyAuthenticatedUser }],
    ...withHistory,
  },
]

/** A folder with the manifests of the tenant demo/acme, which tests edit while gateways watch it. */
export class ManifestFolder {
  readonly path: string
  readonly #connectionsMax: number

  private constructor(path: string, connectionsMax: number) {
    this.path = path
    this.#connectionsMax = connectionsMax
  }

  /** `connectionsMax` is the tenant's connection limit. */
  static async make(rules = defaultRules, { connectionsMax = 1_000 } = {}): Promise<ManifestFolder> {
    const path = await mkdtemp(join(tmpdir(), 'parley-manifests-'))
    const folder = new ManifestFolder(path, connectionsMax)
    await folder.write(rules)
    return folder
  }

  /** Replaces the manifests atomically. */
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
  const hmac = acmeSecret.toString()
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
  // JSON is valid YAML.
  return documents.map((document) => JSON.stringify(document, undefined, 2)).join('\n---\n')
}

/**
 * Like `chatAs`, and waits until the client is in the lobby and receives direct messages. Over Redis, this is
 * shortly after `welcome`.
 */
export async function chatIn(
  gateway: ChatEndpoint,
  user: string,
  options: ChatUser = {},
): Promise<ChatClient> {
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
  // Waits for the last message, so that it does not arrive during the test.
  if (heard < sent) await client.next('direct_message', ({ content }) => content === sent)
  return client
}
