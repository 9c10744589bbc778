// The room `tenant`: the data that a gateway has about one tenant, and the pure functions that make decisions
// from it. It imports only leaves. Start here: `TenantPolicy` is the compiled policy of one tenant. It holds
// everything that a gateway needs to serve the tenant and nothing of Kubernetes, and it travels through the
// catalog as JSON. `acl.ts` decides who may do what on which channel, `channel-match.ts` compares channel
// names with a rule, `origin.ts` decides which web pages may connect.
import { z } from 'zod'
import { Revocation } from './revocations.js'

/** The operations that a channel rule grants or denies. */
export const operations = ['Subscribe', 'Publish', 'Presence', 'History'] as const
export type Operation = (typeof operations)[number]

const count = z.int().min(0)

/**
 * The limits that a record names only where they differ from these defaults. Gateways of an earlier version
 * refuse a record with a field that they do not know.
 */
export const limitDefaults = {
  messages: { readsPerSecond: 200, joinsPerSecond: 1_000, bytesOutPerSecond: 10_485_760 },
  retention: { storedBytes: 268_435_456 },
  api: { requestsPerSecond: 100 },
} as const

/**
 * The effective limits: those of the plan, lowered by the tenant's own quota. A rate is per second and tenant
 * unless its field says otherwise.
 */
export const Limits = z.strictObject({
  connections: z.strictObject({
    /** The maximum number of connections at one time, over all gateways. */
    max: count,
    /** The maximum number of connections of one user at one time. */
    perUser: count,
    /** New connections per second. */
    connectsPerSecond: count,
    /** Applies to each connection. */
    commandsPerSecond: count,
    /** The part of `max` that guests may use. Absent: half of `max`; see `guestsMax`. */
    guests: count.optional(),
  }),
  messages: z.strictObject({
    publishPerSecond: count,
    /** The number of publications that may follow each other immediately after an idle time. */
    publishBurst: count,
    /** The maximum size of a message, in bytes. */
    maxBytes: count,
    /** Deliveries per second: one publication to a thousand subscribers counts as a thousand. */
    fanoutPerSecond: count,
    /** Reads of history and presence per second. */
    readsPerSecond: count.default(limitDefaults.messages.readsPerSecond),
    /** Subscriptions that begin per second. */
    joinsPerSecond: count.default(limitDefaults.messages.joinsPerSecond),
    /** Bytes per second that are sent to clients. */
    bytesOutPerSecond: count.default(limitDefaults.messages.bytesOutPerSecond),
  }),
  channels: z.strictObject({
    /** The maximum number of channels with subscribers at one time. */
    max: count,
    maxSubscribersPerChannel: count,
    maxSubscriptionsPerConnection: count,
    /** The maximum length of a channel name, in bytes of UTF-8. */
    nameMaxLength: count,
  }),
  retention: z.strictObject({
    historyMessages: count,
    historyTtlMs: count,
    presence: z.boolean(),
    /** Bytes of Redis that the stored messages of the tenant may use. */
    storedBytes: count.default(limitDefaults.retention.storedBytes),
  }),
  /** Limits of the server API. */
  api: z.strictObject({ requestsPerSecond: count.default(limitDefaults.api.requestsPerSecond) }).prefault({}),
})
export type Limits = z.infer<typeof Limits>

/** Returns the number of connections that guests may have at one time. */
export function guestsMax({ guests, max }: Limits['connections']): number {
  return guests ?? Math.ceil(max / 2)
}

/**
 * The clients to which a grant applies. All fields of one subject must match (AND); one matching subject of a
 * grant is enough (OR).
 */
export const Subject = z.strictObject({
  users: z.array(z.string()).optional(),
  roles: z.array(z.string()).optional(),
  /**
   * Maps a claim name to values of which the token must have one. A dot in the name selects a field of an
   * object. Values are compared as text.
   */
  claims: z.record(z.string(), z.array(z.string())).optional(),
  /** Matches every client with a valid token. */
  authenticated: z.literal(true).optional(),
  /** Matches guests, which are clients without a token. A guest matches no other field. */
  anonymous: z.literal(true).optional(),
})
export type Subject = z.infer<typeof Subject>

export const Grant = z.strictObject({
  effect: z.enum(['Allow', 'Deny']),
  operations: z.array(z.enum(operations)),
  subjects: z.array(Subject),
})
export type Grant = z.infer<typeof Grant>

export const ChannelRule = z.strictObject({
  name: z.string(),
  match: z.strictObject({ type: z.enum(['Literal', 'Prefix', 'Pattern']), value: z.string() }),
  grants: z.array(Grant),
  /** Null: a publication is delivered to the current subscribers and is not stored. */
  history: z
    .strictObject({
      size: z.int().min(1),
      ttlMs: z.int().min(1),
      /**
       * A client that recovers gets only the newest publication. Absent: it gets every publication that it
       * missed.
       */
      newestOnly: z.literal(true).optional(),
    })
    .nullable(),
  presence: z.boolean(),
  joinLeave: z.boolean(),
  /** The lowest durability at which a publish is acknowledged. Absent: the broker's default. */
  durability: z.enum(['accepted', 'replicated', 'durable']).optional(),
  sanitize: z.enum(['none', 'stripMarkup']),
})
export type ChannelRule = z.infer<typeof ChannelRule>

/** The JWS algorithms that a token may be signed with. */
export const signingAlgorithms = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const
export type SigningAlgorithm = (typeof signingAlgorithms)[number]

