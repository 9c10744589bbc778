// The room `compile`: converts resources into the policies that gateways enforce. It imports leaves,
// `tenant`, `resources` and the seam of `catalog`. Start here: `compileTenant` compiles one tenant. The
// controller and `parley dev` both call it, so their results cannot differ. `manifests.ts` compiles a folder
// of manifests, `keys.ts` the keys, `limits.ts` the limits, and `credential.ts` the API keys.
import { createHash } from 'node:crypto'
import { isRecord } from '../json.js'
import { matchProblem } from '../tenant/channel-match.js'
import { compileIssuer, type KeyLookup } from './keys.js'
import { compileLimits } from './limits.js'
import { parseDuration } from '../resources/duration.js'
import { selectorMatches } from '../resources/label-selector.js'
import { originProblem } from '../tenant/origin.js'
import {
  toPolicyRecord,
  type ApiKey,
  type ChannelRule,
  type Issuer,
  type Limits,
  type TenantPolicy,
} from '../tenant/policy.js'
import type { Problem } from '../resources/problem.js'
import type { ChatPlan } from '../resources/chat-plan.js'
import type { Rule } from '../resources/channel-rules.js'
import type { ChatTenant } from '../resources/chat-tenant.js'
import type { RevocationEntry } from '../resources/revocations.js'
import type { Revocation } from '../tenant/revocations.js'
import { tenantSecretName } from './secret-names.js'

/** The input of `compileTenant`. */
export interface CompileInput {
  readonly tenant: ChatTenant
  /** The plan that `planRef` names; undefined when it does not exist. */
  readonly plan: ChatPlan | undefined
  /**
   * Identifies the data of the tenant in Redis: `metadata.uid` in a cluster, otherwise the result of
   * `tenantIdFromName`.
   */
  readonly tenantId: string
  /**
   * Returns a value of a Secret in the namespace of the tenant, or undefined when the Secret or the key in it
   * does not exist.
   */
  secret(name: string, key: string): Uint8Array | undefined
  /** Returns whether the Secret is a sample that is published with Parley. Default: no Secret is a sample. */
  isSample?(name: string): boolean
  /**
   * Returns the previous key of an entry with `generate`, as long as it is still valid. Default: there is
   * none.
   */
  previousKey?(authName: string): Uint8Array | undefined
  /** The API keys of the tenant's ChatCredentials. Default: none. */
  readonly apiKeys?: readonly ApiKey[]
  /** The labels of the tenant's namespace, for plans that select namespaces by label. Default: none. */
  readonly namespaceLabels?: Readonly<Record<string, string>> | undefined
}

/** The compiled policy, or all problems of the resources. */
export type Compiled = { readonly policy: TenantPolicy } | { readonly problems: readonly Problem[] }

/**
 * Compiles one tenant. The resources must have passed their schemas. Errors of their authors are returned as
 * problems, never thrown.
 */
export function compileTenant(input: CompileInput): Compiled {
  const { tenant, plan, tenantId } = input
  const { spec } = tenant
  if (!plan) {
    const message = `There is no ChatPlan "${spec.planRef.name}". Create it, or name an existing plan.`
    return { problems: [{ path: ['spec', 'planRef', 'name'], reason: 'PlanNotFound', message }] }
  }

  const { limits, problems: quotaProblems } = compileLimits(
    { name: plan.metadata.name, limits: plan.spec.limits },
    spec.quota ?? {},
  )
  const { issuers, problems: keyProblems } = compileIssuers(input)
  const problems = [
    ...namespaceProblems(plan, input),
    ...quotaProblems,
    ...keyProblems,
    ...matchProblems(spec.channels),
    ...durabilityProblems(spec.channels),
    ...originProblems(spec.allowedOrigins),
  ]
  if (problems.length > 0) return { problems }

  const policy = {
    tenantId,
    namespace: namespaceOf(tenant),
    name: tenant.metadata.name,
    displayName: spec.displayName,
    suspended: spec.suspend,
    enforcement: plan.spec.enforcement,
    preemption: plan.spec.preemption,
    limits,
    allowedOrigins: spec.allowedOrigins,
    issuers,
    ...(input.apiKeys && input.apiKeys.length > 0 && { apiKeys: [...input.apiKeys] }),
    channels: spec.channels.map((rule) => compileRule(rule, limits.retention)),
    ...(spec.revocations.length > 0 && { revocations: spec.revocations.map(compileRevocation) }),
    ...(spec.tokensIssuedBefore !== undefined && {
      tokensIssuedBeforeMs: Date.parse(spec.tokensIssuedBefore),
    }),
  }
  return { policy: withRevision(policy) }
}

/** The namespace of a resource that names none. */
const defaultNamespace = 'default'

/** Returns the namespace of a resource: "default" when it names none. */
export function namespaceOf(resource: { metadata: { namespace?: string | undefined } }): string {
  return resource.metadata.namespace ?? defaultNamespace
}

/**
 * Returns the id of a tenant that has no UID. A tenant that is created again under the same name has the same
 * data.
 */
