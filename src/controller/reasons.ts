// The closed list of reasons in conditions and Events. Reasons are API: alerts match them.
// docs/reference/conditions.md is generated from this file.
import type { ProblemReason } from '../resources/problem.js'

/**
 * The reasons of conditions and Events, with their meaning as docs/reference/conditions.md shows it. The
 * reasons for a spec that cannot be met come from resources/problem.ts.
 */
export const reasons = {
  Accepted: 'The plan allows what the spec asks for, and the spec could be compiled.',
  Available: 'All checks pass: clients can connect.',
  Suspended: 'spec.suspend is true: all connections are closed, new ones are refused, and data is kept.',
  InvalidResource: 'A field is unknown, missing or out of bounds. The message names the field.',
  TenantNotFound: 'The ChatCredential names a tenant that does not exist in its namespace.',
  TenantNotAccepted:
    'The tenant of the ChatCredential does not have this key yet, so no gateway accepts the key.',
  TooManyCredentials:
    'The tenant has 256 older ChatCredentials, which is the maximum. The key of this one is not accepted.',
  CredentialsReady: 'The Secret holds the generated keys.',
  SecretNotOurs:
    'A Secret with this name exists, but it does not belong to this object. The controller does not change it.',
  SecretRefused: 'The API server refuses the Secret. The message contains its answer.',
  ImportNotLabelled: 'The Secret to import from lacks the label parley.chat/secret=import.',
  ImportNotFound: 'The Secret to import from does not exist, or does not contain the key.',
  ImportTooShort: 'The imported key has fewer than 32 bytes.',
  Expired: 'The time to live of the key is over. Rotate the key, or delete the ChatCredential.',
  Programmed: 'Every live gateway enforces this revision.',
  Pending: 'The revision is in the catalog, but not every live gateway has reported it yet.',
  NoGateways: 'No live gateway has reported to Redis.',
  GatewayProblem:
    'A gateway cannot serve this revision: its sealing key is missing, or its version is too old.',
  CatalogUnavailable:
    'The controller cannot write to Redis at the moment. Gateways continue with the catalog that they have.',
  LastGoodRevision:
    'The spec is not accepted. Gateways enforce the last accepted revision, except that a suspension and revoked keys take effect.',
  NeverAccepted: 'No revision of this tenant was ever accepted: gateways do not know the tenant.',
  NearQuota: 'More than 90 % of a limit is used.',
  BelowQuota: 'Less than 90 % of every limit is used.',
  Reconciling: 'The controller or the gateways are still working on the object.',
  Settled: 'No work is left.',
  Progressing: 'No user action is needed: the work continues by itself.',
  CatalogNotOurs:
    'The catalog in Redis belongs to the controller of another cluster that has the same --installation.',
  HostnameTaken: 'An older tenant claims one of the hostnames.',
  NoConflict: 'No other object claims the same hostnames or catalog.',
  // The following reasons appear only in Events.
  KeysGenerated: 'Keys were generated: the first ones, or because the Secret was deleted or changed by hand.',
  KeysRotated: 'Keys were replaced by new ones. The previous keys stay valid until the overlap ends.',
  SecretRepaired: 'The Secret had been changed by hand and was restored.',
} as const satisfies Record<string, string>

/**
 * The meanings of the reasons in resources/problem.ts that occur in a cluster. `InvalidResource` is among the
 * reasons above.
 */
export const problemMeanings = {
  PlanNotFound: 'The ChatPlan does not exist.',
  NamespaceNotAllowed: 'The plan does not allow the namespace of the tenant.',
  QuotaAbovePlan: 'The quota asks for more than the plan allows.',
  KeyNotFound: 'A Secret that must hold a key does not exist, or does not contain the key.',
  KeyTooShort: 'A key has fewer bytes or bits than its algorithm needs.',
  InvalidKey: 'A key cannot be read, is a private key, or has a JWKS URL at an address that is not allowed.',
  InvalidAlgorithm: 'An algorithm does not fit its key.',
  InvalidMatch: 'The match of a channel rule is not a valid pattern.',
  InvalidOrigin: 'An allowed origin is not a valid origin.',
  DurabilityUnavailable: 'A channel rule asks for a durability that this installation does not offer.',
} as const satisfies Partial<Record<ProblemReason, string>>

export type Reason = keyof typeof reasons | ProblemReason

/** The condition types, with the meaning of True. */
export const conditionTypes = {
  Ready: 'Accepted, CredentialsReady and Programmed are all true. Use it with `kubectl wait`.',
  Accepted: 'The spec can be met: plan, quota, keys and rules are valid.',
  Programmed: 'All live gateways enforce the spec.',
  CredentialsReady: 'The Secret of generated keys is up to date.',
  QuotaPressure: 'More than 90 % of a limit is used.',
  Reconciling: 'Work is in progress and continues by itself.',
  Stalled: 'Work has stopped until a user changes something.',
  Conflict: 'Another object claims the same hostname, or another cluster owns the catalog.',
} as const satisfies Record<string, string>
export type ConditionType = keyof typeof conditionTypes
