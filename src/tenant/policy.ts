// The compiled policy of one tenant: everything a gateway needs to serve it, and nothing of Kubernetes. It travels through the catalog as JSON.
import { z } from 'zod'

export const operations = ['Subscribe', 'Publish', 'Presence', 'History'] as const
export type Operation = (typeof operations)[number]

const count = z.int().min(0)

/** Effective limits: the plan's, lowered by the tenant's own quota. Rates are per second and tenant unless said. */
export const Limits = z.strictObject({
  connections: z.strictObject({
    max: count,
    perUser: count,
    connectsPerSecond: count,
    /** Per connection. */
    commandsPerSecond: count,
  }),
  messages: z.strictObject({
    publishPerSecond: count,
    publishBurst: count,
    maxBytes: count,
    /** Deliveries: one publication to a thousand subscribers is a thousand. */
    fanoutPerSecond: count,
  }),
  channels: z.strictObject({
    max: count,
    maxSubscribersPerChannel: count,
    maxSubscriptionsPerConnection: count,
    nameMaxLength: count,
  }),
  retention: z.strictObject({ historyMessages: count, historyTtlMs: count, presence: z.boolean() }),
})
export type Limits = z.infer<typeof Limits>

/** Keys of one subject are joined by AND, subjects by OR. */
export const Subject = z.strictObject({
  users: z.array(z.string()).optional(),
  roles: z.array(z.string()).optional(),
  /** Claim name (dots descend) to the values of which one must be there; values compare as text. */
  claims: z.record(z.string(), z.array(z.string())).optional(),
  /** Everybody with a valid token. */
  authenticated: z.literal(true).optional(),
  /** Guests without a token. They match nothing else. */
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
  /** Null: publications reach who is there and are forgotten. */
  history: z
    .strictObject({
      size: z.int().min(1),
      ttlMs: z.int().min(1),
      /** Who comes back gets the newest publication alone. Absent: all that it missed. */
      newestOnly: z.literal(true).optional(),
    })
    .nullable(),
  presence: z.boolean(),
  joinLeave: z.boolean(),
  /** The least a publish is acknowledged at. Absent: the broker's own default. */
  durability: z.enum(['accepted', 'replicated', 'durable']).optional(),
  sanitize: z.enum(['none', 'stripMarkup']),
})
export type ChannelRule = z.infer<typeof ChannelRule>

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

/** Where token facts stand in the claims; dots descend (`realm_access.roles`), an exact top-level name wins. */
const ClaimNames = z.strictObject({ user: z.string(), name: z.string(), roles: z.string(), info: z.string() })

/** One source of valid tokens. Exactly the field that `key.type` says holds key material. */
export const Issuer = z.strictObject({
  name: z.string(),
  issuer: z.string().optional(),
  audience: z.string().optional(),
  /** Never empty, and never mixes HS* with the others. */
  algorithms: z.array(z.enum(signingAlgorithms)).min(1),
  claims: ClaimNames,
  key: z.discriminatedUnion('type', [
    /** Base64 of the raw secret. */
    z.strictObject({ type: z.literal('SharedKey'), secret: z.string(), sample: z.boolean() }),
    /** SPKI in PEM. */
    z.strictObject({ type: z.literal('PublicKey'), pem: z.string() }),
    z.strictObject({ type: z.literal('JWKS'), keys: z.array(z.record(z.string(), z.unknown())) }),
    z.strictObject({ type: z.literal('JWKSURI'), uri: z.string() }),
  ]),
})
export type Issuer = z.infer<typeof Issuer>

/** A key that one of the tenant's backends calls the server API with: never itself, only what it is known by. */
export const ApiKey = z.strictObject({
  /** First characters of the hash: what logs and status say. */
  id: z.string(),
  /** Name of the ChatCredential. */
  credential: z.string(),
  /** SHA-256 in hex. The keys are random, so that nothing slower is needed. */
  sha256: z.string().length(64),
  role: z.enum(['Publisher', 'Admin', 'ReadOnly']),
  /** Empty: all channels of the tenant. */
  scopes: z.array(
    z.strictObject({ match: ChannelRule.shape.match, operations: z.array(z.enum(operations)) }),
  ),
  /** Absent: never. */
  expiresAtMs: z.int().optional(),
})
export type ApiKey = z.infer<typeof ApiKey>

export const TenantPolicy = z.strictObject({
  tenantId: z.string(),
  namespace: z.string(),
  name: z.string(),
  displayName: z.string().optional(),
  /** Hash of all the rest: two policies with one revision are the same. */
  revision: z.string(),
  suspended: z.boolean(),
  /** Warn and DryRun let pass what a quota would refuse, and count it; Warn logs it too. */
  enforcement: z.enum(['Enforce', 'Warn', 'DryRun']),
  /** What happens to connections above a lowered limit. */
  preemption: z.enum(['Never', 'ShedNewest', 'ShedIdle']),
  limits: Limits,
  /** `https://host[:port]`, `https://*.host`, or `*`. Empty: only clients that send no Origin, and pages of the same host. */
  allowedOrigins: z.array(z.string()),
  /** The first that fits verifies. Several may have one name: the keys of one source, while they are being replaced. */
  issuers: z.array(Issuer),
  /** Absent: none. */
  apiKeys: z.array(ApiKey).optional(),
  channels: z.array(ChannelRule),
})
export type TenantPolicy = z.infer<typeof TenantPolicy>

/** `<namespace>/<name>`: how people, URLs and metrics name a tenant. */
export function tenantKey(policy: { namespace: string; name: string }): string {
  return `${policy.namespace}/${policy.name}`
}
