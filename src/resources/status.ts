// What the controller reports of each kind. One zod source for the CRDs' status schema and for the types that the controller writes by.
// Unknown fields are left out, not refused: a newer controller may have written them.
import { z } from 'zod'
import { Quota } from './limits.js'

/** RFC 3339 in UTC, as `new Date().toISOString()` writes it. */
const Time = z.string().meta({ format: 'date-time' })

const count = z.int().min(0)

/** As `metav1.Condition`: what `kubectl wait` and rollout tools read. */
const Condition = z.object({
  type: z
    .string()
    .max(316)
    .regex(/^[A-Za-z][A-Za-z0-9]*$/)
    .describe('What the condition is about.'),
  status: z
    .enum(['True', 'False', 'Unknown'])
    .describe('Does it hold? Unknown: the controller has not found out yet.'),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z][A-Za-z0-9]*$/)
    .describe('Why, in one word of a closed list: for programs.'),
  message: z.string().max(32_768).describe('Why, in a sentence: for people.'),
  lastTransitionTime: Time.describe('When the status became what it is.'),
  observedGeneration: count.optional().describe('The generation of the spec that this was found out about.'),
})
export type Condition = z.output<typeof Condition>

const Conditions = z
  .array(Condition)
  .max(32)
  .optional()
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })

const observedGeneration = count
  .optional()
  .describe('The generation of the spec that this status speaks of. Lower than metadata.generation: wait.')

const Binding = z
  .object({ name: z.string().max(253).describe('Name of the Secret, in the same namespace.') })
  .optional()
  .describe('The Secret with everything to connect by, where the Service Binding specification looks for it.')

export const ChatTenantStatus = z.object({
  observedGeneration,
  conditions: Conditions.describe(
    'Ready, Accepted, Programmed, CredentialsReady, QuotaPressure, Reconciling, Stalled and Conflict, each with a reason.',
  ),
  tenantID: z
    .string()
    .max(253)
    .optional()
    .describe('Names the tenant’s data below. A tenant that is deleted and made again has another.'),
  revision: z
    .string()
    .max(64)
    .optional()
    .describe('Fingerprint of the policy that is served. It changes when anything that clients notice does.'),
  dataplane: z
    .object({
      gateways: count.describe('Live gateways.'),
      synced: count.describe('Those of them that enforce the revision above.'),
      oldestRevision: z
        .string()
        .max(64)
        .optional()
        .describe('The revision that the gateway furthest behind enforces, as long as that is another.'),
      lastProgrammedTime: Time.optional().describe('When all of them last came to enforce one revision.'),
    })
    .optional()
    .describe('How far the gateways are.'),
  effective: z
    .object({
      plan: z.string().max(253).describe('The plan that these limits come from.'),
      limits: Quota.describe('What holds after plan and quota are put together.'),
      channelRules: count.describe('Number of channel rules in force.'),
    })
    .optional()
    .describe('What the gateways enforce.'),
  usage: z
    .object({
      connections: count.describe('Open connections.'),
      peakConnections: count.describe(
        'The most that were open at one time since the controller began to look.',
      ),
      publishRate: count.describe('Messages per second, rounded.'),
      rejected: count.describe('Commands and connections refused for a limit since the gateways started.'),
      asOf: Time.describe(
        'When this was measured. It is written at most every 30 seconds, and only when it moved.',
      ),
    })
    .optional()
    .describe('What the tenant uses of its limits.'),
  binding: Binding,
  credentials: z
    .object({
      activeKeyIDs: z
        .array(z.string().max(253))
        .max(32)
        .describe('Generated keys that count now, the newest first.'),
      nextRotation: Time.optional().describe('When the newest is replaced.'),
      secretResourceVersion: z
        .string()
        .max(128)
        .optional()
        .describe('Version of the Secret that this speaks of.'),
    })
    .optional()
    .describe('Generated keys.'),
  endpoints: z
    .array(
      z.object({
        type: z
          .enum(['Chat', 'Centrifuge', 'API'])
          .describe('The plain chat protocol, the Centrifuge client protocol, or the HTTP API for backends.'),
        url: z.string().max(2048).describe('Where to connect.'),
      }),
    )
    .max(32)
    .optional()
    .describe('Where clients and backends connect.'),
})
export type ChatTenantStatus = z.output<typeof ChatTenantStatus>

export const ChatPlanStatus = z.object({
  observedGeneration,
  conditions: Conditions.describe('Ready, with a reason.'),
  tenants: count.optional().describe('Tenants on this plan.'),
  allocated: z
    .object({
      connections: count.describe('Connections.'),
      publishPerSecond: count.describe('Messages per second.'),
      fanoutPerSecond: count.describe('Deliveries per second.'),
    })
    .optional()
    .describe('The sum of what these tenants may use: what the installation has promised.'),
})
export type ChatPlanStatus = z.output<typeof ChatPlanStatus>

export const ChatCredentialStatus = z.object({
  observedGeneration,
  conditions: Conditions.describe('Ready, with a reason.'),
  keyID: z.string().max(253).optional().describe('Names the key that counts now. It is no secret.'),
  expiresAt: Time.optional().describe('When it ends to count.'),
  nextRotation: Time.optional().describe('When it is replaced.'),
  lastUsed: Time.optional().describe('When it was last used, to within some minutes.'),
  binding: Binding,
  secretResourceVersion: z
    .string()
    .max(128)
    .optional()
    .describe('Version of the Secret that this speaks of.'),
})
export type ChatCredentialStatus = z.output<typeof ChatCredentialStatus>
