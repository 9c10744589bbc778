// ChatCredential: a named API key for one backend of a tenant. Namespaced, beside its tenant.
import { z } from 'zod'
import { celRules } from './cel.js'
import { ChannelSelector, Operations } from './channel-rules.js'
import { Rotation } from './chat-tenant.js'
import { duration, KeyRef, Label, ObjectName, resource } from './common.js'

const importedMessage = 'An imported key is its owner’s to store and replace.'

export const ChatCredentialSpec = z
  .strictObject({
    tenantRef: z
      .strictObject({ name: Label.describe('Name of a ChatTenant in the same namespace.') })
      .meta(
        celRules([
          {
            rule: 'self.name == oldSelf.name',
            message: 'A key stays with its tenant: make another ChatCredential for another tenant.',
            fieldPath: '.name',
          },
        ]),
      )
      .describe('The tenant that the key opens. Cannot be changed later.'),
    role: z
      .enum(['Publisher', 'Admin', 'ReadOnly'])
      .default('Publisher')
      .describe(
        'Publisher sends; ReadOnly asks for history and presence; Admin does all, and disconnects users.',
      ),
    scopes: z
      .array(
        z.strictObject({
          match: ChannelSelector.describe('Channels that the scope covers.'),
          operations: Operations.describe('What may be done there.'),
        }),
      )
      .max(32)
      .default([])
      .describe('Narrows the role to some channels. Empty: all channels of the tenant.'),
    ttl: duration({ min: '1m', max: '8760h' })
      .optional()
      .describe('How long the key lives. Absent: until it is deleted or rotated.'),
    rotation: Rotation.optional(),
    secretName: ObjectName.optional().describe(
      'Secret that gets the key. Default: "<credential>-credential".',
    ),
    importSecretRef: KeyRef.optional().describe('A key of one’s own instead of a generated one.'),
  })
  .superRefine(({ importSecretRef, rotation, secretName }, context) => {
    if (!importSecretRef) return
    for (const [path, value] of Object.entries({ rotation, secretName })) {
      if (value !== undefined)
        context.addIssue({
          code: 'custom',
          path: [path],
          message: importedMessage,
        })
    }
  })
  .meta(
    celRules(
      ['rotation', 'secretName'].map((field) => ({
        rule: `!has(self.importSecretRef) || !has(self.${field})`,
        message: importedMessage,
        fieldPath: `.${field}`,
        reason: 'FieldValueForbidden',
      })),
    ),
  )

export const ChatCredential = resource('ChatCredential', ChatCredentialSpec)
export type ChatCredential = z.output<typeof ChatCredential>
