// Two tenants, each in its own namespace, and tokens signed with the keys from their Secrets, as backends do.
import { SignJWT } from 'jose'
import type { KubeObject } from '../support/kube-client.js'
import { chatPlan, chatTenant } from '../support/kube-parley.js'
import { apply, get, kubectl } from './cluster.js'

export const tenantNamespaces = ['parley-e2e-red', 'parley-e2e-blue'] as const

const readyDeadlineS = 120

/** The limits are high, so that no test reaches them: all clients reconnect at once, for example. */
const plan: KubeObject = chatPlan(
  {
    limits: {
      connections: { max: 10_000, perUser: 5_000, connectsPerSecond: 5_000, commandsPerSecond: 1_000 },
      messages: {
        publishPerSecond: 1_000,
        fanoutPerSecond: 1_000_000,
        readsPerSecond: 100_000,
        joinsPerSecond: 100_000,
        bytesOutPerSecond: 1_000_000_000,
      },
      api: { requestsPerSecond: 100_000 },
      channels: { maxSubscribersPerChannel: 10_000 },
      retention: { historyMessages: 100_000 },
    },
  },
  'e2e',
)

const spec = {
  planRef: { name: 'e2e' },
  auth: [{ name: 'main', type: 'SharedKey', generate: { algorithm: 'HS256' } }],
  channels: [
    {
      name: 'rooms',
      match: { type: 'Pattern', value: '*' },
      grants: [
        { operations: ['Subscribe', 'Publish', 'Presence', 'History'], subjects: [{ authenticated: true }] },
      ],
      history: { size: 100_000, ttl: '4h' },
      presence: true,
    },
  ],
}

export interface Tenant {
  /** `<namespace>/<name>`. */
  readonly name: string
  readonly namespace: string
  /** Signs a token for the user. */
  token(user: string): Promise<string>
}

/** Creates a tenant of the same name in both namespaces. Resolves when both are ready. */
export async function createTenants(): Promise<Tenant[]> {
  await apply(plan, ...tenantNamespaces.map((ns) => chatTenant(spec, { name: 'acme', ns })))
  return Promise.all(tenantNamespaces.map(tenantIn))
}

async function tenantIn(namespace: string): Promise<Tenant> {
  const inNamespace = ['--namespace', namespace]
  await kubectl([
    'wait',
    '--for=condition=Ready',
    'chattenant/acme',
    `--timeout=${readyDeadlineS}s`,
    ...inNamespace,
  ])
  const { data } = await get('secret/acme-credentials', ...inNamespace)
  const text = (entry: string) => Buffer.from(data[entry], 'base64').toString()
  const key = Buffer.from(text('main'))
  return {
    name: text('tenant'),
    namespace,
    token: (user) =>
      new SignJWT({ sub: user }).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('4 hours').sign(key),
  }
}
