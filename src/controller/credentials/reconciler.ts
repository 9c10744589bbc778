// Reconciles one ChatCredential: its Secret, and whether the gateways know its key. The permissions of the
// key are compiled with the tenant.
import { z } from 'zod'
import { ChatCredential } from '../../resources/chat-credential.js'
import { issueProblem } from '../../resources/issue.js'
import { ChatCredentialStatus } from '../../resources/status.js'
import type { Clock } from '../../time.js'
import { isApiError } from '../../kube/api-error.js'
import {
  apiKeysOf,
  desiredCredentialKeys,
  generatedSecretNameOf,
  importedKey,
  type ImportResult,
} from './api-keys.js'
import type { CatalogPublisher } from '../catalog/publisher.js'
import type { Cluster } from '../cluster.js'
import type { PublicUrl } from './endpoints.js'
import { chatCredentials, isBeingDeleted, secrets } from '../kinds.js'
import type { EventRecorder, ObjectApi, ReconcileOutcome } from '../../kube/ports.js'
import { compareAge, keyOf, type ApiObject } from '../../kube/object.js'
import type { ManagedSecrets } from './managed-secret.js'
import { tenantOf } from '../references.js'
import { ReadyReport } from '../ready-report.js'
import { problemsVerdict, type Verdict } from '../tenants/conditions.js'
import { credentialsMax } from '../tenants/policy.js'
import { programmedVerdict } from '../tenants/programmed.js'
import { tenantStatusOf } from '../tenants/status.js'

export interface CredentialReconcilerOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  readonly catalog: Pick<CatalogPublisher, 'policyOf' | 'rolloutOf'>
  readonly secrets: ManagedSecrets
  readonly publicUrl: PublicUrl | undefined
  readonly clock: Clock
  readonly events: EventRecorder
}

const Reported = z.looseObject({ status: ChatCredentialStatus })

/**
 * The interval at which a ChatCredential that is not ready is reconciled: an unwatched Secret may have
 * changed.
 */
const pollMs = 30_000
/** How long to wait for a new leader to compile the tenant for the first time. */
const compileWaitMs = 1_000
const requeueMsMax = 43_200_000

/** The findings of one pass, for status. */
interface Findings {
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

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { clock, cluster } = this.#options
    const object = cluster.caches.credentials.get(key)
    if (!object || isBeingDeleted(object)) return undefined
    const parsed = ChatCredential.safeParse(object)
    // A new leader has not compiled the tenant yet. The current status stays until it has.
    if (tenantOf(object).some((tenant) => this.#isAccepted(tenant) && !this.#isCompiled(tenant)))
      return { requeueAfterMs: compileWaitMs }
    const found = parsed.success
      ? await this.#find(object, parsed.data, signal)
      : { verdict: problemsVerdict(parsed.error.issues.map((issue) => issueProblem(issue, object))) }
    const previous = Reported.safeParse(object).data?.status.conditions ?? []
    await this.#report.write(object, { verdict: found.verdict, previous, facts: factsOf(found) }, signal)
    const due = [
      ...(found.verdict.ok ? [] : [pollMs]),
      ...(found.nextAtMs === undefined ? [] : [Math.max(1, found.nextAtMs - clock.epochMs())]),
    ]
    return due.length === 0 ? undefined : { requeueAfterMs: Math.min(...due, requeueMsMax) }
  }

  async #find(object: ApiObject, credential: ChatCredential, signal: AbortSignal): Promise<Findings> {
    const { caches } = this.#options.cluster
    const { namespace } = object.metadata
    const tenant = keyOf({ namespace, name: credential.spec.tenantRef.name })
    if (!caches.tenants.get(tenant)) {
      const message = `The ChatTenant "${credential.spec.tenantRef.name}" does not exist in this namespace.`
      return { verdict: needsAction('TenantNotFound', message) }
    }
    if (this.#isOneTooMany(object, tenant))
      return { verdict: needsAction('TooManyCredentials', tooManyMessage(credential.spec.tenantRef.name)) }
    const found = credential.spec.importSecretRef
      ? await this.#findImport(object, credential.spec.importSecretRef)
      : await this.#ensureSecret({ owner: object, credential, tenant }, signal)
    return found.verdict.ok ? { ...found, verdict: this.#enforced(object, tenant, found) } : found
  }

  async #ensureSecret(
    { credential, owner, tenant }: { credential: ChatCredential; owner: ApiObject; tenant: string },
    signal: AbortSignal,
  ): Promise<Findings> {
    const { publicUrl, secrets: managedSecrets } = this.#options
    const { namespace = '' } = owner.metadata
    const desired = desiredCredentialKeys(credential)
    // Gateways do not know a tenant that was never accepted, so its keys are not rotated.
    const keys = this.#isCompiled(tenant) ? desired : { algorithms: desired.algorithms, ttlMs: desired.ttlMs }
    const managed = await managedSecrets.ensure(
      { name: generatedSecretNameOf(credential), namespace, owner, tenant, publicUrl, keys },
      signal,
    )
    const [key] = managed.generated?.keys ?? []
    return {
      verdict: managed.verdict,
      secret: managed.secret,
      keyId: key?.id,
      expiresAtMs: key?.expiresAtMs,
      nextRotationMs: managed.generated?.nextRotationMs,
      nextAtMs: managed.generated?.nextAtMs,
    }
  }

  /** Returns whether the tenant's status says that it is accepted. */
  #isAccepted(tenant: string): boolean {
    const object = this.#options.cluster.caches.tenants.get(tenant)
    const conditions = object && tenantStatusOf(object).conditions
    return conditions?.some(({ status, type }) => type === 'Accepted' && status === 'True') ?? false
  }

