// Compiles a ChatTenant and the objects that it refers to into its policy, or into the problems of its spec.
import { compileTenant, type Compiled } from '../../compile/tenant.js'
import { parseDuration } from '../../resources/duration.js'
import type { ApiKey, TenantPolicy } from '../../tenant/policy.js'
import type { Problem } from '../../resources/problem.js'
import { ChatPlan } from '../../resources/chat-plan.js'
import type { ChatTenant } from '../../resources/chat-tenant.js'
import { isApiError } from '../../kube/api-error.js'
import { tenantSecretName } from '../../compile/secret-names.js'
import { apiKeysOf } from '../credentials/api-keys.js'
import { secretDataBytes } from '../credentials/binding-secret.js'
import type { Cluster } from '../cluster.js'
import type { KeyAlgorithm } from '../credentials/key-material.js'
import type { DesiredKeys, GeneratedKeys } from '../credentials/key-rotation.js'
import { rotateAnnotation, sampleAnnotation, secrets } from '../kinds.js'
import type { ObjectApi } from '../../kube/ports.js'
import { lastGoodPolicy } from './last-good-policy.js'
import { compareAge, keyOf, type ApiObject } from '../../kube/object.js'

export interface TenantPolicyOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  /** Returns why a JWKS URL of valid form may not be used, or undefined when it may be used. */
  readonly addressProblem: (uri: string) => string | undefined
}

export interface PolicyInput {
  readonly object: ApiObject
  readonly tenant: ChatTenant
  /** The tenant's generated keys. Undefined when there are none. */
  readonly keys: GeneratedKeys | undefined
  /** The policy that is enforced now. */
  readonly enforced: TenantPolicy | undefined
  readonly nowMs: number
}

/**
 * `polls` is true when the tenant reads a Secret that is not watched, so that its changes are found only by
 * polling.
 */
export type CompiledTenant = Compiled & { readonly polls: boolean }

/**
 * The maximum number of ChatCredentials of one tenant. Each pass over the tenant reads all of them, and each
 * gateway holds their keys.
 */
export const credentialsMax = 256

/** Returns the keys that the controller generates for the tenant's spec. */
export function desiredTenantKeys(tenant: ChatTenant): DesiredKeys {
  const { auth, credentials } = tenant.spec
  const { rotation } = credentials
  return {
    algorithms: new Map<string, KeyAlgorithm>(
      auth.flatMap(({ generate, name }) => (generate ? [[name, generate.algorithm] as const] : [])),
    ),
    rotation: rotation && {
      intervalMs: parseDuration(rotation.interval) ?? 0,
      overlapMs: parseDuration(rotation.overlap) ?? 0,
    },
    request: tenant.metadata.annotations?.[rotateAnnotation],
  }
}

export class TenantPolicies {
  readonly #options: TenantPolicyOptions

  constructor(options: TenantPolicyOptions) {
    this.#options = options
  }

  /** Rejects when a Secret cannot be read at the moment. */
  async compile(input: PolicyInput): Promise<CompiledTenant> {
    const { cluster } = this.#options
    const { keys, object, tenant } = input
    const { namespace = '' } = object.metadata
    const read = await this.#readSecrets(tenant, namespace)
    const generated = new Map(keys?.keys.map((key) => [key.name, key]))
    const generatedName = tenant.spec.credentials.secretName ?? tenantSecretName(tenant.metadata.name)
    const plan = cluster.caches.plans.get(tenant.spec.planRef.name)
    const compiled = compileTenant({
      tenant,
      plan: plan && ChatPlan.safeParse(plan).data,
      tenantId: object.metadata.uid,
      secret: (name, key) => {
        const own = name === generatedName ? generated.get(key) : undefined
        return own ? Buffer.from(own.verifying) : secretDataBytes(read.get(name)).get(key)
      },
      isSample: (name) => read.get(name)?.metadata.annotations[sampleAnnotation] === 'true',
      previousKey: (name) => {
        const previous = generated.get(name)?.previous
        return previous && Buffer.from(previous.verifying)
      },
      apiKeys: this.#apiKeys(input),
      namespaceLabels: cluster.caches.namespaces.get(namespace)?.metadata.labels,
    })
    const polls = [...read.keys()].some((name) => !cluster.caches.secrets.get(keyOf({ namespace, name })))
    const problems = [...this.#addressProblems(tenant), ...('problems' in compiled ? compiled.problems : [])]
    return problems.length > 0 || 'problems' in compiled ? { problems, polls } : { ...compiled, polls }
  }

  /** Returns the policy to enforce while the spec is not accepted. */
  lastGood(
    last: TenantPolicy,
    { keys, nowMs, object }: Omit<PolicyInput, 'enforced' | 'tenant'>,
  ): TenantPolicy {
    return lastGoodPolicy(last, { object, keys, apiKeys: this.#apiKeys({ object, enforced: last, nowMs }) })
  }

  /**
   * Reads labelled Secrets from the cache, and all others by name from the API server without caching them.
   */
  async #readSecrets(tenant: ChatTenant, namespace: string): Promise<Map<string, ApiObject | undefined>> {
    const { api, cluster } = this.#options
    const names = new Set(tenant.spec.auth.flatMap(({ keyRef }) => keyRef?.name ?? []))
    const read = new Map<string, ApiObject | undefined>()
    for (const name of names) {
      const cached = cluster.caches.secrets.get(keyOf({ namespace, name }))
      read.set(name, cached ?? (await this.#get(api, { name, namespace })))
    }
    return read
  }

  async #get(api: ObjectApi, name: { name: string; namespace: string }): Promise<ApiObject | undefined> {
    try {
      return await api.get(secrets, name)
    } catch (error) {
      if (isApiError(error, 'NotFound')) return undefined
      throw error
    }
  }

  /**
   * A ChatCredential that is malformed after an edit keeps the keys that it had. Of more than
   * `credentialsMax` the oldest count.
   */
  #apiKeys({ enforced, nowMs, object }: Pick<PolicyInput, 'enforced' | 'nowMs' | 'object'>): ApiKey[] {
    const { caches, credentialsByTenant } = this.#options.cluster
    const keys = [...credentialsByTenant.keysOf(keyOf(object.metadata))]
    const all = keys.toSorted().flatMap((key) => caches.credentials.get(key) ?? [])
    const oldest = all.length > credentialsMax ? all.toSorted(compareAge).slice(0, credentialsMax) : all
    return oldest.flatMap((credential) => {
      const known = enforced?.apiKeys?.filter((entry) => entry.credential === credential.metadata.name)
      return apiKeysOf(credential, caches.secrets, nowMs) ?? known ?? []
    })
  }

  #addressProblems(tenant: ChatTenant): Problem[] {
    return tenant.spec.auth.flatMap(({ jwksURI, name }, index) => {
      const found = jwksURI === undefined ? undefined : this.#options.addressProblem(jwksURI)
      if (found === undefined) return []
      const message = `The JWKS URL of auth entry "${name}" is not allowed: ${found}.`
      return [{ path: ['spec', 'auth', index, 'jwksURI'], reason: 'InvalidKey' as const, message }]
    })
  }
}
