// Starts a real gateway on a free port, for tests that connect over real sockets.
import { mintToken } from '../../src/auth/mint.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { Gateway, type GatewayOptions } from '../../src/gateway/gateway.js'
import { GatewayServer, type GatewayServerOptions } from '../../src/gateway/http/server.js'
import { createLog } from '../../src/log.js'
import { MemoryPresence } from '../../src/presence/memory.js'
import type { Catalog, CatalogListener } from '../../src/catalog/catalog.js'
import { tenantKey, type TenantPolicy } from '../../src/tenant/policy.js'
import { systemClock } from '../../src/time.js'

/** A catalog that tests edit directly. */
export class TestCatalog implements Catalog {
  readonly #policies = new Map<string, TenantPolicy>()
  #listener: CatalogListener | undefined

  constructor(policies: readonly TenantPolicy[]) {
    for (const policy of policies) this.#policies.set(tenantKey(policy), policy)
  }

  get(key: string): TenantPolicy | undefined {
    return this.#policies.get(key)
  }

  all(): Iterable<TenantPolicy> {
    return this.#policies.values()
  }

  listen(listener: CatalogListener): void {
    this.#listener = listener
  }

  put(policy: TenantPolicy): void {
    this.#policies.set(tenantKey(policy), policy)
    this.#listener?.changed({ kind: 'put', policy })
  }

  remove(key: string): void {
    const policy = this.#policies.get(key)
    if (!policy) return
    this.#policies.delete(key)
    this.#listener?.changed({ kind: 'remove', policy })
  }
}

/** The number of bugs that the gateway has counted. */
export async function bugsOf({ gateway }: Pick<TestGateway, 'gateway'>): Promise<number | undefined> {
  const { values } = await gateway.metrics.bugs.get()
  return values[0]?.value
}

export interface TestGateway {
  readonly gateway: Gateway
  readonly catalog: TestCatalog
  readonly brokerData: MemoryBrokerData
  readonly port: number
  /** `http://127.0.0.1:<port>`, or `https://…` with a certificate. */
  readonly http: string
  /** `ws://127.0.0.1:<port>`, or `wss://…` with a certificate. */
  readonly ws: string
  /** Mints a token that is signed with the tenant's first shared key. */
  token(
    user: string,
    options?: { tenant?: string; claims?: Record<string, unknown>; expiresInS?: number },
  ): Promise<string>
  stop(): Promise<void>
}

export async function startGateway(
  policies: readonly TenantPolicy[],
  options: Partial<GatewayOptions> = {},
  serverOptions: GatewayServerOptions = {},
): Promise<TestGateway> {
  const catalog = new TestCatalog(policies)
  const clock = options.clock ?? systemClock
  const brokerData = new MemoryBrokerData({ clock })
  const stopped = new AbortController()
  const gateway = new Gateway({
    broker: new MemoryBroker(brokerData),
    presence: new MemoryPresence({ clock }),
    catalog,
    clock,
    log: createLog({ level: 'fatal', name: 'test' }),
    processMetrics: false,
    ...options,
  })
  const server = new GatewayServer(gateway, serverOptions)
  const { port } = await server.listen(0, '127.0.0.1')
  gateway.run(stopped.signal)
  const secure = serverOptions?.certificate ? 's' : ''
  return {
    gateway,
    catalog,
    brokerData,
    port,
    http: `http${secure}://127.0.0.1:${port}`,
    ws: `ws${secure}://127.0.0.1:${port}`,
    async token(user, { claims = {}, expiresInS = 3600, tenant = 'demo/acme' } = {}) {
      const issuer = catalog.get(tenant)?.issuers.find(({ key }) => key.type === 'SharedKey')
      if (!issuer) throw new Error(`${tenant} has no shared key`)
      return mintToken(issuer, { user, claims, expiresInS, nowMs: clock.epochMs() })
    },
    async stop() {
      stopped.abort()
      await server.close()
    },
  }
}
