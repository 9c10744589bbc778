// From a ChatTenant and all that it refers to, to its policy or to what stands in the way.
import { compileTenant, type Compiled } from '../../compile/tenant.js'
import { parseDuration } from '../../resources/duration.js'
import type { ApiKey, TenantPolicy } from '../../tenant/policy.js'
import type { Problem } from '../../resources/problem.js'
import { ChatPlan } from '../../resources/chat-plan.js'
import type { ChatTenant } from '../../resources/chat-tenant.js'
import { isApiError } from '../../kube/api-error.js'
import { apiKeysOf } from '../credentials/api-keys.js'
import { secretBytes } from '../credentials/binding-secret.js'
import type { Cluster } from '../cluster.js'
import type { KeyAlgorithm } from '../credentials/key-material.js'
import type { KeyPlan, KeyWish } from '../credentials/key-rotation.js'
import { rotateAnnotation, sampleAnnotation, secrets } from '../kinds.js'
import type { ObjectApi } from '../../kube/ports.js'
import { lastPolicy } from './last-good-policy.js'
import { keyOf, type ApiObject } from '../../kube/object.js'

export interface TenantPolicyOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  /** What is wrong with an address of keys beyond its form; undefined: nothing. */
  readonly addressProblem: (uri: string) => string | undefined
}

export interface PolicyInput {
  readonly object: ApiObject
  readonly tenant: ChatTenant
  /** Of its generated keys; undefined: there are none. */
  readonly keys: KeyPlan | undefined
  /** What is enforced now. */
  readonly before: TenantPolicy | undefined
  readonly nowMs: number
}

/** `polls`: it reads a Secret that nobody tells of when it changes. */
export type CompiledTenant = Compiled & { readonly polls: boolean }

/** Which keys the tenant wants made. */
export function generatedKeys(tenant: ChatTenant): KeyWish {
  const { auth, credentials } = tenant.spec
  const { rotation } = credentials
  return {
    wanted: new Map<string, KeyAlgorithm>(
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

  /** Rejects when a Secret cannot be read for the moment. */
  async compile(input: PolicyInput): Promise<CompiledTenant> {
    const { cluster } = this.#options
    const { keys, object, tenant } = input
    const { namespace = '' } = object.metadata
    const read = await this.#readSecrets(tenant, namespace)
    const generated = new Map(keys?.keys.map((key) => [key.name, key]))
    const secretName = tenant.spec.credentials.secretName
    const generatedName = secretName ?? `${tenant.metadata.name}-credentials`
    const plan = cluster.caches.plans.get(tenant.spec.planRef.name)
    const compiled = compileTenant({
      tenant,
      plan: plan && ChatPlan.safeParse(plan).data,
      tenantId: object.metadata.uid,
      secret: (name, key) => {
        const own = name === generatedName ? generated.get(key) : undefined
        return own ? Buffer.from(own.verifying) : secretBytes(read.get(name)).get(key)
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

  /** What is enforced while the spec is not accepted. `keys` as in PolicyInput. */
  goOn(last: TenantPolicy, { keys, nowMs, object }: Omit<PolicyInput, 'before' | 'tenant'>): TenantPolicy {
    return lastPolicy(last, { object, keys, apiKeys: this.#apiKeys({ object, before: last, nowMs }) })
  }

  /** Those with our label are known; others are asked for by name and not kept. */
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

  /** A credential that makes no sense after an edit goes on with what it had. */
  #apiKeys({ before, nowMs, object }: Pick<PolicyInput, 'before' | 'nowMs' | 'object'>): ApiKey[] {
    const { caches, credentialsByTenant } = this.#options.cluster
    return [...credentialsByTenant.keysOf(keyOf(object.metadata))].toSorted().flatMap((key) => {
      const credential = caches.credentials.get(key)
      if (!credential) return []
      const known = before?.apiKeys?.filter((entry) => entry.credential === credential.metadata.name)
      return apiKeysOf(credential, caches.secrets, nowMs) ?? known ?? []
    })
  }

  #addressProblems(tenant: ChatTenant): Problem[] {
    return tenant.spec.auth.flatMap(({ jwksURI, name }, index) => {
      const found = jwksURI === undefined ? undefined : this.#options.addressProblem(jwksURI)
      if (found === undefined) return []
      const message = `The key set of auth "${name}" cannot be fetched: ${found}.`
      return [{ path: ['spec', 'auth', index, 'jwksURI'], reason: 'InvalidKey' as const, message }]
    })
  }
}
