// The schemas of `status` of each kind. One zod schema is the source of the status schema in the CRD and of
// the types that the controller uses. Unknown fields are dropped, not refused, because a newer controller may
// have written them.
import { z } from 'zod'
import { Quota } from './limits.js'

/** A time of RFC 3339 in UTC, as `new Date().toISOString()` formats it. */
const Time = z.string().meta({ format: 'date-time' })

const count = z.int().min(0)

/** A condition in the form of `metav1.Condition`, which `kubectl wait` and rollout tools read. */
const Condition = z.object({
  type: z
    .string()
    .max(316)
    .regex(/^[A-Za-z][A-Za-z0-9]*$/)
    .describe('The type of the condition.'),
  status: z
    .enum(['True', 'False', 'Unknown'])
    .describe('Whether the condition holds. Unknown: the controller has not determined it yet.'),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z][A-Za-z0-9]*$/)
    .describe('The reason for the status, for programs: one word of a closed list.'),
  message: z.string().max(32_768).describe('The reason for the status, for people: one or more sentences.'),
  lastTransitionTime: Time.describe('The time when the status last changed.'),
  observedGeneration: count.optional().describe('The generation of the spec that the condition is about.'),
})
export type Condition = z.output<typeof Condition>

const Conditions = z
  .array(Condition)
  .max(32)
  .optional()
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })

const observedGeneration = count
  .optional()
  .describe(
    'The generation of the spec that this status is about. If it is lower than metadata.generation, ' +
      'the controller has not processed the latest edit.',
  )

const Binding = z
  .object({ name: z.string().max(253).describe('The name of the Secret, in the same namespace.') })
  .optional()
  .describe(
    'The Secret that contains the address and the keys, in the field that the Service Binding ' +
      'specification defines.',
  )

export const ChatTenantStatus = z.object({
  observedGeneration,
  conditions: Conditions.describe(
    'The conditions Ready, Accepted, Programmed, CredentialsReady, QuotaPressure, Reconciling, ' +
      'Stalled and Conflict, each with a reason.',
  ),
  tenantID: z
    .string()
    .max(253)
    .optional()
    .describe(
      'The identifier of the tenant in Redis. A tenant that is deleted and created again has another one.',
    ),
  revision: z
    .string()
    .max(64)
    .optional()
    .describe('A hash of the policy that is served. It changes with every change that clients can notice.'),
  dataplane: z
    .object({
      gateways: count.describe('The number of live gateways.'),
      synced: count.describe('The number of live gateways that enforce the revision.'),
      oldestRevision: z
        .string()
        .max(64)
        .optional()
        .describe(
          'The revision that the gateway furthest behind enforces. Absent when all gateways enforce ' +
            'the same revision.',
        ),
      lastProgrammedTime: Time.optional().describe(
        'The time when all gateways last reached the same revision.',
      ),
    })
    .optional()
    .describe('The progress of the gateways.'),
  effective: z
    .object({
      plan: z.string().max(253).describe('The plan from which the limits are derived.'),
      limits: Quota.describe('The limits after plan and quota are combined.'),
      channelRules: count.describe('The number of channel rules in force.'),
    })
    .optional()
    .describe('The settings that the gateways enforce.'),
  usage: z
    .object({
      connections: count.describe('The number of open connections.'),
      peakConnections: count.describe('The largest value of connections that this status has contained.'),
      publishRate: count.describe('Published messages per second, rounded.'),
      rejected: count.describe(
        'Commands and connections that were refused because of a limit since the gateways started.',
      ),
      storedBytes: count.optional().describe('What the histories of all channels occupy in Redis, in bytes.'),
      asOf: Time.describe(
        'The time of the measurement. The usage is written at most every 30 seconds, and only when ' +
          'it changed.',
      ),
    })
    .optional()
    .describe('The usage of the tenant, to compare with its limits.'),
  binding: Binding,
  credentials: z
    .object({
      activeKeyIDs: z
        .array(z.string().max(253))
        .max(32)
        .describe('The identifiers of the generated keys that are valid now, the newest first.'),
      nextRotation: Time.optional().describe('The time when the newest key is replaced.'),
      secretResourceVersion: z
        .string()
        .max(128)
        .optional()
        .describe('The resourceVersion of the Secret that this status is about.'),
    })
    .optional()
    .describe('The state of the generated keys.'),
  endpoints: z
    .array(
      z.object({
        type: z
          .enum(['Chat', 'Centrifuge', 'API'])
          .describe(
            'The protocol: Chat is the plain chat protocol, Centrifuge is the Centrifuge client ' +
              'protocol, and API is the HTTP API for backends.',
          ),
        url: z.string().max(2048).describe('The URL of the endpoint.'),
      }),
    )
    .max(32)
    .optional()
    .describe('The endpoints for clients and backends.'),
})
export type ChatTenantStatus = z.output<typeof ChatTenantStatus>

export const ChatPlanStatus = z.object({
  observedGeneration,
  conditions: Conditions.describe(
    'The conditions of the resource: Ready, Reconciling and Stalled, each with a reason.',
  ),
  tenants: count.optional().describe('The number of tenants on this plan.'),
  allocated: z
    .object({
      connections: count.describe('The sum of the connection limits.'),
      publishPerSecond: count.describe('The sum of the limits of published messages per second.'),
      fanoutPerSecond: count.describe('The sum of the limits of deliveries per second.'),
    })
    .optional()
    .describe('The sum of the limits of these tenants, which is what the installation has promised.'),
})
export type ChatPlanStatus = z.output<typeof ChatPlanStatus>

export const ChatCredentialStatus = z.object({
  observedGeneration,
  conditions: Conditions.describe(
    'The conditions of the resource: Ready, Reconciling and Stalled, each with a reason.',
  ),
  keyID: z
    .string()
    .max(253)
    .optional()
    .describe('The identifier of the key that is valid now. It is not secret.'),
  expiresAt: Time.optional().describe('The time when the key expires.'),
  nextRotation: Time.optional().describe('The time when the key is replaced.'),
  lastUsed: Time.optional().describe('The time when the key was last used, accurate to some minutes.'),
  binding: Binding,
  secretResourceVersion: z
    .string()
    .max(128)
    .optional()
    .describe('The resourceVersion of the Secret that this status is about.'),
})
export type ChatCredentialStatus = z.output<typeof ChatCredentialStatus>
