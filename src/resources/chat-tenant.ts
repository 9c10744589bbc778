// The schema of ChatTenant: one isolated customer, as its own team describes it. It is namespaced.
import { z } from 'zod'
import { celRaw, celRules } from './cel.js'
import { originEntrySource } from '../tenant/origin.js'
import { AuthList } from './auth.js'
import { Quota } from './limits.js'
import { Rules } from './channel-rules.js'
import { duration, ObjectName, resource, StringMap, time } from './common.js'
import { Revocations } from './revocations.js'

/** How generated keys are rotated, for tenants and credentials. */
export const Rotation = z
  .strictObject({
    interval: duration({ min: '1h', max: '8760h' })
      .default('720h')
      .describe('The age at which a key is replaced.'),
    overlap: duration({ min: '1m', max: '720h' })
      .default('24h')
      .describe('How long the previous key stays valid beside the new one.'),
  })
  .describe('Replaces generated keys at intervals. Default: keys are not replaced.')

/** The part of `originProblem` that CEL can check. The compiler reports the rest. */
const originRule = celRules([
  {
    rule: `self == '*' || self.matches(${celRaw(originEntrySource)})`,
    messageExpression:
      `'"' + self + '" is not a valid origin: write "https://app.example.com", ` +
      `"https://*.example.com", "http://localhost:*" or "*", without a path or a trailing slash.'`,
  },
])

export const ChatTenantSpec = z.strictObject({
  planRef: z
    .strictObject({ name: ObjectName.describe('The name of a ChatPlan.') })
    .describe('The plan that sets the limits of the tenant.'),
  displayName: z
    .string()
    .min(1)
    .max(128)
    .optional()
    .describe('A name for people, shown on pages and dashboards.'),
  contact: z
    .string()
    .max(256)
    .optional()
    .describe('The contact for the tenant: a person, a team or an address.'),
  hostnames: z
    .array(ObjectName)
    .max(8)
    .default([])
    .describe('Host names that belong to this tenant alone. They serve the tenant in addition to its path.'),
  allowedOrigins: z
    .array(z.string().min(1).max(255).meta(originRule))
    .max(64)
    .default([])
    .describe(
      'The origins of web pages that may connect: "https://app.example.com", ' +
        '"https://*.example.com", "http://localhost:*" or "*". Pages of Parley’s own host may always ' +
        'connect.',
    ),
  auth: AuthList.default([]).describe(
    'The sources of valid tokens. Default: none, so only guests can connect.',
  ),
  channels: Rules.default([]).describe('The channel rules. A channel that no rule covers is refused.'),
  quota: Quota.optional().describe(
    'Limits that the tenant sets below those of the plan. Default: the limits of the plan.',
  ),
  suspend: z.boolean().default(false).describe('Closes all connections and refuses new ones. Data is kept.'),
  revocations: Revocations.default([]).describe(
    'Users, guests and tokens that are refused although their tokens are valid, at most 256. Live connections ' +
      'end within seconds. The server API can make further revocations.',
  ),
  tokensIssuedBefore: time()
    .optional()
    .describe(
      'Refuses every token whose claim iat is before this time, such as "2026-01-31T12:00:00Z", and ' +
        'tokens without iat. Guests are not affected. Default: tokens are not refused by their time of issue.',
    ),
  deletionPolicy: z
    .enum(['Delete', 'Retain'])
    .default('Delete')
    .describe(
      'The handling of stored messages when the tenant is deleted. Delete removes them after ' +
        'purgeAfter. Retain keeps them.',
    ),
  purgeAfter: duration({ min: '0s', max: '8760h' })
    .default('24h')
    .describe('For Delete: how long stored messages are kept after the tenant was deleted.'),
  credentials: z
    .strictObject({
      secretName: ObjectName.optional().describe(
        'The Secret for generated keys. Default: "<tenant>-credentials". It cannot be changed later.',
      ),
      rotation: Rotation.optional(),
      template: z
        .strictObject({
          labels: StringMap.optional().describe('The labels of the Secret.'),
          annotations: StringMap.optional().describe('The annotations of the Secret.'),
        })
        .optional()
        .describe(
          'Labels and annotations that the controller puts on the Secret, for tools that select by them.',
        ),
    })
    .meta(
      celRules([
        {
          rule: '!has(oldSelf.secretName) || has(self.secretName) && self.secretName == oldSelf.secretName',
          message:
            'The name of the Secret cannot be changed, because backends refer to it. Create another ' +
            'tenant instead.',
          fieldPath: '.secretName',
        },
      ]),
    )
    .prefault({})
    .describe('How generated keys are stored and rotated.'),
})

export const ChatTenant = resource('ChatTenant', ChatTenantSpec)
export type ChatTenant = z.output<typeof ChatTenant>
