// Short policies for tests: a tenant with the rules that a test needs, and generous limits.
import { createHash } from 'node:crypto'
import type { ChannelRule, Grant, Issuer, Limits, Subject, TenantPolicy } from '../../src/tenant/policy.js'

export const generousLimits: Limits = {
  connections: {
    max: 10_000,
    perUser: 1_000,
    connectsPerSecond: 10_000,
    commandsPerSecond: 10_000,
    guests: 10_000,
  },
  messages: {
    publishPerSecond: 100_000,
    publishBurst: 100_000,
    maxBytes: 32_768,
    fanoutPerSecond: 10_000_000,
    readsPerSecond: 1_000_000,
    joinsPerSecond: 1_000_000,
    bytesOutPerSecond: 10_000_000_000,
  },
  channels: {
    max: 10_000,
    maxSubscribersPerChannel: 10_000,
    maxSubscriptionsPerConnection: 128,
    nameMaxLength: 255,
  },
  retention: {
    historyMessages: 10_000,
    historyTtlMs: 86_400_000,
    presence: true,
    storedBytes: 10_000_000_000,
  },
  api: { requestsPerSecond: 1_000_000 },
}

const everyAuthenticatedUser: Subject[] = [{ authenticated: true }]

export function allow(operations: Grant['operations'], subjects: Subject[] = everyAuthenticatedUser): Grant {
  return { effect: 'Allow', operations, subjects }
}

export function deny(operations: Grant['operations'], subjects: Subject[] = everyAuthenticatedUser): Grant {
  return { effect: 'Deny', operations, subjects }
}

export const allOperations: Grant['operations'] = ['Subscribe', 'Publish', 'Presence', 'History']

/**
 * A rule. `value` is a pattern when it contains `{` or `*`, a prefix when it ends with `:`, and otherwise a
 * literal. Default: every authenticated user has all operations.
 */
export function rule(value: string, overrides: Partial<ChannelRule> = {}): ChannelRule {
  const type = /[{*]/.test(value) ? 'Pattern' : value.endsWith(':') ? 'Prefix' : 'Literal'
  return {
    name: value,
    match: { type, value },
    grants: [allow(allOperations)],
    history: { size: 1000, ttlMs: 3_600_000 },
    presence: true,
    joinLeave: true,
    sanitize: 'none',
    ...overrides,
  }
}

export const acmeSecret = Buffer.from('a test secret that is long enough for HS512, all sixty-four bytes')

/** The issuer of `tenantPolicy`. */
export const acmeIssuer = {
  name: 'main',
  algorithms: ['HS256', 'HS384', 'HS512'],
  claims: { user: 'sub', name: 'name', roles: 'roles', info: 'info' },
  key: { type: 'SharedKey', secret: acmeSecret.toString('base64'), sample: true },
} satisfies Issuer

/** The tenant `demo/acme` with the overrides. Different contents have different revisions. */
export function tenantPolicy(overrides: Partial<TenantPolicy> = {}): TenantPolicy {
  const policy: TenantPolicy = {
    tenantId: `id-of-${overrides.namespace ?? 'demo'}-${overrides.name ?? 'acme'}`,
    namespace: 'demo',
    name: 'acme',
    revision: '',
    suspended: false,
    enforcement: 'Enforce',
    preemption: 'Never',
    limits: generousLimits,
    allowedOrigins: [],
    issuers: [acmeIssuer],
    channels: [
      rule('lobby'),
      rule('general'),
      rule('dm:*', { grants: [allow(['Publish'])] }),
      rule('dm:{user}'),
    ],
    ...overrides,
  }
  return {
    ...policy,
    revision: createHash('sha256').update(JSON.stringify(policy)).digest('hex').slice(0, 16),
  }
}
