// One ChatCredential: its Secret, and whether the gateways know its key. What the key may do is compiled with the tenant.
import { z } from 'zod'
import { ChatCredential } from '../../resources/chat-credential.js'
import { issueProblem } from '../../resources/issue.js'
import { ChatCredentialStatus } from '../../resources/status.js'
import type { Clock } from '../../time.js'
import { isApiError } from '../../kube/api-error.js'
import { apiKeysOf, importedKey, keyWishOf, secretNameOf, type Import } from './api-keys.js'
import type { CatalogKeeper } from '../catalog/publisher.js'
import type { Cluster } from '../cluster.js'
import type { PublicUrl } from './endpoints.js'
import { chatCredentials, isBeingDeleted, secrets } from '../kinds.js'
import type { EventRecorder, ObjectApi, Outcome } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import type { SecretKeeper } from './managed-secret.js'
import { tenantOf } from '../references.js'
import { ReadyReport } from '../ready-report.js'
import { refusedBy, type Verdict } from '../tenants/conditions.js'
import { programmedBy } from '../tenants/programmed.js'
import { tenantStatusOf } from '../tenants/status.js'

export interface CredentialReconcilerOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  readonly catalog: CatalogKeeper
  readonly secrets: SecretKeeper
  readonly publicUrl: PublicUrl | undefined
  readonly clock: Clock
  readonly events: EventRecorder
}

const Reported = z.looseObject({ status: ChatCredentialStatus })

/** For Secrets that nobody tells of. */
const pollMs = 30_000
/** For a tenant that waits for its first turn. */
const compileMs = 1_000
const requeueMsMax = 43_200_000

/** What was found out, for status. */
interface Found {
  readonly verdict: Verdict
  readonly secret?: ApiObject | undefined
  readonly keyId?: string | undefined
  readonly expiresAtMs?: number | undefined
  readonly nextRotationMs?: number | undefined
  readonly nextAtMs?: number | undefined
}

export class CredentialReconciler {
  readonly #options: CredentialReconcilerOptions
  readonly #report: ReadyReport

  constructor(options: CredentialReconcilerOptions) {
    this.#options = options
    const { credentials } = options.cluster.caches
    this.#report = new ReadyReport({ ...options, kind: chatCredentials, cache: credentials })
  }

  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { clock, cluster } = this.#options
    const object = cluster.caches.credentials.get(key)
    if (!object || isBeingDeleted(object)) return undefined
    const parsed = ChatCredential.safeParse(object)
    // A new leader has not got to the tenant yet: what status says of the key is as good as it was.
    if (tenantOf(object).some((tenant) => this.#isAccepted(tenant) && !this.#isCompiled(tenant)))
      return { requeueAfterMs: compileMs }
    const found = parsed.success
      ? await this.#find(object, parsed.data, signal)
      : { verdict: refusedBy(parsed.error.issues.map((issue) => issueProblem(issue, object))) }
    const was = Reported.safeParse(object).data?.status.conditions ?? []
    await this.#report.write(object, { verdict: found.verdict, was, facts: factsOf(found) }, signal)
    const due = [
      ...(found.verdict.ok ? [] : [pollMs]),
      ...(found.nextAtMs === undefined ? [] : [Math.max(1, found.nextAtMs - clock.epochMs())]),
    ]
    return due.length === 0 ? undefined : { requeueAfterMs: Math.min(...due, requeueMsMax) }
  }

  async #find(object: ApiObject, credential: ChatCredential, signal: AbortSignal): Promise<Found> {
    const { caches } = this.#options.cluster
    const { namespace } = object.metadata
    const tenant = keyOf({ namespace, name: credential.spec.tenantRef.name })
    if (!caches.tenants.get(tenant)) {
      const message = `There is no ChatTenant "${credential.spec.tenantRef.name}" in this namespace.`
      return { verdict: stuck('TenantNotFound', message) }
    }
    const found = credential.spec.importSecretRef
      ? await this.#findImport(object, credential.spec.importSecretRef)
      : await this.#keep({ owner: object, credential, tenant }, signal)
    return found.verdict.ok ? { ...found, verdict: this.#enforced(object, tenant, found) } : found
  }

  async #keep(
    { credential, owner, tenant }: { credential: ChatCredential; owner: ApiObject; tenant: string },
    signal: AbortSignal,
  ): Promise<Found> {
    const { publicUrl, secrets: keeper } = this.#options
    const { namespace = '' } = owner.metadata
    const wish = keyWishOf(credential)
    // Of a tenant that was never accepted gateways hear nothing: a key that is replaced meanwhile would be replaced for nobody.
    const keys = this.#isCompiled(tenant) ? wish : { wanted: wish.wanted, ttlMs: wish.ttlMs }
    const kept = await keeper.keep(
      { name: secretNameOf(credential), namespace, owner, tenant, publicUrl, keys },
      signal,
    )
    const [key] = kept.plan?.keys ?? []
    return {
      verdict: kept.verdict,
      secret: kept.secret,
      keyId: key?.id,
      expiresAtMs: key?.expiresAtMs,
      nextRotationMs: kept.plan?.nextRotationMs,
      nextAtMs: kept.plan?.nextAtMs,
    }
  }

