// The processes of a fuzzing campaign: a real Redis, and one gateway with two tenants. The tenant `fuzz/a`
// gets the inputs; the clients of `fuzz/b` must not notice.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mintToken } from '../../src/auth/mint.js'
import { endPrograms } from '../support/child-process.js'
import { GatewayProcess } from '../support/gateway-process.js'
import { acmeIssuer, acmeSecret } from '../support/policies.js'
import { endRedisProcesses, startRedis } from '../support/redis-processes.js'

export const apiKey = 'parley_test-key-of-the-backend-of-the-fuzzer'
export const path = '/fuzz/a'

/** Returns the same token in every run, so that a kept input stays valid. */
export function fuzzToken(user: string, claims: Record<string, unknown> = {}): Promise<string> {
  const life = { jti: `fuzz ${user}`, iat: 1_700_000_000, exp: 4_102_444_800 }
  return mintToken(acmeIssuer, { user, claims: { ...life, ...claims }, expiresInS: 0, nowMs: 0 })
}

/** What a gateway uses, and how many bugs it has counted. */
export interface GatewayHealth {
  readonly bugs: number
  readonly openFiles: number
  readonly residentBytes: number
  readonly connections: number
}

export class FuzzRig {
  readonly gateway: GatewayProcess
  readonly #folder: string

  private constructor(gateway: GatewayProcess, folder: string) {
    this.gateway = gateway
    this.#folder = folder
  }

  static async start(): Promise<FuzzRig> {
    const redis = await startRedis()
    const folder = await mkdtemp(join(tmpdir(), 'parley-fuzz-'))
    await writeFile(join(folder, 'tenants.yaml'), manifests())
    const gateway = await GatewayProcess.start({
      redis: `redis://127.0.0.1:${redis.port}`,
      // All inputs come from one address.
      args: [
        ...['--tenants', folder, '--log-level', 'info', '--handshake-rate', '100000'],
        ...['--address-handshake-rate', '100000', '--unauthenticated-per-address', '10000'],
      ],
    })
    return new FuzzRig(gateway, folder)
  }

  async health(): Promise<GatewayHealth> {
    const response = await fetch(`http://127.0.0.1:${this.gateway.opsPort}/metrics`)
    const text = await response.text()
    const value = (name: string): number =>
      Number(new RegExp(`^${name}(?:{[^}]*})? (.+)$`, 'm').exec(text)?.[1])
    return {
      bugs: value('parley_bugs_total'),
      openFiles: value('process_open_fds'),
      residentBytes: value('process_resident_memory_bytes'),
      connections: value('parley_gateway_connections'),
    }
  }

  async end(): Promise<void> {
    await endPrograms()
    await endRedisProcesses()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

const wide = {
  connections: {
    max: 10_000,
    perUser: 10_000,
    connectsPerSecond: 10_000,
    commandsPerSecond: 1_000,
    guests: 10_000,
  },
  messages: {
    publishPerSecond: 100_000,
    publishBurst: 100_000,
    fanoutPerSecond: 1_000_000,
    readsPerSecond: 100_000,
    joinsPerSecond: 100_000,
    bytesOutPerSecond: 1_000_000_000,
  },
  retention: { storedBytes: 1_073_741_824 },
  api: { requestsPerSecond: 10_000 },
}

const everything = ['Subscribe', 'Publish', 'Presence', 'History']
const users = [{ authenticated: true }]
const everyone = [{ authenticated: true }, { anonymous: true }]

function ruleOf(name: string, match: object, settings: object = {}): object {
  const grants = [{ operations: everything, subjects: users }]
  return { name, match, grants, presence: true, joinLeave: true, ...settings }
}

const history = { size: 50, ttl: '1h' }
const rules = [
  ruleOf('kept', { type: 'Literal', value: 'kept' }, { history }),
  ruleOf('clean', { type: 'Literal', value: 'clean' }, { history, sanitize: 'StripMarkup' }),
  ruleOf('cache', { type: 'Literal', value: 'cache' }, { history: { ...history, recovery: 'Cache' } }),
  ruleOf('room', { type: 'Prefix', value: 'room:' }, { history }),
  ruleOf('ephemeral', { type: 'Literal', value: 'ephemeral' }, { presence: false, joinLeave: false }),
  ruleOf('dm', { type: 'Pattern', value: 'dm:{user}' }, { history }),
  ruleOf(
    'lobby',
    { type: 'Literal', value: 'lobby' },
    { grants: [{ operations: everything, subjects: everyone }] },
  ),
]

function manifests(): string {
  const apiVersion = 'parley.chat/v1alpha1'
  const namespace = 'fuzz'
  const documents = [
    { apiVersion, kind: 'ChatPlan', metadata: { name: 'wide' }, spec: { limits: wide } },
    {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'keys', namespace } },
      stringData: { hmac: acmeSecret.toString(), api: apiKey },
    },
    ...['a', 'b'].map((name) => ({
      ...{ apiVersion, kind: 'ChatTenant', metadata: { name, namespace } },
      spec: {
        planRef: { name: 'wide' },
        allowedOrigins: ['https://app.example.com'],
        auth: [{ name: 'main', type: 'SharedKey', keyRef: { name: 'keys', key: 'hmac' } }],
        channels: rules,
      },
    })),
    {
      ...{ apiVersion, kind: 'ChatCredential', metadata: { name: 'backend', namespace } },
      spec: { tenantRef: { name: 'a' }, role: 'Admin', importSecretRef: { name: 'keys', key: 'api' } },
    },
  ]
  return documents.map((document) => JSON.stringify(document)).join('\n---\n')
}