  /**
   * Returns whether the tenant has the maximum number of older ChatCredentials. Only their age counts, as in
   * the tenant's policy: the order in which the changes arrive does not decide which one is refused.
   */
  #isOneTooMany(object: ApiObject, tenant: string): boolean {
    const { caches, credentialsByTenant } = this.#options.cluster
    const keys = credentialsByTenant.keysOf(tenant)
    if (keys.size <= credentialsMax) return false
    let older = 0
    for (const key of keys) {
      const other = caches.credentials.get(key)
      if (other && compareAge(other, object) < 0) older += 1
      if (older === credentialsMax) return true
    }
    return false
  }

  /**
   * Returns whether this process has compiled the tenant. Then its policy contains the key's permissions.
   */
  #isCompiled(tenant: string): boolean {
    return this.#options.catalog.policyOf(tenant) !== undefined
  }

  async #findImport(object: ApiObject, ref: { name: string; key: string }): Promise<Findings> {
    const { api, cluster } = this.#options
    const { namespace } = object.metadata
    const name = { namespace, name: ref.name }
    let secret = cluster.caches.secrets.get(keyOf(name))
    // A Secret without the label is not watched. Ask the API server whether it exists.
    if (!secret) {
      try {
        secret = await api.get(secrets, name)
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error
      }
    }
    const imported = importedKey(secret, ref.key)
    if (imported.kind !== 'key')
      return { verdict: needsAction(imported.kind, importProblem(imported.kind, ref)) }
    const [entry] = apiKeysOf(object, cluster.caches.secrets, this.#options.clock.epochMs()) ?? []
    return { verdict: ready, secret, keyId: imported.id, expiresAtMs: entry?.expiresAtMs }
  }

  /** Returns whether all live gateways accept the key. */
  #enforced(object: ApiObject, tenant: string, { expiresAtMs = Infinity, keyId }: Findings): Verdict {
    const { catalog, clock } = this.#options
    if (expiresAtMs <= clock.epochMs())
      return needsAction(
        'Expired',
        'The time to live of the key is over. Rotate the key, or delete the ChatCredential.',
      )
    const policy = catalog.policyOf(tenant)
    const isKnown = policy?.apiKeys?.some(
      ({ credential, id }) => credential === object.metadata.name && id === keyId,
    )
    if (!isKnown) {
      const message = `The tenant "${tenant}" does not have this key yet. The conditions of the tenant say why.`
      return { ok: false, reason: 'TenantNotAccepted', message, waitsFor: 'time' }
    }
    const programmed = programmedVerdict(catalog.rolloutOf(tenant), { accepted: true })
    return programmed.ok ? ready : programmed
  }
}

/** Returns the fields of status other than the conditions. */
function factsOf({ expiresAtMs, keyId, nextRotationMs, secret }: Findings): Partial<ChatCredentialStatus> {
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

const ready: Verdict = {
  ok: true,
  reason: 'CredentialsReady',
  message: 'Every live gateway accepts the key.',
}

function tooManyMessage(tenant: string): string {
  return (
    `The tenant "${tenant}" has ${credentialsMax} older ChatCredentials, which is the maximum. ` +
    'Delete ChatCredentials that are not needed.'
  )
}

function needsAction(reason: Extract<Verdict, { ok: false }>['reason'], message: string): Verdict {
  return { ok: false, reason, message, waitsFor: 'action' }
}

function importProblem(
  kind: Exclude<ImportResult['kind'], 'key'>,
  ref: { name: string; key: string },
): string {
  switch (kind) {
    case 'ImportNotFound':
      return `The Secret "${ref.name}" does not exist, or does not contain the key "${ref.key}".`
    case 'ImportNotLabelled':
      return `The Secret "${ref.name}" lacks the label parley.chat/secret=import.`
    case 'ImportTooShort':
      return `The key "${ref.key}" of the Secret "${ref.name}" has fewer than 32 bytes.`
  }
}
