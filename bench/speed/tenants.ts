// The tenants of the benchmarks. All limits are far above what a benchmark uses, and each channel rule sets
// one feature.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { acmeSecret } from '../../test/support/policies.js'

const apiVersion = 'parley.chat/v1alpha1'
const namespace = 'bench'

const limits = {
  connections: {
    max: 1_000_000,
    perUser: 100,
    connectsPerSecond: 100_000,
    commandsPerSecond: 10_000,
    guests: 1_000_000,
  },
  messages: {
    publishPerSecond: 1_000_000,
    publishBurst: 10_000_000,
    fanoutPerSecond: 100_000_000,
    readsPerSecond: 1_000_000,
    joinsPerSecond: 1_000_000,
    bytesOutPerSecond: 100_000_000_000,
  },
  retention: { storedBytes: 1_099_511_627_776 },
  api: { requestsPerSecond: 1_000_000 },
  channels: {
    max: 1_000_000,
    maxSubscribersPerChannel: 1_000_000,
    maxSubscriptionsPerConnection: 1_000,
  },
}

const everything = [{ operations: ['Subscribe', 'Publish', 'History'], subjects: [{ authenticated: true }] }]
const history = { size: 1000, ttl: '1h' }

function ruleFor(name: string, settings: object) {
  return { name, match: { type: 'Prefix', value: `${name}:` }, grants: everything, ...settings }
}

const rules = [
  ruleFor('kept', { history }),
  ruleFor('ephemeral', {}),
  ruleFor('accepted', { history, durability: 'Accepted' }),
  ruleFor('replicated', { history, durability: 'Replicated' }),
]

export class TenantFolder {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Writes `count` tenants, bench/t0, bench/t1 and so on, which share a key. */
  static async make(count: number): Promise<TenantFolder> {
    const hmac = acmeSecret.toString()
    const documents = [
      { apiVersion, kind: 'ChatPlan', metadata: { name: 'wide' }, spec: { limits } },
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key', namespace }, stringData: { hmac } },
      ...Array.from({ length: count }, (_, index) => ({
        apiVersion,
        kind: 'ChatTenant',
        metadata: { name: `t${index}`, namespace },
        spec: {
          planRef: { name: 'wide' },
          auth: [{ name: 'main', type: 'SharedKey', keyRef: { name: 'key', key: 'hmac' } }],
          channels: rules,
        },
      })),
    ]
    return TenantFolder.write(documents)
  }

  /** Writes these manifests. */
  static async write(documents: readonly object[]): Promise<TenantFolder> {
    const folder = new TenantFolder(await mkdtemp(join(tmpdir(), 'parley-bench-')))
    // JSON is valid YAML.
    const text = documents.map((document) => JSON.stringify(document)).join('\n---\n')
    await writeFile(join(folder.path, 'bench.yaml'), text)
    return folder
  }

  remove(): Promise<void> {
    return rm(this.path, { recursive: true, force: true })
  }
}