export function tenantIdFromName(namespace: string, name: string): string {
  return sha256(`${namespace}/${name}`).slice(0, 32)
}

function compileIssuers(input: CompileInput): { issuers: Issuer[]; problems: Problem[] } {
  const { spec, metadata } = input.tenant
  const lookup: KeyLookup = {
    generatedSecretName: spec.credentials.secretName ?? tenantSecretName(metadata.name),
    secret: (name, key) => input.secret(name, key),
    isSample: (name) => input.isSample?.(name) ?? false,
  }
  const issuers: Issuer[] = []
  const problems: Problem[] = []
  for (const [index, auth] of spec.auth.entries()) {
    const compiled = compileIssuer(auth, lookup, ['spec', 'auth', index])
    if ('reason' in compiled) problems.push(compiled)
    else issuers.push(compiled)
  }
  return { issuers: [...issuers, ...previousIssuers(input, lookup)], problems }
}

/**
 * Returns the issuers of previous keys. They come after the current issuers, because the number of tokens
 * that use them decreases. A previous key that is no longer valid is left out, because the author of the
 * tenant cannot correct it.
 */
function previousIssuers(input: CompileInput, lookup: KeyLookup): Issuer[] {
  return input.tenant.spec.auth.flatMap((auth) => {
    const previous = auth.generate && input.previousKey?.(auth.name)
    if (!previous) return []
    const compiled = compileIssuer(auth, { ...lookup, secret: () => previous }, [])
    return 'reason' in compiled ? [] : [compiled]
  })
}

/**
 * History that exceeds the retention of the plan is reduced and not refused, so that a plan can be lowered
 * without breaking its tenants. The effective limits show the result.
 */
function compileRule(rule: Rule, retention: Limits['retention']): ChannelRule {
  const { name, match, grants, history, presence, joinLeave } = rule
  const size = Math.min(history?.size ?? 0, retention.historyMessages)
  const ttlMs = Math.min(parseDuration(history?.ttl ?? '0s') ?? 0, retention.historyTtlMs)
  return {
    name,
    match,
    grants,
    history:
      size > 0 && ttlMs > 0
        ? { size, ttlMs, ...(history?.recovery === 'Cache' && { newestOnly: true }) }
        : null,
    presence: presence && retention.presence,
    joinLeave,
    durability: rule.durability && durabilities[rule.durability],
    sanitize: rule.sanitize === 'StripMarkup' ? 'stripMarkup' : 'none',
  }
}

function compileRevocation({ expiresAt, issuedBefore, ...rest }: RevocationEntry): Revocation {
  return {
    ...rest,
    ...(issuedBefore !== undefined && { issuedBeforeMs: Date.parse(issuedBefore) }),
    ...(expiresAt !== undefined && { expiresAtMs: Date.parse(expiresAt) }),
  }
}

const durabilities = { Accepted: 'accepted', Replicated: 'replicated', Durable: 'durable' } as const

function namespaceProblems(plan: ChatPlan, { tenant, namespaceLabels = {} }: CompileInput): Problem[] {
  const { from, selector = {} } = plan.spec.allowedNamespaces
  if (from === 'All' || (from === 'Selector' && selectorMatches(selector, namespaceLabels))) return []
  const message = `Plan "${plan.metadata.name}" is not for tenants in namespace "${namespaceOf(tenant)}".`
  return [{ path: ['spec', 'planRef', 'name'], reason: 'NamespaceNotAllowed', message }]
}

function matchProblems(rules: readonly Rule[]): Problem[] {
  return rules.flatMap(({ match }, index) => {
    const message = matchProblem(match)
    if (message === undefined) return []
    return [{ path: ['spec', 'channels', index, 'match', 'value'], reason: 'InvalidMatch' as const, message }]
  })
}

/**
 * There is no archive yet, so the broker would refuse every publish on a channel whose rule asks for Durable.
 */
function durabilityProblems(rules: readonly Rule[]): Problem[] {
  return rules.flatMap(({ durability, name }, index) => {
    if (durability !== 'Durable') return []
    const message =
      `Rule "${name}" asks for durability Durable, but this installation has no ` +
      'archive, so every publish would be refused. Use Replicated, Accepted, or omit the field.'
    const path = ['spec', 'channels', index, 'durability']
    return [{ path, reason: 'DurabilityUnavailable' as const, message }]
  })
}

function originProblems(origins: readonly string[]): Problem[] {
  return origins.flatMap((origin, index) => {
    const message = originProblem(origin)
    if (message === undefined) return []
    return [{ path: ['spec', 'allowedOrigins', index], reason: 'InvalidOrigin' as const, message }]
  })
}

/** Returns the policy with its revision, a hash of all other fields of its record. */
export function withRevision(policy: Omit<TenantPolicy, 'revision'>): TenantPolicy {
  return { ...policy, revision: sha256(canonicalJson(toPolicyRecord(policy))).slice(0, 16) }
}

/** Sorts the keys at every depth, so that the order of the fields does not matter. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    isRecord(part) ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1))) : part,
  )
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