/**
 * The names of the claims that hold the user, the display name, the roles and the info. A dot selects a field
 * of an object (`realm_access.roles`); an exact top-level name takes precedence.
 */
const ClaimNames = z.strictObject({ user: z.string(), name: z.string(), roles: z.string(), info: z.string() })

/** One source of valid tokens. The field that belongs to `key.type` holds the key material. */
export const Issuer = z.strictObject({
  name: z.string(),
  issuer: z.string().optional(),
  audience: z.string().optional(),
  /** Never empty. HS* algorithms are never mixed with others. */
  algorithms: z.array(z.enum(signingAlgorithms)).min(1),
  claims: ClaimNames,
  key: z.discriminatedUnion('type', [
    /** `secret` is the raw secret in base64. `sample` is true for a key that is published with Parley. */
    z.strictObject({ type: z.literal('SharedKey'), secret: z.string(), sample: z.boolean() }),
    /** `pem` is the public key as SPKI in PEM. */
    z.strictObject({ type: z.literal('PublicKey'), pem: z.string() }),
    z.strictObject({ type: z.literal('JWKS'), keys: z.array(z.record(z.string(), z.unknown())) }),
    z.strictObject({ type: z.literal('JWKSURI'), uri: z.string() }),
  ]),
})
export type Issuer = z.infer<typeof Issuer>

/**
 * A key with which a backend of the tenant calls the server API. Holds the hash of the key, never the key
 * itself.
 */
export const ApiKey = z.strictObject({
  /** An identifier derived from the hash. Logs and status show it. */
  id: z.string(),
  /** The name of the ChatCredential. */
  credential: z.string(),
  /** The SHA-256 of the key in hex. Keys are random, so a slow password hash is not needed. */
  sha256: z.string().length(64),
  role: z.enum(['Publisher', 'Admin', 'ReadOnly']),
  /** The channels and operations that the key is limited to. Empty: all channels of the tenant. */
  scopes: z.array(
    z.strictObject({ match: ChannelRule.shape.match, operations: z.array(z.enum(operations)) }),
  ),
  /** When the key expires, in milliseconds since the epoch. Absent: never. */
  expiresAtMs: z.int().optional(),
})
export type ApiKey = z.infer<typeof ApiKey>

/** The compiled policy of one tenant. */
export const TenantPolicy = z.strictObject({
  tenantId: z.string(),
  namespace: z.string(),
  name: z.string(),
  displayName: z.string().optional(),
  /** A hash of all other fields: two policies with the same revision are equal. */
  revision: z.string(),
  suspended: z.boolean(),
  /**
   * The handling of a request that exceeds a limit. `Enforce` refuses it. `Warn` allows, counts and logs it.
   * `DryRun` allows and counts it.
   */
  enforcement: z.enum(['Enforce', 'Warn', 'DryRun']),
  /**
   * The handling of open connections above a limit that was lowered. `Never` keeps them open. `ShedNewest`
   * closes the newest, and `ShedIdle` closes those that were idle longest.
   */
  preemption: z.enum(['Never', 'ShedNewest', 'ShedIdle']),
  limits: Limits,
  /**
   * The origins of web pages that may connect: `https://host[:port]`, `https://*.host`, or `*`. Empty: only
   * clients that send no Origin, and pages of the gateway's own host.
   */
  allowedOrigins: z.array(z.string()),
  /**
   * A token is verified by the first matching issuer. Issuers of one name are the keys of one source during a
   * key rotation.
   */
  issuers: z.array(Issuer),
  /** Absent: the tenant has no API keys. */
  apiKeys: z.array(ApiKey).optional(),
  channels: z.array(ChannelRule),
  /** The revocations of the resource. Absent: none. Those made by the server API are not in the policy. */
  revocations: z.array(Revocation).optional(),
  /** Tokens that were issued before this time are revoked, in milliseconds since the epoch. Absent: none. */
  tokensIssuedBeforeMs: z.number().optional(),
})
export type TenantPolicy = z.infer<typeof TenantPolicy>

/** A policy as the catalog stores it: limits with their default value are left out. */
export type PolicyRecord = z.input<typeof TenantPolicy>

/** Returns the policy without the limits that have the values of `limitDefaults`, for `JSON.stringify`. */
export function toPolicyRecord<Policy extends { readonly limits: Limits }>(
  policy: Policy,
): Omit<Policy, 'limits'> & { limits: PolicyRecord['limits'] } {
  const { api, messages, retention, ...rest } = policy.limits
  const { requestsPerSecond } = limitDefaults.api
  return {
    ...policy,
    limits: {
      ...rest,
      messages: {
        ...messages,
        readsPerSecond: unlessDefault(messages.readsPerSecond, limitDefaults.messages.readsPerSecond),
        joinsPerSecond: unlessDefault(messages.joinsPerSecond, limitDefaults.messages.joinsPerSecond),
        bytesOutPerSecond: unlessDefault(
          messages.bytesOutPerSecond,
          limitDefaults.messages.bytesOutPerSecond,
        ),
      },
      retention: {
        ...retention,
        storedBytes: unlessDefault(retention.storedBytes, limitDefaults.retention.storedBytes),
      },
      api: api.requestsPerSecond === requestsPerSecond ? undefined : api,
    },
  }
}

function unlessDefault(value: number, defaultValue: number): number | undefined {
  return value === defaultValue ? undefined : value
}

/** Returns `<namespace>/<name>`, the name of a tenant in URLs, metrics and logs. */
export function tenantKey(policy: { namespace: string; name: string }): string {
  return `${policy.namespace}/${policy.name}`
}