  /** As its status says. */
  #isAccepted(tenant: string): boolean {
    const object = this.#options.cluster.caches.tenants.get(tenant)
    const conditions = object && tenantStatusOf(object).conditions
    return conditions?.some(({ status, type }) => type === 'Accepted' && status === 'True') ?? false
  }

  /** By this process: what the key may do is in the policy then. */
  #isCompiled(tenant: string): boolean {
    return this.#options.catalog.policyOf(tenant) !== undefined
  }

  async #findImport(object: ApiObject, ref: { name: string; key: string }): Promise<Found> {
    const { api, cluster } = this.#options
    const { namespace } = object.metadata
    const name = { namespace, name: ref.name }
    let secret = cluster.caches.secrets.get(keyOf(name))
    // Without the label it is not watched: is it there at all?
    if (!secret) {
      try {
        secret = await api.get(secrets, name)
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error
      }
    }
    const imported = importedKey(secret, ref.key)
    if (imported.kind !== 'key') return { verdict: stuck(imported.kind, importProblem(imported.kind, ref)) }
    const [entry] = apiKeysOf(object, cluster.caches.secrets, this.#options.clock.epochMs()) ?? []
    return { verdict: ready, secret, keyId: imported.id, expiresAtMs: entry?.expiresAtMs }
  }

  /** Does the key count? */
  #enforced(object: ApiObject, tenant: string, { expiresAtMs = Infinity, keyId }: Found): Verdict {
    const { catalog, clock } = this.#options
    if (expiresAtMs <= clock.epochMs()) return stuck('Expired', 'The key’s time to live is over.')
    const policy = catalog.policyOf(tenant)
    const isKnown = policy?.apiKeys?.some(
      ({ credential, id }) => credential === object.metadata.name && id === keyId,
    )
    if (!isKnown) {
      const message = `The tenant "${tenant}" does not have this key yet: its own conditions say why.`
      return { ok: false, reason: 'TenantNotAccepted', message, waitsFor: 'time' }
    }
    const programmed = programmedBy(catalog.standingOf(tenant), { accepted: true })
    return programmed.ok ? ready : programmed
  }
}

/** For status. */
function factsOf({ expiresAtMs, keyId, nextRotationMs, secret }: Found): Partial<ChatCredentialStatus> {
  return {
    ...(keyId !== undefined && { keyID: keyId }),
    ...(expiresAtMs !== undefined && { expiresAt: new Date(expiresAtMs).toISOString() }),
    ...(nextRotationMs !== undefined && { nextRotation: new Date(nextRotationMs).toISOString() }),
    ...(secret && {
      binding: { name: secret.metadata.name },
      secretResourceVersion: secret.metadata.resourceVersion,
    }),
  }
}

const ready: Verdict = { ok: true, reason: 'CredentialsReady', message: 'The key counts at every gateway.' }

function stuck(reason: Extract<Verdict, { ok: false }>['reason'], message: string): Verdict {
  return { ok: false, reason, message, waitsFor: 'somebody' }
}

function importProblem(kind: Exclude<Import['kind'], 'key'>, ref: { name: string; key: string }): string {
  switch (kind) {
    case 'ImportNotFound':
      return `There is no key "${ref.key}" in a Secret "${ref.name}".`
    case 'ImportNotLabelled':
      return `The Secret "${ref.name}" must have the label parley.chat/secret=import: its owner says by it that it may be read.`
    case 'ImportTooShort':
      return `The key "${ref.key}" of Secret "${ref.name}" has fewer than 32 bytes.`
  }
}
