// From resources to the one record that gateways serve a tenant by. The controller and the `dev` catalog both compile here, so they cannot differ.
import { createHash } from 'node:crypto'
import { isRecord } from '../json.js'
import { matchProblem } from '../tenant/channel-match.js'
import { compileIssuer, type KeyLookup } from './keys.js'
import { compileLimits } from './limits.js'
import { parseDuration } from '../resources/duration.js'
import { selectorMatches } from '../resources/label-selector.js'
import { originProblem } from '../tenant/origin.js'
import type { ApiKey, ChannelRule, Issuer, Limits, TenantPolicy } from '../tenant/policy.js'
import type { Problem } from '../resources/problem.js'
import type { ChatPlan } from '../resources/chat-plan.js'
import type { Rule } from '../resources/channel-rules.js'
import type { ChatTenant } from '../resources/chat-tenant.js'
import { tenantSecretName } from './secret-names.js'

export interface CompileInput {
  readonly tenant: ChatTenant
  /** What `planRef` names; undefined: there is none. */
  readonly plan: ChatPlan | undefined
  /** Keys the data plane's state: `metadata.uid` in a cluster, else `tenantIdFromName`. */
  readonly tenantId: string
  /** Content of a Secret in the tenant's namespace; undefined: it, or the key in it, is missing. */
  secret(name: string, key: string): Uint8Array | undefined
  /** Is the Secret a sample that everybody knows? Default: none is. */
  isSample?(name: string): boolean
  /** For entries with `generate`: the key before the present one, while it still counts. Default: there is none. */
  previousKey?(authName: string): Uint8Array | undefined
  /** Of the tenant's ChatCredentials. Default: none. */
  readonly apiKeys?: readonly ApiKey[]
  /** Of the tenant's namespace, for plans that select by them. Default: none. */
  readonly namespaceLabels?: Readonly<Record<string, string>> | undefined
}

/** A policy, or everything that stands in its way. */
export type Compiled = { readonly policy: TenantPolicy } | { readonly problems: readonly Problem[] }

/** Resources must have passed their schema. Never throws for what an author can get wrong. */
export function compileTenant(input: CompileInput): Compiled {
  const { tenant, plan, tenantId } = input
  const { spec } = tenant
  if (!plan) {
    const message = `There is no ChatPlan "${spec.planRef.name}".`
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
  }
  return { policy: withRevision(policy) }
}

/** Where a resource without a namespace lives. */
const defaultNamespace = 'default'

export function namespaceOf(resource: { metadata: { namespace?: string | undefined } }): string {
  return resource.metadata.namespace ?? defaultNamespace
}

/** A tenant's id where there is no UID: the same name has the same data again. */
export function tenantIdFromName(namespace: string, name: string): string {
  return sha256(`${namespace}/${name}`).slice(0, 32)
}

function compileIssuers(input: CompileInput): { issuers: Issuer[]; problems: Problem[] } {
  const { spec, metadata } = input.tenant
  const source: KeyLookup = {
    generatedSecretName: spec.credentials.secretName ?? tenantSecretName(metadata.name),
    secret: (name, key) => input.secret(name, key),
    isSample: (name) => input.isSample?.(name) ?? false,
  }
  const issuers: Issuer[] = []
  const problems: Problem[] = []
  for (const [index, auth] of spec.auth.entries()) {
    const compiled = compileIssuer(auth, source, ['spec', 'auth', index])
    if ('reason' in compiled) problems.push(compiled)
    else issuers.push(compiled)
  }
  return { issuers: [...issuers, ...previousIssuers(input, source)], problems }
}

/** Behind the present ones, since they are asked for less and less. One that does not work any more is no problem of the author's. */
function previousIssuers(input: CompileInput, source: KeyLookup): Issuer[] {
  return input.tenant.spec.auth.flatMap((auth) => {
    const previous = auth.generate && input.previousKey?.(auth.name)
    if (!previous) return []
    const compiled = compileIssuer(auth, { ...source, secret: () => previous }, [])
    return 'reason' in compiled ? [] : [compiled]
  })
}

/** History above the plan's retention is cut to it, not refused: a plan can be lowered without breaking its tenants. Limits tell what holds. */
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

function originProblems(origins: readonly string[]): Problem[] {
  return origins.flatMap((origin, index) => {
    const message = originProblem(origin)
    if (message === undefined) return []
    return [{ path: ['spec', 'allowedOrigins', index], reason: 'InvalidOrigin' as const, message }]
  })
}

/** With the hash of all the rest. */
export function withRevision(policy: Omit<TenantPolicy, 'revision'>): TenantPolicy {
  return { ...policy, revision: sha256(canonicalJson(policy)).slice(0, 16) }
}

/** Keys in order at every depth: who wrote the fields down in what order does not matter. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    isRecord(part) ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1))) : part,
  )
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
