// The closed list of reasons in conditions and Events. They are API: alerts match them, and docs/reference/conditions.md is made of them.
import type { ProblemReason } from '../resources/problem.js'

/** Where they appear and what they mean. Those of a spec that cannot be met are in tenant/problem.ts. */
export const reasons = {
  Accepted: 'The plan allows what the spec asks for, and all of it could be compiled.',
  Available: 'Everything holds: clients can connect.',
  Suspended: 'The spec says so: all connections are closed and new ones refused; data is kept.',
  InvalidResource: 'A field is misspelt, missing or out of bounds: the message says which.',
  TenantNotFound: 'A ChatCredential names a tenant that is not in its namespace.',
  TenantNotAccepted:
    'The tenant of the ChatCredential was never accepted, so that a new key does not count yet.',
  CredentialsReady: 'The Secret holds what it should.',
  SecretNotOurs: 'A Secret of that name is there and was not made by the controller: it is left alone.',
  SecretRefused: 'The API server does not let the controller write the Secret: the message says why.',
  ImportNotLabelled: 'The Secret to import from lacks the label parley.chat/secret=import.',
  ImportNotFound: 'There is no Secret, or no key in it, to import from.',
  ImportTooShort: 'The imported key has fewer than 32 bytes.',
  Expired: 'The key’s time to live is over. Rotate it, or delete the credential.',
  Programmed: 'Every live gateway enforces this revision.',
  Pending: 'The revision is written, and not every live gateway has reported it yet.',
  NoGateways: 'No gateway is alive.',
  GatewayProblem:
    'A gateway cannot serve this revision (its sealing key is missing, or its version is older).',
  CatalogUnavailable: 'Redis cannot be written at the moment. Gateways keep what they have.',
  LastGoodRevision:
    'The spec is not accepted; gateways go on with the last revision that was, but for a suspension and for keys that were taken back.',
  NeverAccepted: 'No revision of this tenant was ever accepted: gateways do not know it.',
  NearQuota: 'More than 90 % of a limit is used.',
  BelowQuota: 'Less than 90 % of each limit is used.',
  Reconciling: 'The controller or the gateways still work on it.',
  Settled: 'There is nothing more to do.',
  Progressing: 'Nobody has to do anything for it to go on.',
  CatalogNotOurs: 'The catalog in Redis belongs to another cluster’s controller of the same --installation.',
  HostnameTaken: 'An older tenant has one of the hostnames.',
  NoConflict: 'Nobody else claims what is this tenant’s.',
  // Of Events alone.
  KeysGenerated: 'Keys were made for the first time, or for a Secret that was deleted or changed by hand.',
  KeysRotated: 'Keys were replaced by newer ones; the former count until the overlap is over.',
  SecretRepaired: 'The Secret had been changed and is again as it should be.',
} as const satisfies Record<string, string>

/** Of those in tenant/problem.ts, the ones that a cluster meets: `InvalidResource` is above. */
export const problemMeanings = {
  PlanNotFound: 'There is no ChatPlan of that name.',
  NamespaceNotAllowed: 'The plan is for other namespaces.',
  QuotaAbovePlan: 'The quota asks for more than the plan allows.',
  KeyNotFound: 'There is no Secret, or no key in it, where a key should be.',
  KeyTooShort: 'A key has fewer bytes or bits than its algorithm needs.',
  InvalidKey: 'A key cannot be read, is a private one, or lies at an address that may not be asked.',
  InvalidAlgorithm: 'An algorithm does not go with its key.',
  InvalidMatch: 'A channel rule’s match is no pattern.',
  InvalidOrigin: 'An allowed origin is none.',
} as const satisfies Partial<Record<ProblemReason, string>>

export type Reason = keyof typeof reasons | ProblemReason

export const conditionTypes = {
  Ready: 'Accepted, CredentialsReady and Programmed at once: what `kubectl wait` is for.',
  Accepted: 'The spec can be met: plan, quota, keys, rules.',
  Programmed: 'All live gateways enforce it.',
  CredentialsReady: 'The Secret of generated keys is as it should be.',
  QuotaPressure: 'More than 90 % of a limit is used.',
  Reconciling: 'Something is still being done, and will go on by itself.',
  Stalled: 'Nothing will happen until somebody changes something.',
  Conflict: 'Somebody else claims what is this object’s.',
} as const satisfies Record<string, string>
export type ConditionType = keyof typeof conditionTypes
