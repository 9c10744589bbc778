// ChatTenant: one isolated customer, as its own team writes it. Namespaced.
import { z } from 'zod'
import { celRaw, celRules } from './cel.js'
import { originEntrySource } from '../tenant/origin.js'
import { AuthList } from './auth.js'
import { Quota } from './limits.js'
import { Rules } from './channel-rules.js'
import { duration, ObjectName, resource, StringMap } from './common.js'

/** How a generated key is replaced; for tenants and credentials alike. */
export const Rotation = z
  .strictObject({
    interval: duration({ min: '1h', max: '8760h' }).default('720h').describe('How old a key becomes.'),
    overlap: duration({ min: '1m', max: '720h' })
      .default('24h')
      .describe('How long the old key counts beside the new one.'),
  })
  .describe('Replaces generated keys by new ones. Absent: keys stay.')

/** What the API server can tell of `originProblem` without resolving anything; the rest is found when the tenant is compiled. */
const originRule = celRules([
  {
    rule: `self == '*' || self.matches(${celRaw(originEntrySource)})`,
    messageExpression: `'"' + self + '" is no origin: write "https://app.example.com", "https://*.example.com", "http://localhost:*" or "*", without a path or a slash at the end.'`,
  },
])

export const ChatTenantSpec = z.strictObject({
  planRef: z
    .strictObject({ name: ObjectName.describe('Name of a ChatPlan.') })
    .describe('The plan that grants the tenant’s limits.'),
  displayName: z.string().min(1).max(128).optional().describe('Name for people, on pages and dashboards.'),
  contact: z.string().max(256).optional().describe('Whom to call: a person, a team, an address.'),
  hostnames: z
    .array(ObjectName)
    .max(8)
    .default([])
    .describe('Hosts that belong to this tenant alone, beside its path.'),
  allowedOrigins: z
    .array(z.string().min(1).max(255).meta(originRule))
    .max(64)
    .default([])
    .describe(
      'Web pages that may connect: "https://app.example.com", "https://*.example.com", "http://localhost:*" or "*". Pages of Parley’s own host always may.',
    ),
  auth: AuthList.default([]).describe('Whose tokens count. Empty: guests only.'),
  channels: Rules.default([]).describe('Channel rules. What no rule covers is refused.'),
  quota: Quota.optional().describe('Limits below the plan’s, set by the tenant itself. Default: the plan’s.'),
  suspend: z.boolean().default(false).describe('Closes all connections and refuses new ones; data is kept.'),
  deletionPolicy: z
    .enum(['Delete', 'Retain'])
    .default('Delete')
    .describe('What happens to stored messages when the tenant is deleted.'),
  purgeAfter: duration({ min: '0s', max: '8760h' })
    .default('24h')
    .describe('With Delete: how long they are kept after that.'),
  credentials: z
    .strictObject({
      secretName: ObjectName.optional().describe(
        'Secret for generated keys. Default: "<tenant>-credentials". Cannot be changed later.',
      ),
      rotation: Rotation.optional(),
      template: z
        .strictObject({
          labels: StringMap.optional().describe('Labels of the Secret.'),
          annotations: StringMap.optional().describe('Annotations of the Secret.'),
        })
        .optional()
        .describe('Metadata for the Secret, for tools that look for it.'),
    })
    .meta(
      celRules([
        {
          rule: '!has(oldSelf.secretName) || has(self.secretName) && self.secretName == oldSelf.secretName',
          message:
            'The Secret’s name cannot be changed: backends hold on to it. Make another tenant instead.',
          fieldPath: '.secretName',
        },
      ]),
    )
    .prefault({})
    .describe('Where generated keys are kept.'),
})

export const ChatTenant = resource('ChatTenant', ChatTenantSpec)
export type ChatTenant = z.output<typeof ChatTenant>
