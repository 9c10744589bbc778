// The tenants of this gateway: one runtime for each policy of the catalog. It follows the catalog, and ends
// what belongs to a tenant when the tenant is removed.
import { isDeepStrictEqual } from 'node:util'
import { randomBytes } from 'node:crypto'
import { fetchesMax, FetchSlots } from '../auth/fetch-slots.js'
import type { Catalog, CatalogChange } from '../catalog/catalog.js'
import type { QuotaLedger } from '../quota/ledger.js'
import { LocalLedger } from '../quota/local.js'
import { LocalRevocations } from '../revocation/local.js'
import type { RevocationStore } from '../revocation/store.js'
import type { SessionContext } from '../session/context.js'
import type { Session } from '../session/session.js'
import { TenantRuntime } from '../session/tenant/runtime.js'
import { tenantKey, type TenantPolicy } from '../tenant/policy.js'

/** What all tenants of the gateway share. See `GatewayOptions` for the defaults. */
export interface TenantsOptions {
  readonly ledger?: QuotaLedger | undefined
  readonly revocations?: RevocationStore | undefined
  readonly guestSecrets?: readonly Uint8Array[] | undefined
  readonly allowPrivateJwks?: boolean | undefined
}

export interface TenantEvents {
  /** Called when the tenant gets a session to which commands from other gateways apply. */
  readonly followCommands: (tenant: TenantRuntime<Session>) => Promise<void> | undefined
  /** Called when the tenant is no longer in the catalog. Its sessions must be closed. */
  readonly onRemoved: (tenant: TenantRuntime<Session>) => void
}

export class GatewayTenants implements Iterable<TenantRuntime<Session>> {
  readonly #context: SessionContext
  readonly #events: TenantEvents
  readonly #ledger: QuotaLedger
  readonly #revocations: RevocationStore
  readonly #guestSecrets: readonly Uint8Array[]
  readonly #allowPrivateJwks: boolean
  readonly #jwksSlots = new FetchSlots(fetchesMax)
  readonly #byKey = new Map<string, TenantRuntime<Session>>()
  readonly #byId = new Map<string, TenantRuntime<Session>>()

  constructor(options: TenantsOptions, context: SessionContext, events: TenantEvents) {
    this.#context = context
    this.#events = events
    this.#ledger = options.ledger ?? new LocalLedger()
    this.#revocations = options.revocations ?? new LocalRevocations(context.clock)
    this.#guestSecrets = options.guestSecrets ?? [randomBytes(32)]
    this.#allowPrivateJwks = options.allowPrivateJwks ?? false
  }

  /** Takes the tenants of the catalog, now and whenever one changes. */
  follow(catalog: Catalog): void {
    for (const policy of catalog.all()) this.#put(policy)
    catalog.listen({ changed: (change) => this.#onChange(change) })
  }

  /** Finds a tenant by `<namespace>/<name>`. */
  get(key: string): TenantRuntime<Session> | undefined {
    return this.#byKey.get(key)
  }

  byId(tenantId: string): TenantRuntime<Session> | undefined {
    return this.#byId.get(tenantId)
  }

  get size(): number {
    return this.#byKey.size
  }

  [Symbol.iterator](): IterableIterator<TenantRuntime<Session>> {
    return this.#byKey.values()
  }

  #onChange(change: CatalogChange): void {
    if (change.kind === 'put') this.#put(change.policy)
    else this.#remove(tenantKey(change.policy))
  }

  #put(policy: TenantPolicy): void {
    const key = tenantKey(policy)
    const existing = this.#byKey.get(key)
    // A tenant with the same name and another id is another tenant: it inherits nothing, in particular no
    // connections.
    if (existing && existing.policy.tenantId !== policy.tenantId) this.#remove(key)
    else if (existing) return this.#update(existing, policy)
    const { arrivalDelay, clock, log } = this.#context
    const tenant: TenantRuntime<Session> = new TenantRuntime<Session>(policy, {
      clock,
      log,
      arrivalDelay,
      allowPrivateJwks: this.#allowPrivateJwks,
      jwksSlots: this.#jwksSlots,
      ledger: this.#ledger,
      revocations: this.#revocations,
      guestSecrets: this.#guestSecrets,
      followCommands: () => this.#events.followCommands(tenant),
    })
    this.#byKey.set(key, tenant)
    this.#byId.set(policy.tenantId, tenant)
  }

  #update(tenant: TenantRuntime<Session>, policy: TenantPolicy): void {
    const before = tenant.policy.channels
    tenant.update(policy)
    if (!isDeepStrictEqual(policy.channels, before))
      this.#context.broker.storage.rulesChanged(policy.tenantId)
  }

  #remove(key: string): void {
    const tenant = this.#byKey.get(key)
    if (!tenant) return
    this.#byKey.delete(key)
    this.#byId.delete(tenant.policy.tenantId)
    this.#events.onRemoved(tenant)
    tenant.close()
  }
}
